package zk

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/machine"
	"assize/machine/jute"
)

func ask(t *testing.T, address, word string) string {
	t.Helper()
	answer, err := Ask(t.Context(), address, word)
	if err != nil {
		t.Errorf("%s: %v", word, err)
	}
	return answer
}

// formats of Apache ZooKeeper 3.8's answers, as one pattern each. Between servers only the version's date and what a front end does not know differ.
var formats = map[string]string{
	"ruok": `^imok$`,
	"isro": `^rw$`,
	"srvr": `^Zookeeper version: \S+, built on .*\nLatency min/avg/max: \d+/\d+\.\d{1,4}/\d+\nReceived: \d+\nSent: \d+\nConnections: \d+\nOutstanding: \d+\n` +
		`Zxid: 0x[0-9a-f]+\nMode: [a-z]+\nNode count: \d+\n(Proposal sizes last/min/max: -?\d+/-?\d+/-?\d+\n)?$`,
	"stat": `^Zookeeper version: .*\nClients:\n( /[\d.]+:\d+\[[01]\]\(queued=\d+,recved=\d+,sent=\d+\)\n)+\nLatency min(.*\n){8}(Proposal.*\n)?$`,
	"conf": `^clientPort=\d+\nsecureClientPort=-1\ndataDir=.*\ndataDirSize=\d+\ndataLogDir=.*\ndataLogSize=\d+\ntickTime=500\nmaxClientCnxns=\d+\n` +
		`minSessionTimeout=1000\nmaxSessionTimeout=10000\nclientPortListenBacklog=-1\nserverId=\d\n`,
	"cons": `^( /[\d.]+:\d+\[[01]\]\(queued=\d+,recved=\d+,sent=\d+(,sid=0x[0-9a-f]+,lop=[A-Z0-9]+,est=\d{13},to=\d+(,lcxid=0x[0-9a-f]+)?,lzxid=0x[0-9a-f]+,` +
		`lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+)?\)\n)+\n$`,
	"envi": `^Environment:\nzookeeper\.version=3\.8\.0.*\nhost\.name=.*\njava\.version=.*\njava\.vendor=.*\n(.*\n)*os\.name=.*\nos\.arch=.*\n(.*\n)*user\.dir=.*\n`,
	"wchc": `^(0x[0-9a-f]+\n(\t/.*\n)*)*\n$`,
	"wchp": `^(/.*\n(\t0x[0-9a-f]+\n)+)*\n$`,
	"hash": `^([0-9a-f]+: -?\d+\n)*$`,
	"dirs": `^datadir_size: \d+\nlogdir_size: \d+\n$`,
	"gtmk": `^306$`,
	"wchs": `^\d+ connections watching \d+ paths\nTotal watches:\d+\n$`,
	"dump": `^SessionTracker dump:\n(.*\n)*ephemeral nodes dump:\nSessions with Ephemerals \(\d+\):\n(0x.*:\n(\t/.*\n)+)*Connections dump:\n(.*\n)*(\tip: /[\d.]+:\d+ sessionId: 0x[0-9a-f]+\n)+$`,
	"srst": `^Server stats reset\.\n$`,
	"crst": `^Connection stats reset\.\n$`,
	"mntr": `^(zk_[a-z0-9_.-]+\t.*\n)+$`,
}

// gauges that monitors look at, whatever the mode.
var gauges = []string{
	"version", "server_state", "ephemerals_count", "num_alive_connections", "avg_latency", "outstanding_requests", "znode_count", "global_sessions", "packets_sent",
	"packets_received", "watch_count", "min_latency", "approximate_data_size", "local_sessions", "uptime", "max_latency",
}

