package zk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/magiconair/properties"
)

// Settings are what ZooKeeper's own configuration file, zoo.cfg, and the file myid say of one server.
type Settings struct {
	ID        int
	Dir       string         // dataDir
	Client    string         // address to listen on for clients
	Members   map[int]string // peer addresses of all servers; one that is alone listens on some port of loopback
	Observers []int          // members without a vote, in order
	Tick      time.Duration
	Super     string   // digest of the superuser; empty: there is none
	Whitelist []string // four-letter words that are answered; nil: all, where ZooKeeper takes srvr alone
	Unheeded  []string // keys that make no difference here, in order
}

// defaultTick is what ZooKeeper takes where the file says nothing.
const defaultTick = 3 * time.Second

// unserved are keys that promise what there is not here, to clients or to the ensemble, unless they are switched off: above all that somebody is kept out.
// All that end in a dot are prefixes.
var unserved = []string{
	"secureClientPort", "secureClientPortAddress", "sslQuorum", "dynamicConfigFile", "minSessionTimeout", "maxSessionTimeout", "group.", "weight.",
	"requireClientAuthScheme", "sessionRequireClientSASLAuth", "enforce.auth.enabled", "quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl",
	"quorum.auth.serverRequireSasl",
}

// ReadSettings of the server whose zoo.cfg this is. Its number is in the file myid of its dataDir, unless it is alone.
func ReadSettings(name string) (Settings, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return Settings{}, err
	}
	s, err := parseSettings(b)
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(s.Members) == 0 {
		s.ID, s.Members[1] = 1, "127.0.0.1:0"
		return s, nil
	}
	myid := filepath.Join(s.Dir, "myid")
	if b, err = os.ReadFile(myid); err != nil {
		return Settings{}, err
	}
	if s.ID, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
		return Settings{}, fmt.Errorf("%s: want the number of a server, got %.40q", myid, b)
	}
	if s.Members[s.ID] == "" {
		return Settings{}, fmt.Errorf("%s names server %d, and %s has no server.%d", myid, s.ID, name, s.ID)
	}
	return s, nil
}

// parseSettings reads a file of Java's properties, as ZooKeeper's QuorumPeerConfig does.
func parseSettings(text []byte) (Settings, error) {
	l := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := l.LoadBytes(text)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{Tick: defaultTick, Members: map[int]string{}}
	var host, port string
	for _, key := range p.Keys() {
		value := strings.TrimSpace(p.GetString(key, ""))
		if err := s.set(key, value, &host, &port); err != nil {
			return Settings{}, fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}
	slices.Sort(s.Unheeded)
	slices.Sort(s.Observers)
	switch {
	case len(s.Observers) > 0 && len(s.Observers) == len(s.Members):
		return Settings{}, errors.New("all servers are observers: nobody votes")
	case s.Dir == "":
		return Settings{}, errors.New("dataDir is missing")
	case port == "":
		return Settings{}, errors.New("clientPort is missing")
	}
	s.Client = net.JoinHostPort(host, port)
	if _, _, err := net.SplitHostPort(s.Client); err != nil {
		return Settings{}, fmt.Errorf("clientPortAddress=%s: want a host", host)
	}
	return s, nil
}

func (s *Settings) set(key, value string, host, port *string) (err error) {
	unserves := func(k string) bool { return key == k || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k) }
	number, member := strings.CutPrefix(key, "server.")
	switch {
	case value != "false" && slices.ContainsFunc(unserved, unserves):
		return errors.New("there is no such thing here")
	case member:
		return s.member(number, value)
	}
	switch key {
	case "dataDir":
		s.Dir = value
	case "clientPort":
		*port, err = value, checkPort(value)
	case "clientPortAddress":
		*host = strings.Trim(value, "[]")
	case "tickTime":
		ms, err := strconv.ParseUint(value, 10, 31)
		if err != nil || ms == 0 {
			return errors.New("want milliseconds")
		}
		s.Tick = time.Duration(ms) * time.Millisecond
	case "4lw.commands.whitelist":
		s.Whitelist = []string{}
		for word := range strings.SplitSeq(value, ",") {
			s.Whitelist = append(s.Whitelist, strings.TrimSpace(word))
		}
	case "DigestAuthenticationProvider.superDigest":
		s.Super = value
	default:
		s.Unheeded = append(s.Unheeded, key)
	}
	return err
}

// member reads host:port:port[:participant|:observer][;client]. The second port is for elections, which are held on the first one here; where clients reach
// another server is none of this one's business.
func (s *Settings) member(number, value string) error {
	id, err := strconv.Atoi(number)
	if err != nil || id < 1 || s.Members[id] != "" {
		return errors.New("servers are numbered from 1, each with another number")
	}
	address, _, _ := strings.Cut(value, ";")
	if strings.Contains(address, "|") {
		return errors.New("a server has one address here")
	}
	address, observes := strings.CutSuffix(address, ":observer")
	address = strings.TrimSuffix(address, ":participant")
	wrong := errors.New("want HOST:PORT:PORT")
	end := strings.LastIndexByte(address, ':')
	if end < 0 || checkPort(address[end+1:]) != nil {
		return wrong
	}
	host, port, err := net.SplitHostPort(address[:end])
	if err != nil || host == "" || checkPort(port) != nil {
		return wrong
	}
	if s.Members[id] = address[:end]; observes {
		s.Observers = append(s.Observers, id)
	}
	return nil
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return errors.New("want a port")
	}
	return nil
}
