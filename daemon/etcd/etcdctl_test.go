package etcd

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"assize/machine"
)

// ctl runs the real etcdctl.
type ctl struct {
	t        *testing.T
	binary   string
	endpoint string
}

func newCtl(t *testing.T, address string) ctl {
	t.Helper()
	binary, err := exec.LookPath("etcdctl")
	if err != nil {
		t.Skip("there is no etcdctl on this machine")
	}
	return ctl{t, binary, address}
}

func (c ctl) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.binary, append([]string{"--endpoints", c.endpoint}, args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	return cmd
}

// run with the input and give what it says; the exit status must be 0 or not, as wanted.
func (c ctl) run(ok bool, input string, args ...string) string {
	c.t.Helper()
	cmd := c.command(args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); (err == nil) != ok {
		c.t.Fatalf("etcdctl %v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	if out.Len() == 0 {
		return errs.String()
	}
	return out.String()
}

func (c ctl) want(want string, args ...string) {
	c.t.Helper()
	if got := c.run(true, "", args...); got != want {
		c.t.Errorf("etcdctl %v\ngot  %q\nwant %q", args, got, want)
	}
}

func TestEtcdctlKeys(t *testing.T) {
	h := newMemory(0)
	c := newCtl(t, serve(t, h))
	c.want("OK\n", "put", "a", "1")
	c.want("OK\na\n1\n", "put", "a", "2", "--prev-kv")
	c.want("OK\n", "put", "ab", "3")
	c.want("OK\n", "put", "b", "4")
	c.want("a\n2\n", "get", "a")
	c.want("", "get", "missing")
	c.want("2\n", "get", "a", "--print-value-only")
	c.want("a\n2\nab\n3\n", "get", "a", "--prefix")
	c.want("a\n2\nab\n3\nb\n4\n", "get", "", "--prefix")
	c.want("ab\n3\nb\n4\n", "get", "ab", "--from-key")
	c.want("a\n\nab\n\n", "get", "a", "b", "--keys-only")
	c.want("b\n4\nab\n3\n", "get", "", "--prefix", "--order", "DESCEND", "--limit", "2")
	c.want("b\n4\nab\n3\na\n2\n", "get", "", "--prefix", "--order", "DESCEND", "--sort-by", "VALUE")
	c.want("a\n1\n", "get", "a", "--rev", "2")
	c.want("a\n2\n", "get", "a", "--consistency", "s")
	h.mu.Lock()
	if last := h.asked[len(h.asked)-1]; !last.Local {
		t.Errorf("a serializable read was asked as %+v", last)
	}
	h.mu.Unlock()
	c.want("1\na\n2\n", "del", "a", "--prev-kv")
	c.want("2\n", "del", "", "--prefix")
	c.want("0\n", "del", "a")
	if got := c.run(false, "", "get", "a", "--rev", "99"); !strings.Contains(got, "required revision is a future revision") {
		t.Errorf("a future revision: %q", got)
	}
	if got := c.run(false, "", "put", "", "1"); !strings.Contains(got, "key is not provided") {
		t.Errorf("an empty key: %q", got)
	}
	if got := c.run(false, "", "put", "x", "--ignore-value"); !strings.Contains(got, "key not found") {
		t.Errorf("the value of a missing key: %q", got)
	}
	if got := c.run(false, "", "put", "x", "1", "--lease", "123"); !strings.Contains(got, "requested lease not found") {
		t.Errorf("a lease: %q", got)
	}
	if got := c.run(false, "", "lease", "grant", "10"); !strings.Contains(got, "Unimplemented") {
		t.Errorf("what is not there: %q", got)
	}
}

func TestEtcdctlJSON(t *testing.T) {
	c := newCtl(t, serve(t, newMemory(0)))
	c.run(true, "", "put", "k", "old")
	c.run(true, "", "put", "k", "new")
	out := c.run(true, "", "get", "k", "--prefix", "-w", "json")
	var got struct {
		Header struct {
			Cluster  uint64 `json:"cluster_id"`
			Member   uint64 `json:"member_id"`
			Revision int64  `json:"revision"`
			Term     uint64 `json:"raft_term"`
		}
		Kvs []struct {
			Key, Value      string
			Create_revision int64
			Mod_revision    int64
			Version         int64
		}
		Count int
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	value, _ := base64.StdEncoding.DecodeString(got.Kvs[0].Value)
	if got.Header.Cluster != clusterID || got.Header.Member != 1 || got.Header.Revision != 3 || got.Header.Term != 7 || got.Count != 1 ||
		string(value) != "new" || got.Kvs[0].Create_revision != 2 || got.Kvs[0].Mod_revision != 3 || got.Kvs[0].Version != 2 {
		t.Errorf("got %s", out)
	}
}

func TestEtcdctlTxn(t *testing.T) {
	c := newCtl(t, serve(t, newMemory(0)))
	c.run(true, "", "put", "a", "1")
	script := "value(\"a\") = \"1\"\nversion(\"a\") > \"0\"\n\nput a 2\nget a\ndel b\n\nget a\n\n"
	got := c.run(true, script, "txn")
	if want := "SUCCESS\n\nOK\n\na\n2\n\n0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = c.run(true, script, "txn", "--interactive=false")
	if want := "FAILURE\n\na\n2\n"; got != want {
		t.Errorf("the second time: got %q, want %q", got, want)
	}
	if got := c.run(true, "mod(\"a\") > \"0\"\n\nget a\n\n\n", "txn", "-i"); !strings.HasSuffix(got, "SUCCESS\n\na\n2\n") {
		t.Errorf("asked for line by line: %q", got)
	}
	if got := c.run(false, "\nput a 1\nput a 2\n\n\n", "txn"); !strings.Contains(got, "duplicate key given in txn request") {
		t.Errorf("one key twice: %q", got)
	}
}

func TestEtcdctlWatch(t *testing.T) {
	c := newCtl(t, serve(t, newMemory(0)))
	c.run(true, "", "put", "a", "1")
	c.run(true, "", "put", "b", "1")
	c.run(true, "", "put", "a", "2")
	cmd := c.command("watch", "a", "--prefix", "--rev", "2", "--prev-kv")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if !lines.Scan() {
				t.Fatalf("the watch ended before %q", w)
			}
			if got := lines.Text(); got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		}
	}
	expect("PUT", "a", "1")
	expect("PUT", "a", "1", "a", "2")
	c.run(true, "", "put", "other", "1")
	c.run(true, "", "put", "a2", "3")
	expect("PUT", "a2", "3")
	c.run(true, "", "del", "a", "--prefix")
	expect("DELETE", "a", "2", "a", "", "DELETE", "a2", "3", "a2", "")
}

