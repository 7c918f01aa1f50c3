package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"assize/daemon/vitals"
	"assize/machine"
	"assize/machine/jute"
)

const (
	// version of ZooKeeper that we speak like. go-zookeeper's FLWSrvr knows only dates of the old style, with a time zone by name.
	version    = "3.8.0-assize, built on 06/01/2022 12:00 GMT"
	notServing = "This ZooKeeper instance is not currently serving requests"
	leastTicks = 2 // of a session's time-out
	mostTicks  = 20
)

// need of a word is what it asks of the machine.
type need uint8

const (
	// nothing: it must be answered when a slow disk keeps the machine from its work, for it is then that people ask it. Only isro, which is nothing else,
	// asks for a report.
	nothing need = iota
	service      // a server that serves, and its report
	all          // a whole one
)

// words are those that are answered.
var words = map[string]struct {
	need
	answer func(*answer)
}{
	"ruok": {nothing, func(a *answer) { a.text("imok") }},
	"isro": {nothing, (*answer).isro},
	"envi": {nothing, (*answer).envi},
	"gtmk": {nothing, (*answer).mask},
	"stmk": {nothing, (*answer).mask},
	"assz": {nothing, (*answer).assz},
	"srvr": {service, func(a *answer) { a.stat(false) }},
	"stat": {service, func(a *answer) { a.stat(true) }},
	"mntr": {service, (*answer).mntr},
	"conf": {service, (*answer).conf},
	"cons": {service, (*answer).cons},
	"dirs": {service, (*answer).dirs},
	"wchs": {service, (*answer).wchs},
	"wchc": {all, (*answer).wchc},
	"wchp": {all, (*answer).wchp},
	"dump": {service, (*answer).dump},
	"hash": {all, (*answer).hash},
	"srst": {service, (*answer).srst},
	"crst": {service, (*answer).crst},
}

// answer to a word.
type answer struct {
	bytes.Buffer
	front  *front
	report machine.Report // of words that need one
}

// word answers a four-letter word that is one. What comes behind it only stmk reads; the error is that it does not come.
func (f *front) word(word string, behind io.Reader) ([]byte, error) {
	a := answer{front: f}
	if !f.allows(word) {
		a.line("%s is not executed because it is not in the whitelist.", word)
		return a.Bytes(), nil
	}
	if word == "stmk" {
		if err := f.setMask(behind); err != nil {
			return nil, err
		}
	}
	w := words[word]
	if w.need != nothing {
		if a.report = f.report(w.need == all); !a.report.Serving {
			if a.text(notServing); word != "hash" {
				a.line("")
			}
			return a.Bytes(), nil
		}
	}
	w.answer(&a)
	return a.Bytes(), nil
}

// allows tells whether a word is answered. Those without which ZooKeeper's and our own tools cannot look at a server always are.
func (f *front) allows(word string) bool {
	return f.whitelist == nil || word == "srvr" || word == "assz" || slices.Contains(f.whitelist, word) || slices.Contains(f.whitelist, "*")
}

func (a *answer) text(s string) { a.WriteString(s) }

func (a *answer) line(format string, args ...any) { fmt.Fprintf(a, format+"\n", args...) }

// isro is a server of which it is not known yet: ZooKeeper says null.
func (a *answer) isro() {
	if !a.front.report(false).Serving {
		a.text("null")
		return
	}
	a.text("rw")
}

// float as Java prints one with at most four digits behind the point.
func float(v float64) string {
	s := strings.TrimRight(strconv.FormatFloat(v, 'f', 4, 64), "0")
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	return s
}

func (a *answer) stat(clients bool) {
	a.line("Zookeeper version: %s", version)
	if clients {
		a.line("Clients:")
		a.connections(true)
		a.line("")
	}
	t := &a.front.traffic
	least, mean, most := t.latency()
	a.line("Latency min/avg/max: %d/%s/%d", least, float(mean), most)
	a.line("Received: %d", t.received.Load())
	a.line("Sent: %d", t.sent.Load())
	a.line("Connections: %d", len(a.front.all()))
	a.line("Outstanding: %d", a.report.Outstanding)
	a.line("Zxid: 0x%x", uint64(a.report.Zxid))
	a.line("Mode: %s", a.report.Mode)
	a.line("Node count: %d", a.report.Nodes)
	if a.report.Mode == machine.Leader {
		a.line("Proposal sizes last/min/max: -1/-1/-1") // which is how ZooKeeper says that there have been none; nobody measures them here
	}
}

