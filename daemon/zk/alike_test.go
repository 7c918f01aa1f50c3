package zk

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"assize/daemon/clienttest"
	"assize/machine/jute"
)

// wordDuel is of two servers that are alone.
func wordDuel(t *testing.T, guests int, more ...string) *duel {
	return &duel{TB: t, apache: newSide(t, guests, []string{clienttest.Apache(t, more...)}), assize: newSide(t, guests, []string{clienttest.Assize(t, more...)})}
}

// say bytes without a session, and give what comes until the end.
func say(t testing.TB, address, bytes string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, bytes)
	b, _ := io.ReadAll(c) // a reset is an end, too
	return string(b)
}

var sessionNumber = regexp.MustCompile(`0x[0-9a-f]{6,}`)

// word is what the side's first server says to one, with sessions told by their order. Paths and sessions are sets in ZooKeeper: they are put into an order.
func (s *side) word(word string) string {
	told := sessionNumber.ReplaceAllStringFunc(say(s, s.addresses[0], word), func(hex string) string {
		var id int64
		fmt.Sscanf(hex, "0x%x", &id)
		return s.session(id)
	})
	var blocks [][]string
	for line := range strings.Lines(told) {
		if strings.HasPrefix(line, "\t") && len(blocks) > 0 {
			blocks[len(blocks)-1] = append(blocks[len(blocks)-1], line)
		} else {
			blocks = append(blocks, []string{line})
		}
	}
	for _, b := range blocks {
		slices.Sort(b[1:])
	}
	slices.SortFunc(blocks, slices.Compare)
	return fmt.Sprintf("%q", blocks)
}