func TestEtcdctlEndpointsAndMembers(t *testing.T) {
	h := newMemory(0)
	h.set(func() { h.status.Counters = machine.Counters{} })
	c := newCtl(t, serve(t, h))
	c.run(true, "", "put", "a", "1")
	if got := c.run(true, "", "endpoint", "status"); !strings.HasPrefix(got, c.endpoint+", 1, "+version+", 0 B, true, false, 7, 1, 1,") {
		t.Errorf("status: %q", got)
	}
	if got := c.run(true, "", "endpoint", "health"); !strings.Contains(got, "is healthy") {
		t.Errorf("health: %q", got)
	}
	c.want("1, started, n1, , , false\n2, started, n2, , , false\n3, started, n3, , , false\n", "member", "list")
	if got := c.run(true, "", "member", "add", "n4", "--peer-urls", "http://n4@127.0.0.1:2380"); !strings.HasPrefix(got, "Member") {
		t.Errorf("add: %q", got)
	}
	if got := c.run(false, "", "member", "add", "n5", "--peer-urls", "http://127.0.0.1:2380"); !strings.Contains(got, "does not name the node") {
		t.Errorf("add of nobody: %q", got)
	}
	if got := c.run(true, "", "member", "remove", "3"); !strings.HasPrefix(got, "Member") {
		t.Errorf("remove: %q", got)
	}
	if got := c.run(false, "", "member", "remove", "9"); !strings.Contains(got, "member not found") {
		t.Errorf("remove of nobody: %q", got)
	}
	if got := c.run(false, "", "move-leader", "9"); !strings.Contains(got, "bad leader transferee") {
		t.Errorf("leadership to nobody: %q", got)
	}
	if got := c.run(true, "", "move-leader", "2"); !strings.HasPrefix(got, "Leadership transferred from 1 to 2") {
		t.Errorf("move-leader: %q", got)
	}
	if got := c.run(false, "", "move-leader", "3"); !strings.Contains(got, "no leader endpoint given") {
		t.Errorf("move-leader at a follower: %q", got)
	}
	want := []machine.Command{
		{Kind: machine.CommandJoin, Node: 4, Address: []byte("127.0.0.1:2380")}, {Kind: machine.CommandLeave, Node: 3}, {Kind: machine.CommandTransfer, Node: 2},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := 0
	for _, got := range h.asked {
		if i < len(want) && bytes.Equal(got.Encode(), want[i].Encode()) {
			i++
		}
	}
	if i < len(want) {
		t.Errorf("the machine was not asked for %+v: %+v", want[i], h.asked)
	}
}