func (a *answer) mntr() {
	r, t := &a.report, &a.front.traffic
	least, mean, most := t.latency()
	value := func(name string, v any) { a.line("zk_%s\t%v", name, v) }
	value("version", version)
	value("server_state", r.Mode)
	if r.Mode != machine.Standalone {
		value("peer_state", peerState(r.Mode))
	}
	value("ephemerals_count", r.Ephemerals)
	value("num_alive_connections", len(a.front.all()))
	value("avg_latency", float(mean))
	value("outstanding_requests", r.Outstanding)
	value("znode_count", r.Nodes)
	value("global_sessions", len(r.Sessions))
	value("packets_sent", t.sent.Load())
	value("packets_received", t.received.Load())
	value("watch_count", r.Data.Watches+r.Child.Watches)
	value("min_latency", least)
	value("approximate_data_size", r.Size)
	value("local_sessions", 0)
	value("uptime", time.Since(a.front.began).Milliseconds())
	value("max_latency", most)
	if r.Mode != machine.Standalone {
		value("quorum_size", len(a.front.host.Status().Voters))
	}
	if r.Mode == machine.Leader {
		value("learners", r.Learners)
		value("synced_followers", r.Synced)
	}
}

func peerState(mode string) string {
	switch mode {
	case machine.Leader:
		return "leading - broadcast"
	case machine.Follower:
		return "following - broadcast"
	}
	return "observing - broadcast"
}

func (a *answer) conf() {
	port := "0"
	if p, err := netip.ParseAddrPort(a.front.address.String()); err == nil {
		port = strconv.Itoa(int(p.Port()))
	}
	s := a.front.host.Status()
	tick := a.report.Tick.Milliseconds()
	a.line("clientPort=%s", port)
	a.line("secureClientPort=-1")
	dir, size := a.front.host.Dir(), a.front.size()
	a.line("dataDir=%s", dir)
	a.line("dataDirSize=%d", size)
	a.line("dataLogDir=%s", dir)
	a.line("dataLogSize=%d", size)
	a.line("tickTime=%d", tick)
	a.line("maxClientCnxns=0")
	a.line("minSessionTimeout=%d", leastTicks*tick)
	a.line("maxSessionTimeout=%d", mostTicks*tick)
	a.line("clientPortListenBacklog=-1")
	a.line("serverId=%d", s.ID)
}

func (a *answer) cons() {
	a.connections(false)
	a.line("")
}

// connections one a line, the oldest first.
func (a *answer) connections(brief bool) {
	known := map[uint64]*machine.ConnectionReport{}
	for i := range a.report.Connections {
		known[a.report.Connections[i].Conn] = &a.report.Connections[i]
	}
	for _, v := range a.front.all() {
		v.tell(a, known, brief)
	}
}

// all visitors, the oldest first.
func (f *front) all() []*visitor {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*visitor, 0, len(f.visitors))
	for v := range f.visitors {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b *visitor) int { return a.began.Compare(b.began) })
	return list
}

func (v *visitor) tell(w io.Writer, known map[uint64]*machine.ConnectionReport, brief bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	interest := 0 // of the selector: a connection that has shaken hands is read from
	if v.id != 0 {
		interest = 1
	}
	fmt.Fprintf(w, " /%s[%x](queued=%d,recved=%d,sent=%d", v.RemoteAddr(), interest, len(v.asked)-v.next, v.received.Load(), v.sent.Load())
	if r := known[v.id]; r != nil && !brief && r.Session != 0 {
		least, mean, most := v.latency()
		fmt.Fprintf(w, ",sid=0x%x,lop=%s,est=%d,to=%d", uint64(r.Session), operation(v.last.op, v.greet), v.began.UnixMilli(), r.Timeout.Milliseconds())
		if v.last.xid >= 0 && v.last.op != 0 {
			fmt.Fprintf(w, ",lcxid=0x%x", v.last.xid)
		}
		heard := int64(0)
		if !v.heard.IsZero() {
			heard = v.heard.UnixMilli()
		}
		fmt.Fprintf(w, ",lzxid=0x%x,lresp=%d,llat=%d,minlat=%d,avglat=%d,maxlat=%d", uint64(r.LastZxid), heard, v.lasted.Milliseconds(), least, int64(mean), most)
	}
	fmt.Fprintln(w, ")")
}

// operations as FinalRequestProcessor abbreviates them.
var operations = map[jute.Op]string{
	jute.Ping: "PING", jute.CloseSession: "CLOS", jute.Create: "CREA", jute.Create2: "CREA", jute.CreateTTL: "CREA", jute.CreateContainer: "CREA",
	jute.Delete: "DELE", jute.SetData: "SETD", jute.Reconfig: "RECO", jute.SetACL: "SETA", jute.Sync: "SYNC", jute.Check: "CHEC", jute.Exists: "EXIS",
	jute.GetData: "GETD", jute.SetWatches: "SETW", jute.SetWatches2: "STW2", jute.AddWatch: "ADDW", jute.GetACL: "GETA", jute.GetChildren: "GETC",
	jute.GetChildren2: "GETC", jute.CountChildren: "GETACN", jute.CheckWatches: "CHKW", jute.RemoveWatches: "REMW", jute.GetEphemerals: "GETE",
	jute.WhoAmI: "HOMI", jute.Multi: "MULT", jute.MultiRead: "MLTR",
}

