package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"assize/checkers"
	"assize/nemesis"
	"assize/report"
	"assize/targets"
	"assize/workloads"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "print the targets with their read modes and flaws, the clusters, the workloads, the nemeses, the checkers and the claims",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("list takes no arguments, got %q", c.Args().First())
			}
			list(c.App.Writer)
			return nil
		},
	}
}

func list(w io.Writer) {
	fmt.Fprintln(w, "TARGETS")
	for _, t := range targets.Table {
		row(w, t.Name, t.Doc)
		fmt.Fprintf(w, "    read modes: %s\n", strings.Join(t.Modes, ", "))
		if len(t.Synced) > 0 {
			fmt.Fprintf(w, "    in which each read is {sync, read}: %s\n", strings.Join(t.Synced, ", "))
		}
		fmt.Fprintf(w, "    workloads: %s\n    flaws:\n", strings.Join(t.Workloads, ", "))
		for _, f := range t.Flaws {
			fmt.Fprintf(w, "      %-26s %s\n", f.Name, f.Doc)
		}
	}
	fmt.Fprintln(w, "\nCLUSTERS")
	for _, k := range kinds {
		row(w, k.name, k.doc)
	}
	fmt.Fprintln(w, "\nWORKLOADS")
	for _, l := range workloads.Table {
		row(w, l.Name, l.Doc)
		fmt.Fprintf(w, "  %-14s judged by %s\n", "", strings.Join(l.Checkers, ", "))
	}
	fmt.Fprintln(w, "\nNEMESES")
	for _, n := range nemesis.Table {
		row(w, n.Name, n.Doc)
	}
	fmt.Fprintln(w, "\nCHECKERS")
	for _, k := range checkers.Table {
		row(w, k.Name, k.Question)
	}
	fmt.Fprintln(w, "\nCLAIMS, for --expect")
	for _, c := range report.Claims {
		fmt.Fprintf(w, "  %-3s %-14s %s\n", c.ID, c.Judgement, c.Doc)
	}
}

func row(w io.Writer, name, doc string) {
	fmt.Fprintf(w, "  %-14s %s\n", name, strings.Join(strings.Fields(doc), " "))
}
