package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

type comparison struct {
	time    time.Duration
	rounds  int
	to      string
	binary  string
	profile string
	dir     string
}

// rows of the table.
var rows = []struct {
	operation   string
	connections int
}{{put, 1}, {put, 50}, {get, 1}, {get, 50}}

// compare runs both clusters at once and measures them in turn, so that whatever else the machine does meets both.
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
	theirs, err := startEtcd(c.dir)
	if err != nil {
		return err
	}
	defer theirs.stop()
	ours, err := startAssize(ctx, c.binary, c.dir, c.profile)
	if err != nil {
		return err
	}
	defer ours.stop()
	both := []*servers{ours, theirs}
	for _, s := range both {
		if err := s.ready(ctx); err != nil {
			s.stop()
			return fmt.Errorf("%w\n%s", err, s.last())
		}
	}
	table := make([][][]result, len(rows)) // by row, system, round
	for round := range c.rounds {
		for i, row := range rows {
			if table[i] == nil {
				table[i] = make([][]result, len(both))
			}
			for j := range both {
				j = (j + round) % len(both)
				l := load{both[j].endpoints, row.operation, row.connections, c.time, c.to}
				r, err := l.run(ctx)
				if err != nil {
					return fmt.Errorf("%s: %w", both[j].name, err)
				}
				table[i][j] = append(table[i][j], r)
			}
		}
	}
	fmt.Fprintf(w, "%d nodes each, fsync on, values of %d bytes, connections to %s; median of %d rounds of %v\n",
		replicas, valueSize, c.to, c.rounds, c.time)
	return printTable(w, table)
}

// printTable writes one line a row: rate, median and 99 % of latency of both, and the ratio of the rates.
func printTable(w io.Writer, table [][][]result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tconnections\tassize /s\tp50 ms\tp99 ms\tetcd /s\tp50 ms\tp99 ms\tratio\t")
	atLeast := 0
	for i, row := range rows {
		ours, theirs := middle(table[i][0]), middle(table[i][1])
		ratio := ours.rate / theirs.rate
		if ratio >= 1 {
			atLeast++
		}
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t\n", row.operation, row.connections,
			ours.rate, milliseconds(ours.median), milliseconds(ours.tail), theirs.rate, milliseconds(theirs.median), milliseconds(theirs.tail), ratio)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "assize answers at least as many as etcd in %d of %d rows\n", atLeast, len(rows))
	return err
}

// middle is the round with the median rate.
func middle(rounds []result) result {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b result) int { return cmp.Compare(a.rate, b.rate) })
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