// likeApache holds answers to these formats. The server's tick is 500 ms.
func likeApache(t *testing.T, address string) {
	t.Helper()
	for word, format := range formats {
		if got := ask(t, address, word); !regexp.MustCompile(format).MatchString(got) {
			t.Errorf("%s was answered with\n%s", word, got)
		}
	}
	monitor := ask(t, address, "mntr")
	for _, name := range gauges {
		if !regexp.MustCompile(`(?m)^zk_` + name + `\t.`).MatchString(monitor) {
			t.Errorf("mntr does not tell %s", name)
		}
	}
}

func TestWords(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	l := greeted(t, address)
	h.set(func() {
		h.report.Connections = []machine.ConnectionReport{
			{Conn: 1, Session: 0x100000000000001, Timeout: 5 * time.Second, LastZxid: 3, Watched: []string{"/a", "/b"}}, {Conn: 3, Session: 3},
			{Conn: 4, Session: 0x100000000000002, Watched: []string{"/b"}},
		}
		h.report.Digests = []machine.DigestReport{{Zxid: 1<<32 + 128, Hash: 7}, {Zxid: 1<<32 + 256, Hash: 1<<64 - 1}}
		h.report.Sessions = []machine.SessionReport{{ID: 0x100000000000001, Timeout: 5 * time.Second}}
		h.report.Owners = []machine.OwnerReport{{ID: 0x100000000000001, Paths: []string{"/e"}}}
		h.report.Data = machine.WatchReport{Connections: 1, Paths: 2, Watches: 3}
	})
	q := jute.Request{Xid: 9, Op: jute.Sync, Path: "/a"}
	l.send(q.Encode())
	l.receive()
	for _, mode := range []string{machine.Standalone, machine.Leader, machine.Follower, machine.Observer} {
		h.set(func() { h.report.Mode = mode })
		if got := ask(t, address, "cons"); !strings.Contains(got, "[1](queued=0,recved=2,sent=2,sid=0x100000000000001,lop=SYNC,est=") && mode == machine.Standalone {
			t.Errorf("cons: %s", got)
		}
		likeApache(t, address)
		if got := ask(t, address, "mntr"); mode != machine.Standalone && !strings.Contains(got, "\nzk_quorum_size\t3\n") {
			t.Errorf("%s: mntr was answered with\n%s", mode, got)
		}
	}
	for word, want := range map[string]string{
		"wchs": "1 connections watching 2 paths\nTotal watches:3\n",
		"wchc": "0x100000000000001\n\t/a\n\t/b\n0x100000000000002\n\t/b\n\n",
		"wchp": "/a\n\t0x100000000000001\n/b\n\t0x100000000000001\n\t0x100000000000002\n\n",
		"hash": "100000080: 7\n100000100: -1\n",
	} {
		if got := ask(t, address, word); got != want {
			t.Errorf("%s was answered with %q, want %q", word, got, want)
		}
	}
	if got := ask(t, address, "dump"); !strings.Contains(got, "0x100000000000001\t5000ms\n") || !strings.Contains(got, "0x100000000000001:\n\t/e\n") {
		t.Errorf("dump was answered with\n%s", got)
	}
}

func TestWordsOfAServerThatDoesNotServe(t *testing.T) {
	h := newToy()
	h.report.Serving = false
	address := serve(t, h)
	for word, w := range words {
		if word == "stmk" {
			continue
		}
		got, end := ask(t, address, word), "\n"
		if word == "hash" {
			end = ""
		}
		if needs := w.need != nothing; needs != (got == "This ZooKeeper instance is not currently serving requests"+end) {
			t.Errorf("%s was answered with %q", word, got)
		}
	}
	if got := ask(t, address, "ruok"); got != "imok" {
		t.Errorf("ruok: %q", got)
	}
	if got := ask(t, address, "isro"); got != "null" {
		t.Errorf("isro: %q", got)
	}
}

