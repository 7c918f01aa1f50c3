package clienttest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apacheJar is where Debian has ZooKeeper. Its package zookeeper starts no server by itself.
const apacheJar = "/usr/share/java/zookeeper.jar"

// usual of zoo.cfg: a tick of 500 ms, and all that an operator can allow.
var usual = []string{"tickTime=500", "admin.enableServer=false", "4lw.commands.whitelist=*", "extendedTypesEnabled=true"}

// Apache starts a ZooKeeper of its own, alone, and waits until it serves. More are lines of its zoo.cfg, of which the last one of a key counts.
func Apache(t *testing.T, more ...string) (address string) {
	t.Helper()
	return ApacheEnsemble(t, 1, more...)[0]
}

// ApacheEnsemble is so many of them that know each other.
func ApacheEnsemble(t *testing.T, n int, more ...string) (addresses []string) {
	t.Helper()
	java, err := exec.LookPath("java")
	if _, jar := os.Stat(apacheJar); err != nil || jar != nil {
		t.Skip("there is no ZooKeeper on this machine (Debian: zookeeper)")
	}
	return startEnsemble(t, n, more, func(config string) *exec.Cmd {
		return exec.Command(java, "-Xmx128m", "-XX:+UseSerialGC", "-cp", apacheJar, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
	})
}

// Assize is Apache with a server of ours, and ours are so patient that a busy machine is no reason for an election.
func Assize(t *testing.T, more ...string) (address string) {
	t.Helper()
	return AssizeEnsemble(t, 1, more...)[0]
}

// AssizeEnsemble is ApacheEnsemble with servers of ours.
func AssizeEnsemble(t *testing.T, n int, more ...string) (addresses []string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "assize")
	if b, err := exec.Command("go", "build", "-o", binary, "assize/cmd/assize").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	return startEnsemble(t, n, more, func(config string) *exec.Cmd {
		return exec.Command(binary, "node", "--zoo-cfg", config, "--heartbeat", "100ms", "--election", "2s", "--orphan=false")
	})
}

// startEnsemble of servers that take a zoo.cfg, and wait until all serve.
func startEnsemble(t *testing.T, n int, more []string, command func(config string) *exec.Cmd) (addresses []string) {
	t.Helper()
	ports := FreePorts(t, 3*n)
	for i := range n {
		dir := t.TempDir()
		lines := append([]string{"dataDir=" + filepath.Join(dir, "data"), "clientPort=" + ports[i], "clientPortAddress=127.0.0.1"}, usual...)
		for j := range n {
			if n > 1 {
				lines = append(lines, fmt.Sprintf("server.%d=127.0.0.1:%s:%s", j+1, ports[n+j], ports[2*n+j]))
			}
		}
		if n > 1 {
			lines = append(lines, "initLimit=20", "syncLimit=20")
		}
		lines = append(lines, more...)
		config := filepath.Join(dir, "zoo.cfg")
		write(t, config, strings.Join(lines, "\n")+"\n")
		write(t, filepath.Join(dir, "data", "myid"), fmt.Sprintln(i+1))
		cmd := command(config)
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		addresses = append(addresses, net.JoinHostPort("127.0.0.1", ports[i]))
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, address := range addresses {
		for end := time.Now().Add(time.Minute); !serves(address); <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("the server at %s does not answer", address)
			}
		}
	}
	return addresses
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FreePorts of loopback are so many that were free a moment ago.
func FreePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// serves asks without a session, which would be a transaction.
func serves(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(c, "srvr")
	b, _ := io.ReadAll(c)
	return strings.Contains(string(b), "Mode: ")
}
