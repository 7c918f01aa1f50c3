package machine

import "slices"

// Flaw is a planted mistake, which Options.Flaw can name and the framework must catch, and what exposes it best.
type Flaw struct {
	Name, Doc string
	Nemesis   []string
	Read      string
	Workload  string
}

// FlawNames of a list.
func FlawNames(list []Flaw) []string {
	names := make([]string, 0, len(list))
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names
}

// HasFlaw tells whether a list has the flaw of that name. The empty name is none, and in every list.
func HasFlaw(list []Flaw, name string) bool {
	return name == "" || slices.ContainsFunc(list, func(f Flaw) bool { return f.Name == name })
}
