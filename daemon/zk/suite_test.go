package zk

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// shim is what go-zookeeper's tests take for ZooKeeper's own start script. A node ends with the test that holds the other end of the pipe.
const shim = `#!/bin/sh
for flag in $SERVER_JVMFLAGS; do
  case $flag in -Dzookeeper.DigestAuthenticationProvider.superDigest=*) super=${flag#*=} ;; esac
done
exec "${0%/*}/assize" node --zoo-cfg "$2" --super "$super" <"${0%/*}/alive"
`

// reconfiguring are those of its tests that change the ensemble, which ours cannot: they are told that the feature is disabled, as by a ZooKeeper of
// which it is.
var reconfiguring = []string{"TestIntegration_IncrementalReconfig", "TestIntegration_Reconfig"}

// racing kills a server and asks at once for something to be created: where its client has not noticed yet and sends, that fails by
// ErrConnectionClosed, whoever the server is.
const (
	racing = "TestIntegration_DNSHostProviderReconnect"
	raced  = "Create returned error: zk: connection closed"
)

const disabled = "attempts to perform a reconfiguration operation when reconfiguration feature is disabled"

// suite is go-zookeeper's own integration tests, compiled.
type suite struct {
	dir, binary string
}

func newSuite(t *testing.T) suite {
	t.Helper()
	if testing.Short() {
		t.Skip("a minute of tests, none of which gains by being short")
	}
	dir := t.TempDir()
	s := suite{dir: dir, binary: filepath.Join(dir, "suite")}
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "assize"), "assize/cmd/assize"},
		{"test", "-c", "-o", s.binary, "github.com/go-zookeeper/zk"},
	} {
		if b, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, b)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "zkServer.sh"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { alive.Close() })
	return s
}

// run the tests of that pattern and give the outcomes by name. Some fail, so the exit status says nothing.
func (s suite) run(t *testing.T, pattern string) (outcomes map[string]string, output []byte) {
	t.Helper()
	cmd := exec.Command(s.binary, "-test.run", pattern, "-test.v", "-test.timeout", "5m")
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "ZOOKEEPER_BIN_PATH="+s.dir, "ZK_VERSION=3.8.0")
	output, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	outcomes = map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\w+)`).FindAllSubmatch(output, -1) {
		outcomes[string(m[2])] = string(m[1])
	}
	return outcomes, output
}

// TestGoZookeepersOwnTests: whoever wrote them did not write this server, and they are run as they come.
func TestGoZookeepersOwnTests(t *testing.T) {
	s := newSuite(t)
	all, err := exec.Command(s.binary, "-test.list", "^TestIntegration_").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(all))
	if len(names) != 28 {
		t.Errorf("%d integration tests: %q", len(names), names)
	}
	got, output := s.run(t, "^TestIntegration_")
	// They draw their ports, and do not look whether somebody has them.
	for range 2 {
		if !bytes.Contains(output, []byte(syscall.EADDRINUSE.Error())) && !(got[racing] == "FAIL" && bytes.Contains(output, []byte(raced))) {
			break
		}
		var failed []string
		for name, outcome := range got {
			if outcome == "FAIL" {
				failed = append(failed, name)
			}
		}
		again, more := s.run(t, "^("+strings.Join(failed, "|")+")$")
		maps.Copy(got, again)
		output = more
	}
	for _, name := range names {
		want := "PASS"
		if slices.Contains(reconfiguring, name) {
			want = "FAIL"
		}
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if n := bytes.Count(output, []byte(disabled)); n != len(reconfiguring) {
		t.Errorf("%d of them, want %d, say %q", n, len(reconfiguring), disabled)
	}
	if t.Failed() {
		t.Logf("%s", output)
	}
}