func operation(op jute.Op, greeted bool) string {
	switch s, ok := operations[op]; {
	case ok:
		return s
	case op == 0 && greeted:
		return "SESS"
	}
	return "NA"
}

// envi has the names of what Java knows, and none of its own.
func (a *answer) envi() {
	host, err := os.Hostname()
	if err != nil {
		host = "<NA>"
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "<NA>"
	}
	a.line("Environment:")
	a.line("zookeeper.version=%s", version)
	a.line("host.name=%s", host)
	a.line("java.version=<NA>")
	a.line("java.vendor=<NA>")
	a.line("os.name=%s", runtime.GOOS)
	a.line("os.arch=%s", runtime.GOARCH)
	a.line("user.dir=%s", dir)
}

// wchs tells only of watches for data, as ZooKeeper does.
func (a *answer) wchs() {
	w := a.report.Data
	a.line("%d connections watching %d paths", w.Connections, w.Paths)
	a.line("Total watches:%d", w.Watches)
}

// wchc leaves out a connection all of whose watches have fired, and wchs does not count it, as ZooKeeper does to its end (WatchManager.watch2Paths).
func (a *answer) wchc() {
	for _, c := range a.report.Connections {
		if len(c.Watched) > 0 {
			a.line("0x%x", uint64(c.Session))
		}
		for _, path := range c.Watched {
			a.line("\t%s", path)
		}
	}
	a.line("")
}

// wchp, like wchc, tells only of watches for data, and has in an order what is in none in ZooKeeper.
func (a *answer) wchp() {
	sessions := map[string][]int64{}
	for _, c := range a.report.Connections {
		for _, path := range c.Watched {
			sessions[path] = append(sessions[path], c.Session)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(sessions)) {
		a.line("%s", path)
		for _, id := range sessions[path] {
			a.line("\t0x%x", uint64(id))
		}
	}
	a.line("")
}

// hash has the tree's own digests, which are no ZooKeeper's, for the transactions of which ZooKeeper has them: two of our servers can be compared by it.
func (a *answer) hash() {
	for _, d := range a.report.Digests {
		a.line("%x: %d", uint64(d.Zxid), int64(d.Hash))
	}
}

// dirs: the log and the snapshots are in one directory, as in a ZooKeeper without a dataLogDir.
func (a *answer) dirs() {
	size := a.front.size()
	a.line("datadir_size: %d", size)
	a.line("logdir_size: %d", size)
}

// size of the files that the node keeps, in bytes. One that goes while it is looked at counts nothing.
func (f *front) size() (n int64) {
	_ = filepath.WalkDir(f.host.Dir(), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// usualMask is ZooKeeper's: requests, packets between servers, sessions, warnings. What it lets through goes to a log that nobody has told to trace, there
// too, so here nothing asks for it but its word.
const usualMask = 1<<1 | 1<<4 | 1<<5 | 1<<8

func (a *answer) mask() { a.text(strconv.FormatInt(a.front.tracing.Load(), 10)) }

func (f *front) setMask(r io.Reader) error {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	f.tracing.Store(int64(binary.BigEndian.Uint64(b[:])))
	return nil
}

// dump has the sessions as a follower has them: without the time at which they expire.
func (a *answer) dump() {
	a.line("SessionTracker dump:")
	a.line("Global Sessions(%d):", len(a.report.Sessions))
	for _, s := range a.report.Sessions {
		a.line("0x%x\t%dms", uint64(s.ID), s.Timeout.Milliseconds())
	}
	a.line("ephemeral nodes dump:")
	a.line("Sessions with Ephemerals (%d):", len(a.report.Owners))
	for _, o := range a.report.Owners {
		a.line("0x%x:", uint64(o.ID))
		for _, path := range o.Paths {
			a.line("\t%s", path)
		}
	}
	a.line("Connections dump:")
	session := map[uint64]int64{}
	for _, c := range a.report.Connections {
		session[c.Conn] = c.Session
	}
	for _, v := range a.front.all() {
		v.mu.Lock()
		a.line("\tip: /%s sessionId: 0x%x", v.RemoteAddr(), uint64(session[v.id]))
		v.mu.Unlock()
	}
}

func (a *answer) srst() {
	a.front.traffic.reset()
	a.line("Server stats reset.")
}

func (a *answer) crst() {
	for _, v := range a.front.all() {
		v.traffic.reset()
	}
	a.line("Connection stats reset.")
}

// assz is no word of ZooKeeper's.
func (a *answer) assz() {
	b, err := vitals.Of(a.front.host).JSON()
	if err != nil {
		a.line("%v", err)
		return
	}
	a.Write(b)
}
