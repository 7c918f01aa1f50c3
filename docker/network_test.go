package docker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/docker/docker/client"
)

func TestSubnetsAreApartAndWithinTheRange(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for k := range 1 << (bits - range20.Bits()) {
		s := nthSubnet(k)
		if !range20.Contains(s.Addr()) || s.Masked() != s || seen[s] {
			t.Fatalf("subnet %d is %v", k, s)
		}
		seen[s] = true
	}
	if got := nthSubnet(17); got != netip.MustParsePrefix("10.177.16.0/20") {
		t.Errorf("subnet 17 is %v", got)
	}
}

func TestAddressesOfNodes(t *testing.T) {
	n := network{subnet: netip.MustParsePrefix("10.177.16.0/20")}
	for id, want := range map[int]string{1: "10.177.16.17", 239: "10.177.16.255", 240: "10.177.17.0", mostHosts: "10.177.31.254"} {
		got, err := n.address(id)
		if err != nil || got.String() != want || !n.subnet.Contains(got) {
			t.Errorf("address of n%d is %v, %v, want %s", id, got, err, want)
		}
	}
	if a, err := n.address(mostHosts + 1); err == nil {
		t.Errorf("a node too many has %v", a)
	}
}

func TestOverlaps(t *testing.T) {
	taken := []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("10.177.20.5/32")}
	if !overlaps(netip.MustParsePrefix("10.177.16.0/20"), taken) || overlaps(netip.MustParsePrefix("10.177.0.0/20"), taken) {
		t.Error("only the first has an address that is taken")
	}
}

// TestNoSubnetIsFree, and the error says so.
func TestNoSubnetIsFree(t *testing.T) {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"IPAM": {"Config": [{"Subnet": %q}]}}]`, range20)
	}))
	defer engine.Close()
	c, err := client.NewClientWithOpts(client.WithHost("tcp://"+engine.Listener.Addr().String()), client.WithVersion("1.41"))
	must(t, err)
	defer c.Close()
	if _, err := makeNetwork(t.Context(), c, "x", false); err == nil || err.Error() != "make a network: no subnet of 10.176.0.0/12 is free: all are taken" {
		t.Errorf("error %v", err)
	}
}
