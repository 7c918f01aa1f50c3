package clienttest

import (
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

// Apache starts a ZooKeeper of its own, alone, with a tick of 500 ms and all that its operator can allow, and waits until it serves.
func Apache(t *testing.T) (address string) {
	t.Helper()
	java, err := exec.LookPath("java")
	if _, jar := os.Stat(apacheJar); err != nil || jar != nil {
		t.Skip("there is no ZooKeeper on this machine (Debian: zookeeper)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "zoo.cfg")
	lines := []string{
		"tickTime=500", "dataDir=" + filepath.Join(dir, "data"), "clientPort=" + port, "clientPortAddress=127.0.0.1", "admin.enableServer=false",
		"4lw.commands.whitelist=*", "extendedTypesEnabled=true",
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(java, "-Xmx128m", "-XX:+UseSerialGC", "-cp", apacheJar, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !serves(address); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("ZooKeeper does not answer")
		}
	}
	return address
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
