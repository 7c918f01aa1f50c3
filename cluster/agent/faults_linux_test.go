package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// pretender is a filter that fails as it is told. It has cut one more packet at each count since the last set that came into force.
type pretender struct {
	err error
	cut uint64
}

func (p *pretender) Apply(packets.Set) error {
	if inForce(p.err) {
		p.cut = 0
	}
	return p.err
}

func (p *pretender) Counts() ([]packets.Count, error) {
	p.cut++
	return []packets.Count{{Cut: p.cut}}, nil
}

func (p *pretender) Close() error { return p.err }

// The set that is believed to be in force is the one that is, or a start would bring back another.
func TestSetInForceIsKnown(t *testing.T) {
	peer := []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2")}}
	in, out := packets.Set{From: peer}, packets.Set{To: peer}
	refused, uncleared := errors.New("refused"), fmt.Errorf("%w: a queue", packets.ErrUncleared)
	p := &pretender{}
	f := &faults{filter: p}
	for _, step := range []struct {
		name  string
		do    func() error
		err   error
		want  packets.Set
		count uint64
	}{
		{"apply", func() error { return f.filterPackets(in) }, nil, in, 1},
		{"refuse another", func() error { return f.filterPackets(out) }, refused, in, 2},
		{"apply another, with something left", func() error { return f.filterPackets(out) }, uncleared, out, 1},
		{"refuse to renew it", f.renew, refused, out, 3},                  // the renewal counts, too
		{"renew it, with something left", f.renew, uncleared, out, 1 + 4}, // four before it
		{"refuse to heal", f.heal, refused, out, 2 + 4},
		{"heal, with something left", f.heal, uncleared, packets.Set{}, 3}, // the pretender's own
		{"heal what is left", f.heal, nil, packets.Set{}, 0},
		{"heal where nothing is to be healed", f.heal, nil, packets.Set{}, 0},
	} {
		p.err = step.err
		if err := step.do(); !errors.Is(err, step.err) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.err)
		}
		if !reflect.DeepEqual(f.set, step.want) {
			t.Errorf("%s: %+v is believed to be in force, want %+v", step.name, f.set, step.want)
		}
		counts, err := f.counts()
		must(t, err)
		var got uint64
		for _, c := range counts {
			got += c.Cut
		}
		if got != step.count {
			t.Errorf("%s: %d packets counted, want %d", step.name, got, step.count)
		}
	}
	if f.filter != nil {
		t.Error("the filter is still there")
	}
}

// lateClock is set each time so late that it may have stepped back.
type lateClock struct{}

func (lateClock) Set(cluster.Skew) error { return fmt.Errorf("set: %w", cluster.ErrStepped) }
func (lateClock) Close() error           { return nil }

// TestClockThatMayHaveSteppedBackIsSet: the next life inherits it, and mending it is a mending.
func TestClockThatMayHaveSteppedBackIsSet(t *testing.T) {
	f := &faults{powers: powers{
		attach:  func(int) (clock, error) { return lateClock{}, nil },
		rebased: func(s cluster.Skew, _ time.Duration) cluster.Skew { return s },
	}}
	now := time.Now()
	slow := cluster.Skew{MonoRate: -0.5}
	if err := f.skewClocks(slow, 1, now); !errors.Is(err, cluster.ErrStepped) || f.skew != slow {
		t.Errorf("error %v, in force %+v", err, f.skew)
	}
	if err := f.inherit(2, now); err != nil {
		t.Errorf("the next life: %v", err)
	}
	if err := f.heal(); err != nil || f.skew != (cluster.Skew{}) {
		t.Errorf("healed: %v, in force %+v", err, f.skew)
	}
}