// TestWordsWhileTheMachineIsBusy: whoever looks whether a server lives, and what its vitals are, does not wait for its disk.
func TestWordsWhileTheMachineIsBusy(t *testing.T) {
	h := newToy()
	h.held = make(chan struct{})
	address := serve(t, h)
	defer close(h.held)
	for word, want := range map[string]string{"ruok": "imok", "envi": "Environment:\n", "assz": "{"} {
		if got := ask(t, address, word); !strings.HasPrefix(got, want) {
			t.Errorf("%s was answered with %q", word, got)
		}
	}
	if s, err := Status(t.Context(), address); err != nil || s.Role != machine.Leader {
		t.Errorf("status: %+v, %v", s, err)
	}
}

// TestMachineWithoutReport does not serve, even if its status says that it leads.
func TestMachineWithoutReport(t *testing.T) {
	h := newToy()
	h.report = machine.Report{}
	address := serve(t, h)
	for word, want := range map[string]string{"srvr": notServing + "\n", "isro": "null", "ruok": "imok"} {
		if got := ask(t, address, word); got != want {
			t.Errorf("%s was answered with %q, want %q", word, got, want)
		}
	}
}

// TestWordsWithMore: people type words with a line's end behind them, by tools that close their side at once.
func TestWordsWithMore(t *testing.T) {
	address := serve(t, newToy())
	for range 50 {
		l := dialRaw(t, address)
		l.Write([]byte("ruok\r\n"))
		l.Conn.(*net.TCPConn).CloseWrite()
		b := make([]byte, 10)
		if n, _ := l.Read(b); string(b[:n]) != "imok" {
			t.Fatalf("got %q", b[:n])
		}
	}
}

// TestFourLetterWordsOfGoZookeeper: its tests wait until FLWSrvr understands a server.
func TestFourLetterWordsOfGoZookeeper(t *testing.T) {
	h := newToy()
	h.report.Mode, h.report.Zxid, h.report.Outstanding = machine.Leader, 5<<32+7, 3
	address := serve(t, h)
	stats, ok := zookeeper.FLWSrvr([]string{address}, long)
	if !ok || len(stats) != 1 {
		t.Fatalf("%+v, %v", stats, ok)
	}
	s := stats[0]
	if s.Mode != zookeeper.ModeLeader || s.Epoch != 5 || s.Counter != 7 || s.NodeCount != 5 || s.Outstanding != 3 || s.Connections != 1 || s.Version != "3.8.0-assize" {
		t.Errorf("got %+v", s)
	}
	if ok := zookeeper.FLWRuok([]string{address}, long); !ok[0] {
		t.Error("ruok: no")
	}
	l := greeted(t, address)
	h.set(func() {
		h.report.Connections = []machine.ConnectionReport{{Conn: 1, Session: 0xab, Timeout: time.Second, LastZxid: 3}}
	})
	l.send((&jute.Request{Xid: 9, Op: jute.Sync, Path: "/a"}).Encode())
	l.receive()
	// The connection that asks has no session: FLWCons does not understand its line, whosever server it is.
	clients, _ := zookeeper.FLWCons([]string{address}, long)
	if len(clients[0].Clients) != 1 || clients[0].Clients[0].SessionID != 0xab || clients[0].Clients[0].Lzxid != 3 {
		t.Errorf("cons: %+v", clients[0])
	}
}

func TestLatency(t *testing.T) {
	var c traffic
	if least, mean, most := c.latency(); least != 0 || mean != 0 || most != 0 {
		t.Errorf("of nothing: %d/%v/%d", least, mean, most)
	}
	for _, d := range []time.Duration{3 * time.Millisecond, 5 * time.Millisecond, 1900 * time.Microsecond} {
		c.took(d)
	}
	if least, mean, most := c.latency(); least != 1 || mean != 3.3 || most != 5 {
		t.Errorf("got %d/%v/%d, want 1/3.3/5", least, mean, most)
	}
	for v, want := range map[float64]string{0: "0.0", 1.5: "1.5", 2.0 / 3: "0.6667", 100: "100.0"} {
		if got := float(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}
