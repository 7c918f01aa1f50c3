package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"assize/cluster"
	"assize/history"
)

var transfer = Nemesis{
	Name:  "transfer",
	Doc:   "has the leader hand over to another node; nothing to mend",
	Can:   canTransfer,
	Break: breakTransfer,
	Mend:  mendTransfer,
}

func canTransfer(c cluster.Cluster) error {
	if err := cluster.Lack(c, cluster.Transfers); err != nil {
		return err
	}
	if len(c.Nodes()) < 2 {
		return errors.New("a cluster of one node has nobody to hand over to")
	}
	return nil
}

const (
	transferAttempts = 3                // but for those that failed when the leader was lost
	transferBound    = 30 * time.Second // on all attempts: no more are begun after it
	electionBound    = 2 * time.Second
)

// breakTransfer tries several heirs: a leader may give up on one that lags, which is no fault of the test. Nor is an attempt in which another fault has taken
// the leader away: it is made again, and tells nothing of those who hand over.
func breakTransfer(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	fault := history.Fault{What: "transfer leadership"}
	var old sight
	heir := ""
	for stood, began := 0, c.Now(); stood < transferAttempts && c.Now()-began < transferBound; {
		var before []sight
		var leader sight
		// Right after another fault nobody leads for the length of an election.
		if !await(ctx, c, electionBound, func() (led bool) {
			before = look(ctx, c, c.Nodes())
			leader, led = leaderOf(before)
			return led
		}) {
			return fault, nothing("no node says that it leads: %s", told(before))
		}
		if heir != "" && changed(old, leader) && leader.node == heir {
			break // late, but it came
		}
		old = leader
		heirs := heirsOf(ctx, c, before, leader)
		if len(heirs) == 0 {
			return fault, nothing("nobody is in touch with the leader %s", leader.node)
		}
		heir = heirs[r.IntN(len(heirs))]
		fault.What = fmt.Sprintf("transfer leadership from %s to %s", leader.node, heir)
		fault.Nodes = []string{leader.node, heir}
		err := c.(cluster.Transferer).Transfer(ctx, heir)
		await(ctx, c, probeBound, func() bool {
			now, ok := leaderOf(look(ctx, c, c.Nodes()))
			if ok && changed(old, now) {
				fault.Held = now.node == heir && err == nil // anybody else has been elected in the midst of another fault
				fault.Probe = fmt.Sprintf("status: %s leads term %d, after %s in term %d", now.node, now.status.Term, old.node, old.status.Term)
				return true
			}
			fault.Probe = fmt.Sprintf("status: no new leader after %s in term %d", old.node, old.status.Term)
			return err != nil
		})
		if fault.Held {
			return fault, nil
		}
		if err != nil {
			fault.Probe += ": " + err.Error()
			c.Sleep(electionBound) // a leader that is still busy with another heir gives up after an election time-out of its own clock
		}
		if err == nil || stands(ctx, c, old) {
			stood++
		}
	}
	return settle(ctx, c, fault, old, heir)
}

// settle judges a transfer that did not come about: with the leader out of touch or gone it could not.
func settle(ctx context.Context, c cluster.Cluster, fault history.Fault, old sight, heir string) (history.Fault, error) {
	sights := look(ctx, c, c.Nodes())
	leader, ok := leaderOf(sights)
	if !ok {
		return fault, nothing("the leader %s was lost meanwhile: %s", old.node, told(sights))
	}
	if changed(old, leader) && leader.node != heir {
		return fault, nothing("%s was elected after %s meanwhile, and not %s", leader.node, old.node, heir)
	}
	if changed(old, leader) {
		fault.Held = true
		fault.Probe = fmt.Sprintf("status: %s leads term %d, after %s in term %d", leader.node, leader.status.Term, old.node, old.status.Term)
		return fault, nil
	}
	if leader.status.Term > old.status.Term {
		return fault, nothing("the leader %s was deposed meanwhile, and leads again: term %d after %d", old.node, leader.status.Term, old.status.Term)
	}
	if !inTouch(ctx, c, sights, leader) {
		return fault, nothing("the leader %s is out of touch with a majority", leader.node)
	}
	return fault, nil
}

// stands tells whether this leader leads as it did, and a majority with it.
func stands(ctx context.Context, c cluster.Cluster, old sight) bool {
	sights := look(ctx, c, c.Nodes())
	leader, ok := leaderOf(sights)
	return ok && leader.node == old.node && leader.status.Term == old.status.Term && inTouch(ctx, c, sights, leader)
}

func inTouch(ctx context.Context, c cluster.Cluster, sights []sight, leader sight) bool {
	return 2*(len(heirsOf(ctx, c, sights, leader))+1) > len(voting(c, sights))
}

func changed(old, now sight) bool {
	return now.node != old.node && now.status.Term > old.status.Term
}

// heirsOf are the followers of the leader's term that answer and, where the cluster can tell, whose links with it carry.
func heirsOf(ctx context.Context, c cluster.Cluster, sights []sight, leader sight) []string {
	var dead []cluster.Link
	if cutter, able := c.(cluster.Cutter); able {
		if links, err := cutter.Reach(ctx); err == nil {
			dead = links
		}
	}
	return those(sights, func(s sight) bool {
		apart := false
		for _, l := range dead {
			apart = apart || l.From == s.node && l.To == leader.node || l.From == leader.node && l.To == s.node
		}
		return s.up && !apart && s.node != leader.node && s.status.Role == "follower" && s.status.Term == leader.status.Term
	})
}

func mendTransfer(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	fault := history.Fault{What: "nothing to mend: whoever leads may go on", Mended: true, Held: true, Probe: "status: nobody leads at present"}
	if leader, ok := leaderOf(look(ctx, c, c.Nodes())); ok {
		fault.Probe = fmt.Sprintf("status: %s leads term %d", leader.node, leader.status.Term)
	}
	return fault, nil
}
