package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// network of a run. Nodes have fixed addresses on it, also across the death of a container.
type network struct {
	id     string
	subnet netip.Prefix
}

// Each run has a /20 of a range that few use: addresses are never used again within a run, and members come and go.
var (
	range20 = netip.MustParsePrefix("10.176.0.0/12")
	bits    = 20
)

const (
	firstHost = 16                    // of a subnet; the engine has the first few
	mostHosts = 1<<12 - firstHost - 2 // the last address is for all
)

// address of the node with this id.
func (n network) address(id int) (netip.Addr, error) {
	if id > mostHosts {
		return netip.Addr{}, fmt.Errorf("node %d: a run has addresses for %d nodes, those that have left included", id, mostHosts)
	}
	b := n.subnet.Addr().As4()
	host := uint32(b[2])<<8 + uint32(b[3]) + uint32(firstHost+id)
	return netip.AddrFrom4([4]byte{b[0], b[1], byte(host >> 8), byte(host)}), nil
}

// makeNetwork takes a free subnet. Another run may take the same at the same time, so a refusal only means the next one.
func makeNetwork(ctx context.Context, engine *client.Client, run string, here bool) (network, error) {
	ctx, cancel := whole(ctx)
	defer cancel()
	taken, err := takenSubnets(ctx, engine, here)
	if err != nil {
		return network{}, err
	}
	subnets := 1 << (bits - range20.Bits())
	last := errors.New("all are taken")
	for _, k := range rand.Perm(subnets) {
		subnet := nthSubnet(k)
		if overlaps(subnet, taken) {
			continue
		}
		made, err := engine.NetworkCreate(ctx, "assize-"+run, dockernet.CreateOptions{
			Driver: "bridge", Labels: labels(run),
			IPAM: &dockernet.IPAM{Config: []dockernet.IPAMConfig{{Subnet: subnet.String()}}},
		})
		if err == nil {
			return network{made.ID, subnet}, nil
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "verlap") {
			return network{}, fmt.Errorf("make a network: %w", err)
		}
		last = err
	}
	return network{}, fmt.Errorf("make a network: no subnet of %v is free: %w", range20, last)
}

func nthSubnet(k int) netip.Prefix {
	b := range20.Addr().As4()
	offset := uint32(k) << (32 - bits)
	at := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	at += offset
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)}), bits)
}

func overlaps(subnet netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(subnet) {
			return true
		}
	}
	return false
}

// takenSubnets are those of the engine's networks and, where the engine is here, of this machine's interfaces.
func takenSubnets(ctx context.Context, engine *client.Client, here bool) (taken []netip.Prefix, err error) {
	all, err := engine.NetworkList(ctx, dockernet.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range all {
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil {
				taken = append(taken, p)
			}
		}
	}
	if !here {
		return taken, nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			taken = append(taken, p)
		}
	}
	return taken, nil
}
