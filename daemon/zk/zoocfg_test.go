package zk

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const three = `# what an operator writes
tickTime=500
initLimit = 10
syncLimit: 5
dataDir=/var/lib/zookeeper
clientPort=2181
clientPortAddress=127.0.0.1
server.1=127.0.0.1:2888:3888
server.2=zoo2.example:2888:3888:participant
server.3=[::1]:2888:3888;2183
server.5=e:1:2:observer
server.4=d:1:2:observer;2181
peerType=participant
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
`

func TestParseSettings(t *testing.T) {
	got, err := parseSettings([]byte(three))
	want := Settings{
		Dir: "/var/lib/zookeeper", Client: "127.0.0.1:2181", Tick: 500 * time.Millisecond, Super: "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
		Members:   map[int]string{1: "127.0.0.1:2888", 2: "zoo2.example:2888", 3: "[::1]:2888", 4: "d:1", 5: "e:1"},
		Observers: []int{4, 5}, Unheeded: []string{"initLimit", "peerType", "syncLimit"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	got, err = parseSettings([]byte("dataDir=a\\\n  b\nclientPort=1\n"))
	want = Settings{Dir: "ab", Client: ":1", Tick: 3 * time.Second, Members: map[int]string{}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestParseSettingsRefuses(t *testing.T) {
	const least = "dataDir=d\nclientPort=1\n"
	if _, err := parseSettings([]byte(least)); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"dataDir=":                        "dataDir is missing",
		"clientPort=":                     "clientPort=: want a port",
		"clientPort=0":                    "want a port",
		"clientPort=65536":                "want a port",
		"clientPortAddress=a]b":           "want a host",
		"tickTime=2s":                     "tickTime=2s: want milliseconds",
		"tickTime=0":                      "want milliseconds",
		"tickTime=-5":                     "want milliseconds",
		"server.0=h:1:2":                  "numbered from 1",
		"server.x=h:1:2":                  "numbered from 1",
		"server.1=":                       "server.1=: want HOST:PORT:PORT",
		"server.1=h":                      "want HOST:PORT:PORT",
		"server.1=h:1":                    "want HOST:PORT:PORT",
		"server.1=:1:2":                   "want HOST:PORT:PORT",
		"server.1=h:1:x":                  "want HOST:PORT:PORT",
		"server.1=h:x:1":                  "want HOST:PORT:PORT",
		"server.1=::1:1:2":                "want HOST:PORT:PORT",
		"server.1=h:1:2|g:1:2":            "one address",
		"server.1=h:1:2:observer;2181":    "nobody votes",
		"server.1=h:1:2:witness":          "want HOST:PORT:PORT",
		"server.1=h:1:2\nserver.01=h:1:2": "each with another number",
		"secureClientPort=2":              "no such thing",
		"group.1=1:2:3":                   "no such thing",
		"minSessionTimeout=100":           "no such thing",
		"dynamicConfigFile=zoo.dynamic":   "no such thing",
		"a=\\u12":                         "invalid unicode",
		// Whoever has them in his file means to keep somebody out.
		"requireClientAuthScheme=sasl":      "no such thing",
		"sessionRequireClientSASLAuth=true": "no such thing",
		"enforce.auth.enabled=true":         "no such thing",
		"quorum.auth.enableSasl=true":       "no such thing",
		"sslQuorum=true":                    "no such thing",
	} {
		if s, err := parseSettings([]byte(least + line + "\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", line, s, err, want)
		}
	}
	if s, err := parseSettings([]byte(least + "sslQuorum=false\nquorum.auth.enableSasl=false\n")); err != nil || len(s.Unheeded) != 2 {
		t.Errorf("what is switched off: %+v, %v", s, err)
	}
	for line, want := range map[string][]string{"": nil, "4lw.commands.whitelist=": {""}, "4lw.commands.whitelist=*": {"*"}, "4lw.commands.whitelist=ruok, stat ,": {"ruok", "stat", ""}} {
		if s, err := parseSettings([]byte(least + line + "\n")); err != nil || !reflect.DeepEqual(s.Whitelist, want) {
			t.Errorf("%s: %q, %v, want %q", line, s.Whitelist, err, want)
		}
	}
	if _, err := parseSettings([]byte("dataDir=d\n")); err == nil || err.Error() != "clientPort is missing" {
		t.Errorf("without clientPort: %v", err)
	}
}

func TestReadSettings(t *testing.T) {
	dir := t.TempDir()
	name, myid := filepath.Join(dir, "zoo.cfg"), filepath.Join(dir, "myid")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(want string) {
		t.Helper()
		if s, err := ReadSettings(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want %q", s, err, want)
		}
	}
	wants("zoo.cfg: no such file")
	write(name, "clientPort=1\n")
	wants("zoo.cfg: dataDir is missing")
	alone := "clientPort=1\ndataDir=" + dir + "\n"
	write(name, alone)
	if s, err := ReadSettings(name); err != nil || s.ID != 1 || len(s.Members) != 1 || s.Members[1] == "" {
		t.Errorf("alone: %+v, %v", s, err)
	}
	write(name, alone+"server.2=h:1:2\nserver.3=g:1:2\n")
	wants("myid: no such file")
	write(myid, "two\n")
	wants("want the number of a server")
	write(myid, "1\n")
	wants("has no server.1")
	write(myid, "2\n")
	if s, err := ReadSettings(name); err != nil || s.ID != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// FuzzSettings: whatever is read without complaint can be listened on and dialled.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(three))
	f.Add([]byte("dataDir=d\nclientPort=1\nserver.1=[::1]:1:2;[::]:3\nserver.2:h:1:2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSettings(text)
		if err != nil {
			return
		}
		if s.Dir == "" || s.Tick <= 0 {
			t.Errorf("%+v", s)
		}
		if n := len(s.Observers); n > 0 && n >= len(s.Members) {
			t.Errorf("nobody votes: %+v", s)
		}
		addresses := []string{s.Client}
		for id, a := range s.Members {
			if id < 1 {
				t.Errorf("server %d", id)
			}
			addresses = append(addresses, a)
		}
		for _, a := range addresses {
			if _, port, err := net.SplitHostPort(a); err != nil || checkPort(port) != nil {
				t.Errorf("address %q: %v", a, err)
			}
		}
	})
}
