package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

type comparison struct {
	contests []contest
	time     time.Duration
	rounds   int
	to       string
	binary   string
	profile  string
	dir      string
}

// contest is what is compared: systems of one protocol, each of which starts within the comparison.
type contest struct {
	name, doc string
	systems   []func(comparison) (*servers, error)
	base      int // the system that the others are told by
	rows      []row
}

type row struct {
	operation   string
	connections int
}

var contests = []contest{
	{
		"etcd", "our Raft beside the etcd that is installed", []func(comparison) (*servers, error){
			func(c comparison) (*servers, error) { return startAssize(c, "assize", "raft", etcd, replicas, 0) },
			func(c comparison) (*servers, error) { return startEtcd(c.dir) },
		}, 1, []row{{put, 1}, {put, 50}, {get, 1}, {get, 50}},
	},
	{
		"zookeeper", "our ZAB beside the ZooKeeper that is installed", []func(comparison) (*servers, error){
			func(c comparison) (*servers, error) {
				return startAssize(c, "assize", "zab", zookeeper, replicas, 0, patient...)
			},
			func(c comparison) (*servers, error) { return startZooKeeper(c.dir) },
		}, 1, []row{{set, 1}, {set, 50}, {create, 1}, {create, 50}, {getData, 1}, {getData, 50}},
	},
	{
		"observers", "what observers, and what further voters, cost writes of our ZAB", []func(comparison) (*servers, error){
			func(c comparison) (*servers, error) {
				return startAssize(c, "3 voters", "zab", zookeeper, 3, 0, patient...)
			},
			func(c comparison) (*servers, error) {
				return startAssize(c, "3 and 2 observers", "zab", zookeeper, 3, 2, patient...)
			},
			func(c comparison) (*servers, error) {
				return startAssize(c, "5 voters", "zab", zookeeper, 5, 0, patient...)
			},
		}, 0, []row{{set, 1}, {set, 50}},
	},
}

// compare runs one contest after the other.
func compare(ctx context.Context, w io.Writer, c comparison) (err error) {
	if c.rounds < 1 {
		return errors.New("want one round or more")
	}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "load-"); err != nil {
			return err
		}
		defer os.RemoveAll(c.dir)
	}
	if c.binary == "" {
		if c.binary, err = build(ctx, c.dir); err != nil {
			return err
		}
	}
	dir := c.dir
	for _, k := range c.contests {
		// A node of one contest must not find what one of another has left.
		c.dir = filepath.Join(dir, k.name)
		if err := os.MkdirAll(c.dir, 0o777); err != nil {
			return err
		}
		if err := k.run(ctx, w, c); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

// run all systems at once and measure them in turn, so that whatever else the machine does meets all.
func (k contest) run(ctx context.Context, w io.Writer, c comparison) error {
	var all []*servers
	for _, start := range k.systems {
		s, err := start(c)
		if err != nil {
			return err
		}
		defer s.stop()
		all = append(all, s)
	}
	for _, s := range all {
		if err := s.ready(ctx); err != nil {
			s.stop()
			return fmt.Errorf("%w\n%s", err, s.last())
		}
	}
	table := make([][][]result, len(k.rows)) // by row, system, round
	for i := range table {
		table[i] = make([][]result, len(all))
	}
	for round := range c.rounds + 1 {
		for i, row := range k.rows {
			for j := range all {
				j = (j + round) % len(all)
				l := load{all[j].protocol, all[j].endpoints, row.operation, row.connections, c.time, c.to}
				r, err := l.run(ctx)
				if err != nil {
					all[j].stop()
					return fmt.Errorf("%w\n%s", err, all[j].last())
				}
				if round > 0 { // the first one warms up: a Java machine compiles what it finds itself doing
					table[i][j] = append(table[i][j], r)
				}
			}
		}
	}
	fmt.Fprintf(w, "%s: %d nodes or more each, fsync on, values of %d bytes, connections to %s; median of %d rounds of %v\n",
		k.doc, replicas, valueSize, c.to, c.rounds, c.time)
	return k.print(w, all, table)
}

// print one line a row: rate, median and 99 % of latency of each system, and the ratios of the rates to the base's; and then memory.
func (k contest) print(w io.Writer, all []*servers, table [][][]result) error {
	base := all[k.base]
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "operation\tconnections\t")
	for _, s := range all {
		fmt.Fprintf(t, "%s /s\tp50 ms\tp99 ms\t", s.name)
	}
	for _, s := range all {
		if s != base {
			fmt.Fprintf(t, "%s : %s\t", s.name, base.name)
		}
	}
	fmt.Fprintln(t)
	atLeast := make([]int, len(all))
	for i, row := range k.rows {
		fmt.Fprintf(t, "%s\t%d\t", row.operation, row.connections)
		for j := range all {
			m := middle(table[i][j])
			fmt.Fprintf(t, "%.0f\t%.2f\t%.2f\t", m.rate, milliseconds(m.median), milliseconds(m.tail))
		}
		for j, s := range all {
			if s == base {
				continue
			}
			r := ratio(table[i][j], table[i][k.base])
			if r >= 1 {
				atLeast[j]++
			}
			fmt.Fprintf(t, "%.2f\t", r)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for j, s := range all {
		if s != base {
			fmt.Fprintf(w, "%s answers at least as many as %s in %d of %d rows\n", s.name, base.name, atLeast[j], len(k.rows))
		}
	}
	for _, s := range all {
		own, theirs := s.memory(), base.memory()
		fmt.Fprintf(w, "%s: %d MB resident, %.2f of %s\n", s.name, own>>20, float64(own)/float64(max(theirs, 1)), base.name)
	}
	return nil
}

// middle is the round with the median rate.
func middle(rounds []result) result {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b result) int { return cmp.Compare(a.rate, b.rate) })
	return sorted[len(sorted)/2]
}

// ratio of the rates of two systems: the median of the rounds' own, in each of which both met the same machine.
func ratio(ours, theirs []result) float64 {
	var all []float64
	for i := range ours {
		all = append(all, ours[i].rate/theirs[i].rate)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
