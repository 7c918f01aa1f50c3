package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"assize/cluster"
)

// den is a place where the server runs, whoever ignites it.
type den struct {
	*site
	address string
	stopped bool
}

func (d den) Addresses() (peer, client string)                      { return "", d.address }
func (d den) Ignite(context.Context, func() []string) (Life, error) { return nil, nil }
func (d den) Answering() bool                                       { return !d.stopped }
func (d den) Down(context.Context) bool                             { return false }

// TestStartOfARunningServerWaitsForItsAnswer as that of one that was down does; one that has been stopped has none to give.
func TestStartOfARunningServerWaitsForItsAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		after   int64 // so many questions it answers; negative: never
		stopped bool
		asked   int64
		ended   bool // the caller has given up
	}{{0, false, 1, false}, {3, false, 4, false}, {-1, true, 1, false}, {-1, false, 5, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var asked atomic.Int64
			system := cluster.System{Status: func(context.Context, string) (cluster.Status, error) {
				n := asked.Add(1)
				if c.ended && n == c.asked {
					cancel()
				}
				if c.after < 0 || n <= c.after {
					return cluster.Status{}, errors.New("not yet")
				}
				return cluster.Status{}, nil
			}}
			fleet, err := New(t.Context(), Config{Dir: t.TempDir(), Nodes: 1, System: system}, &site{})
			if err != nil {
				t.Fatal(err)
			}
			fleet.nodes = []*Node{{ID: 1, Name: "n1", Place: den{&site{}, listener.Addr().String(), c.stopped}}}
			err = fleet.Start(ctx, "n1")
			if (err != nil) != c.ended || asked.Load() != c.asked || c.ended && !errors.Is(err, cluster.ErrSystem) {
				t.Errorf("error %v, asked %d times, want %d", err, asked.Load(), c.asked)
			}
		})
	}
}

// TestAccusationsAreViolations: a server that is told what no correct one says leaves whoever has said it, and clients may never see a trace of it.
func TestAccusationsAreViolations(t *testing.T) {
	fleet, err := New(t.Context(), Config{Dir: t.TempDir(), Nodes: 1}, &site{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := fleet.newNode(false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Log.Close()
	n.Log.Line("role id=2 role=leader accused of nothing")
	if got := fleet.Violations(); got != nil {
		t.Errorf("got %q of what is no accusation", got)
	}
	n.Log.Copy(strings.NewReader("accused node=5 why=\"0x100000003 is proposed in epoch 1 after 0x0\"\naccused node=5 why=more\n"))
	if got := fleet.Violations(); len(got) != 1 || !strings.Contains(got[0], n.Name) || !strings.Contains(got[0], "node=5 why=\"0x100000003 is") {
		t.Errorf("got %q, want the first accusation", got)
	}
}
