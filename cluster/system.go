package cluster

import (
	"context"
	"fmt"
	"time"
)

// System tells a back-end that starts processes how to run one kind of server and how to talk to it. It is how a back-end, which sees no
// target, gets to know one.
type System struct {
	Name string
	// Args of the server's command for one node.
	Args func(Node) []string
	// Dial connects a test's client to a node's client address. Errors as in Cluster.Dial.
	Dial func(ctx context.Context, address string, o Options) (Client, error)
	// Status asks one node. Node names in the answer.
	Status func(ctx context.Context, address string) (Status, error)
	// Transfer asks the node at address, the leader, to hand over to the node with this id.
	Transfer func(ctx context.Context, address string, to int) error
	// Join and Leave ask the node at address to change the membership. peer is the new node's peer address.
	Join  func(ctx context.Context, address string, id int, peer string) error
	Leave func(ctx context.Context, address string, id int) error
}

// Lack tells what the system cannot do itself, whoever runs it.
func (s System) Lack(power Power) error {
	switch {
	case power == Transfers && s.Transfer == nil:
		return fmt.Errorf("%s does not hand over leadership", s.Name)
	case power == Membership && (s.Join == nil || s.Leave == nil):
		return fmt.Errorf("%s does not change its members", s.Name)
	}
	return nil
}

// Node is what a back-end decides of one node before it starts it.
type Node struct {
	ID      int    // n<ID>
	Dir     string // its data, kept through restarts
	Peer    string // address to listen on for other nodes, host:port
	Client  string // address to listen on for clients, host:port
	Peers   []Peer // where to reach the others
	Joining bool   // it joins a running cluster
	// Observer: it is one of the first configuration's observers. Otherwise, if it does not join, one of its voters.
	Observer bool
	Cluster  string // name that no other cluster has: nodes of different ones do not talk to each other, whosever port they find
	Seed     uint64
	Settings
}

// Settings are the same for all nodes of a run.
type Settings struct {
	Target    string
	Read      string // what a linearizable read rests on
	Flaw      string
	Heartbeat time.Duration
	Election  time.Duration
	Drift     float64
	Snapshot  int
	Record    bool // the node records its input, to be replayed
}

// Peer is another node as this one sees it: through a relay where the back-end uses them.
type Peer struct {
	ID      int
	Address string
	// Observer: it has no vote in the first configuration.
	Observer bool
}