// TestWatchesAreToldAlike: by ZooKeeper and by ours, as clients leave them, and they fire. Only a connection that has no watch any more is none that watches here.
func TestWatchesAreToldAlike(t *testing.T) {
	t.Parallel()
	d := wordDuel(t, 3, slow)
	words := func() {
		t.Helper()
		for _, word := range []string{"wchs", "wchc", "wchp"} {
			d.both(word, func(s *side) string { return s.word(word) })
		}
	}
	words()
	d.ask(0, jute.Request{Xid: 1, Op: jute.Create, Path: "/a", ACL: []jute.ACL{everyone}})
	for i, q := range []jute.Request{
		{Op: jute.GetData, Path: "/a", Watch: true}, {Op: jute.Exists, Path: "/b", Watch: true}, {Op: jute.GetChildren, Path: "/a", Watch: true},
		{Op: jute.AddWatch, Path: "/a", Mode: jute.WatchPersistent}, {Op: jute.AddWatch, Path: "/c", Mode: jute.WatchRecursive},
		{Op: jute.GetData, Path: "/a", Watch: true}, {Op: jute.Exists, Path: "/é/z", Watch: true}, {Op: jute.Exists, Path: "/", Watch: true},
		{Op: jute.SetData, Path: "/a", Version: -1}, {Op: jute.Create, Path: "/c", ACL: []jute.ACL{everyone}}, {Op: jute.RemoveWatches, Path: "/c", Mode: jute.WatcherAny},
	} {
		q.Xid = int32(i + 2)
		d.ask([]int{0, 1, 2, 2, 1, 1, 0, 0, 1, 1, 1}[i], q)
		words()
	}
	d.ask(0, jute.Request{Xid: 20, Op: jute.CloseSession})
	words()
	d.ask(2, jute.Request{Xid: 21, Op: jute.RemoveWatches, Path: "/a", Mode: jute.WatcherAny})
	for s, want := range map[*side][2]string{
		d.apache: {`[["\n"] ["#1\n" "\t/b\n"] ["#2\n"]]`, `[["2 connections watching 1 paths\n"] ["Total watches:1\n"]]`},
		d.assize: {`[["\n"] ["#1\n" "\t/b\n"]]`, `[["1 connections watching 1 paths\n"] ["Total watches:1\n"]]`},
	} {
		if got := [2]string{s.word("wchc"), s.word("wchs")}; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestTraceMasks are set and told alike, and no more than eight bytes of them are waited for.
func TestTraceMasks(t *testing.T) {
	t.Parallel()
	d := wordDuel(t, 1)
	d.both("gtmk", func(s *side) string { return s.word("gtmk") })
	for _, mask := range []uint64{0, 5, 1 << 63, 1<<64 - 1} {
		d.both(fmt.Sprint("stmk", mask), func(s *side) string { return s.word("stmk" + string(binary.BigEndian.AppendUint64(nil, mask))) })
		d.both("gtmk", func(s *side) string { return s.word("gtmk") })
	}
	for _, more := range []string{"more", "\r\n"} {
		d.both("stmk with more", func(s *side) string { return s.word("stmk" + string(binary.BigEndian.AppendUint64(nil, 306)) + more) })
	}
	l := dialRaw(t, d.assize.addresses[0])
	l.Write([]byte("stmk1234567"))
	l.Conn.(*net.TCPConn).CloseWrite()
	if b, _ := io.ReadAll(l); len(b) > 0 {
		t.Errorf("half a mask was answered with %q", b)
	}
	if got := d.assize.word("gtmk"); got != `[["306"]]` {
		t.Errorf("then the mask was %s", got)
	}
}

// TestDigests are told of every 128th transaction, whose numbers are the same but for the epoch. The digests themselves are each server's own.
func TestDigests(t *testing.T) {
	t.Parallel()
	d := wordDuel(t, 1, slow)
	digests := regexp.MustCompile(`(?m)^(?:10{5,})?([1-9a-f][0-9a-f]*): -?\d+$`)
	hash := func() {
		t.Helper()
		d.both("hash", func(s *side) string { return digests.ReplaceAllString(say(s, s.addresses[0], "hash"), "$1: digest") })
	}
	hash()
	for i := range 300 {
		d.ask(0, jute.Request{Xid: int32(i + 1), Op: jute.SetData, Path: "/", Version: -1})
	}
	hash()
	if got := say(t, d.assize.addresses[0], "hash"); strings.Count(got, "\n") != 2 {
		t.Errorf("300 transactions, and %q", got)
	}
}

// TestWhitelist: words that are not in it are refused alike, whether the server serves or not; srvr is in every one.
func TestWhitelist(t *testing.T) {
	t.Parallel()
	d := wordDuel(t, 1, slow, "4lw.commands.whitelist=ruok, gtmk,wchp")
	for _, word := range []string{"ruok", "gtmk", "wchp", "stmk", "stmk12345678", "dirs", "hash", "wchs", "wchc", "isro", "envi", "crst", "srst", "mntr", "lead", "xxxx"} {
		d.both(word, func(s *side) string { return s.word(word) })
	}
	for _, s := range []*side{d.apache, d.assize} {
		if got := s.word("srvr"); !strings.Contains(got, "Mode: standalone") {
			t.Errorf("srvr: %s", got)
		}
	}
	if _, err := Status(t.Context(), d.assize.addresses[0]); err != nil {
		t.Error(err)
	}
}

// TestDirs adds up the files of the node's directory.
func TestDirs(t *testing.T) {
	h := newToy()
	h.dir = t.TempDir()
	address := serve(t, h)
	if got := ask(t, address, "dirs"); got != "datadir_size: 0\nlogdir_size: 0\n" {
		t.Errorf("of an empty one: %q", got)
	}
	for name, size := range map[string]int{"a": 1000, "below/b": 234} {
		name = filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(t, address, "dirs"); got != "datadir_size: 1234\nlogdir_size: 1234\n" {
		t.Errorf("got %q", got)
	}
	if got := ask(t, address, "conf"); !strings.Contains(got, "dataDir="+h.dir+"\ndataDirSize=1234\n") {
		t.Errorf("conf: %s", got)
	}
	h.set(func() { h.dir += "/gone" })
	if got := ask(t, address, "dirs"); got != "datadir_size: 0\nlogdir_size: 0\n" {
		t.Errorf("of none: %q", got)
	}
}
