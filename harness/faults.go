package harness

import (
	"errors"
	"fmt"
	"slices"

	"assize/cluster"
	"assize/history"
	"assize/nemesis"
)

// nemeses makes one loop for each nemesis that the plan's faults name: faults of one nemesis come one after the other, those of several overlap.
func (r *run) nemeses() (loops []func(), err error) {
	faults := map[string][]Fault{}
	for _, f := range r.Plan.Faults {
		faults[f.Name] = append(faults[f.Name], f)
	}
	for _, n := range r.Nemeses {
		if err := n.Can(r.Cluster); err != nil {
			return nil, fmt.Errorf("nemesis %s: %w", n.Name, err)
		}
		own := faults[n.Name]
		delete(faults, n.Name)
		slices.SortStableFunc(own, func(a, b Fault) int { return int(a.At - b.At) })
		loops = append(loops, func() { r.torment(n, own) })
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("the plan has faults of %d nemeses that were not given", len(faults))
	}
	return loops, nil
}

// torment breaks and mends by the plan. What is broken when the storm ends stays broken.
func (r *run) torment(n nemesis.Nemesis, faults []Fault) {
	for _, f := range faults {
		if !r.pause(r.began + f.At) {
			return
		}
		if !r.broken(n, f) {
			continue
		}
		if !r.pause(r.Cluster.Now() + f.For) {
			return
		}
		r.mended(n)
	}
}

// broken carries out one planned fault and records it. An attempt that failed is recorded as a fault that did not take hold: a run that was
// to stand it has not stood it. Where there was nothing to do (false) the history says so in words, and there is no fault.
func (r *run) broken(n nemesis.Nemesis, f Fault) bool {
	asked := r.Cluster.Now()
	fault, err := n.Break(r.last, r.Cluster, Stream(f.Draw, n.Name))
	switch {
	case errors.Is(err, nemesis.ErrNothing):
		r.Recorder.Record(history.Op{Process: history.Nemesis, Kind: history.Info, Note: fmt.Sprintf("F%d %s: %v", f.ID, n.Name, err)})
		// What it did before another fault overtook it must not outlast it.
		r.mended(n)
		return false
	case err != nil:
		fault.Held, fault.Probe = false, "failed: "+err.Error()
	}
	fault.ID, fault.Name, fault.Mended = f.ID, n.Name, false
	r.mu.Lock()
	r.active = append(slices.Clone(r.active), fault)
	r.mu.Unlock()
	r.Recorder.Record(history.Op{
		Process: history.Nemesis, Kind: history.Info, Fault: &fault, Note: fmt.Sprintf("asked at %.3f s", asked.Seconds()),
	})
	r.chart(fmt.Sprintf("with F%d %s", f.ID, n.Name))
	return true
}

// chart records what is cut from what. It is an event of its own, after the fault's, since recovery is measured from there.
func (r *run) chart(when string) {
	if links := nemesis.Links(r.last, r.Cluster); links != "" {
		r.Recorder.Record(history.Op{Process: history.Nemesis, Kind: history.Info, Note: when + ": " + links})
	}
}

func (r *run) storming() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == history.PhaseStorm
}

// mended undoes what a nemesis has done and records it as the end of each of its faults.
func (r *run) mended(n nemesis.Nemesis) {
	asked := r.Cluster.Now()
	undone, err := n.Mend(r.last, r.Cluster)
	if errors.Is(err, nemesis.ErrNothing) && r.storming() {
		return // not possible while other faults last; the faults stay open until the end of the storm mends everything
	}
	if err != nil {
		undone.Held, undone.Probe = false, "failed: "+err.Error()
	}
	r.mu.Lock()
	own := slices.DeleteFunc(slices.Clone(r.active), func(f history.Fault) bool { return f.Name != n.Name })
	r.active = slices.DeleteFunc(slices.Clone(r.active), func(f history.Fault) bool { return f.Name == n.Name })
	r.mu.Unlock()
	for _, f := range own {
		end := undone
		end.ID, end.Name, end.Mended = f.ID, n.Name, true
		if end.Nodes == nil {
			end.Nodes = f.Nodes
		}
		r.Recorder.Record(history.Op{
			Process: history.Nemesis, Kind: history.Info, Fault: &end, Note: fmt.Sprintf("asked at %.3f s", asked.Seconds()),
		})
	}
	if len(own) > 0 && r.storming() { // at the end of the storm all are charted together
		r.chart("after " + n.Name)
	}
}

// mend everything: first all that a cluster can have broken at all, since for the quorum's sake nodes were taken down and links cut that no
// nemesis knows of, and since members can be changed only by a cluster that answers; then each nemesis its own. What cannot be mended is on
// record: the node has no last words.
func (r *run) mend() {
	r.enter(history.PhaseMend, "")
	var errs []error
	if cluster.Lack(r.Cluster, cluster.Cut) == nil {
		errs = append(errs, r.Cluster.(cluster.Cutter).Cut(r.last, nil))
	}
	if cluster.Lack(r.Cluster, cluster.Shapes) == nil {
		errs = append(errs, r.Cluster.(cluster.Shaper).Shape(r.last, nil, cluster.Shape{}))
	}
	for _, node := range r.Cluster.Nodes() {
		if cluster.Lack(r.Cluster, cluster.Pause) == nil {
			errs = append(errs, r.Cluster.(cluster.Pauser).Resume(r.last, node))
		}
		errs = append(errs, r.Cluster.Start(r.last, node))
		// With clocks that stand nearly still nobody would be elected to change the members.
		if cluster.Lack(r.Cluster, cluster.Skews) == nil {
			errs = append(errs, r.Cluster.(cluster.Skewer).Skew(r.last, node, cluster.Skew{}))
		}
	}
	for _, err := range errs {
		if err != nil {
			r.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info, Note: "mend everything: " + err.Error()})
		}
	}
	for _, n := range r.Nemeses {
		r.mended(n)
	}
	r.whole()
}

// whole sees that everything has been mended, also what no nemesis knows of, and has it on record. What has not makes the run inconclusive, as a fault
// does that was not seen mended: the last words are not to be asked of a cluster that is still broken.
func (r *run) whole() {
	whole, words, err := nemesis.Whole(r.last, r.Cluster, r.stood)
	if err != nil {
		whole, words = false, "failed: "+err.Error()
	}
	if words == "" {
		return
	}
	if !whole {
		r.unmended("mend", "mend everything", words)
		return
	}
	r.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info, Note: "all is mended: " + words})
}

// unmended has on record that what no single nemesis mends was not seen mended, or, for a lapse, that nobody had to mend it any more.
func (r *run) unmended(name, what, probe string) {
	r.Recorder.Record(history.Op{
		Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{Name: name, What: what, Mended: true, Probe: probe},
	})
}
