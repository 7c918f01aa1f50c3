package packets

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"assize/cluster"
)

// kernel is what can be done here; an error says why not.
type kernel struct {
	drop, loss, priority error  // by nftables
	queue                queuer // nil: packets cannot be handed to this process
	compat               bool   // the queuer is iptables' target
	relay                error  // all that a relay needs
	tbf, htb, netem      error  // queueing disciplines
	counted              func() ([]netlink.Qdisc, error)
}

// way is how a shape comes about.
type way struct {
	class, netem, relay bool // class: it has a class of its own at the interface; otherwise a rate is the interface's
}

func (k *kernel) classes() error { return errors.Join(k.htb, k.priority) }

// netems says why there is none for each peer.
func (k *kernel) netems() error { return errors.Join(k.netem, k.classes()) }

// delay says why packets cannot be delayed, nil if they can.
func (k *kernel) delay() error {
	if k.netems() == nil {
		return nil
	}
	return k.relay
}

// way of a shape. netem tells nobody how many packets it has duplicated, and what cannot be counted cannot be shown to have happened: whatever
// shape duplicates is the relay's, with its delay.
func (k *kernel) way(s cluster.Shape) way {
	late := s.Delay > 0 || s.Jitter > 0
	netem := late && s.Duplicated == 0 && k.netems() == nil
	return way{
		class: k.classes() == nil && (s.Rate > 0 || netem),
		netem: netem,
		relay: (late || s.Duplicated > 0) && !netem,
	}
}

// can says why this Set cannot be applied here.
func (k *kernel) can(s Set) error {
	for _, shaped := range s.Shaped {
		var err error
		switch w := k.way(shaped.Shape); {
		case w.relay && k.relay != nil:
			err = fmt.Errorf("delay or duplicates: %w", k.relay)
		case shaped.Shape.Loss > 0 && k.loss != nil:
			err = fmt.Errorf("loss: %w", k.loss)
		case shaped.Shape.Rate > 0 && k.tbf != nil:
			err = fmt.Errorf("rate: %w", k.tbf)
		}
		if err != nil {
			return fmt.Errorf("shape %v: %w", shaped.To.Address, err)
		}
	}
	return nil
}

// Probe tries what this kernel lets this process do. It leaves nothing behind.
func Probe() Abilities { return probe().abilities() }

func (k *kernel) abilities() Abilities {
	say := func(err error) string {
		if err == nil {
			return ""
		}
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	a := Abilities{Drop: say(k.drop), Loss: say(k.loss), Rate: say(k.tbf), Delay: say(k.delay()), Duplicate: say(k.relay)}
	var means []string
	if k.drop == nil {
		means = append(means, "drop by nftables")
	}
	if k.drop == nil && k.queue == nil {
		means = append(means, "senders notice what is dropped, since this kernel has no NFQUEUE")
	}
	relay := "a relay over NFQUEUE"
	if k.compat {
		relay += " (iptables' target)"
	}
	if k.netems() == nil {
		means = append(means, "delay by netem")
		if k.relay == nil {
			means = append(means, "duplicates by "+relay+", since netem does not count them")
		}
	} else if k.relay == nil {
		means = append(means, fmt.Sprintf("delay by %s, since there is no netem: %s", relay, say(k.netems())))
	}
	switch {
	case k.tbf != nil:
	case k.classes() == nil:
		means = append(means, "rate by tbf, under htb for each peer")
	default:
		means = append(means, "rate by tbf for all that is sent, at the lowest rate of all peers, since there are no classes: "+say(k.classes()))
	}
	if a.Means = strings.Join(means, "; "); a.Means == "" {
		a.Means = "none"
	}
	return a
}

func probe() *kernel {
	k := &kernel{
		drop:     try(&expr.Verdict{Kind: expr.VerdictDrop}),
		loss:     try(chance(0.5)...),
		priority: try(prioritize(1)...),
		tbf:      discipline("tbf"),
		htb:      discipline("htb"),
		netem:    discipline("netem"),
		counted:  func() ([]netlink.Qdisc, error) { return queues(0) },
	}
	native := try(queueNative(0, true))
	compat := native
	if native == nil {
		k.queue = queueNative
	} else if compat = try(queueCompat(0, true)); compat == nil {
		k.queue, k.compat = queueCompat, true
	}
	switch {
	case k.queue == nil && k.drop != nil:
		k.relay = k.drop
	case k.queue == nil:
		k.relay = fmt.Errorf("nftables' queue: %w, iptables' NFQUEUE: %w", native, compat)
	default:
		k.relay = tryRelay()
	}
	return k
}

// probeTable is this process's own: another one may try at the same time.
func probeTable() string { return fmt.Sprintf("assize_probe_%d", os.Getpid()) }

// try makes a rule where no packet passes and removes it again, in one transaction.
func try(e ...expr.Any) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	t := inet(probeTable())
	conn.AddTable(t)
	c := conn.AddChain(&nftables.Chain{Name: "nowhere", Table: t})
	conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: e})
	conn.DelTable(t)
	return conn.Flush()
}

// discipline asks for a queueing discipline without options, which those that are there refuse with EINVAL before anything is changed.
func discipline(kind string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	q := &netlink.GenericQdisc{QdiscType: kind, QdiscAttrs: netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_ROOT}}
	switch err := netlink.QdiscAdd(q); {
	case errors.Is(err, unix.EINVAL):
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("this kernel has no %s", kind)
	case err == nil: // it is not one that needs options, so it is none that is meant
		return errors.Join(fmt.Errorf("%s is not what it should be", kind), netlink.QdiscDel(q))
	default:
		return fmt.Errorf("%s: %w", kind, err)
	}
}
