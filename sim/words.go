package sim

import (
	"fmt"

	"assize/machine"
)

// words of n's protocol for a term, an entry and a revision.
func words(n *node) (term, entry, revision string) {
	if spoken, is := n.inspector.(machine.Spoken); is {
		return spoken.Words()
	}
	return "term", "entry", "revision"
}

// term in the protocol's own word: "term 3", "epoch 3".
func (c *court) term(n *node, term uint64) string {
	word, _, _ := words(n)
	return fmt.Sprintf("%s %d", word, term)
}

// asked names an entry that nobody may have: by its index, or else by its revision.
func (c *court) asked(s *Sim, n *node, e machine.Entry) string {
	if e.Index > 0 {
		return c.entryOf(s, n, e.Index, e.Term)
	}
	_, _, word := words(n)
	return fmt.Sprintf("%s %#x", word, e.Revision)
}

// entry of n's log by the name that the protocol has for it: "entry 7", "zxid 0x200000007". What n does not hold is what has been applied there.
func (c *court) entry(s *Sim, n *node, index uint64) string {
	if spoken, is := n.inspector.(machine.Spoken); is {
		if name := spoken.Name(index); name != "" {
			return name
		}
	}
	return c.applies(s, n, index)
}

// applies names the entry that was applied at index, whatever n's log holds there.
func (c *court) applies(s *Sim, n *node, index uint64) string {
	if index < uint64(len(c.applied)) && c.applied[index].revision > 0 {
		if _, is := n.inspector.(machine.Spoken); is {
			_, _, word := words(n)
			return fmt.Sprintf("%s %#x", word, c.applied[index].revision)
		}
	}
	for _, other := range s.nodes {
		if o, is := other.inspector.(machine.Spoken); is && index < uint64(len(c.applied)) && c.has(other, index) && o.Name(index) != "" {
			return o.Name(index)
		}
	}
	_, word, _ := words(n)
	return fmt.Sprintf("%s %d", word, index)
}

// entryOf says the term, too, where the name does not.
func (c *court) entryOf(s *Sim, n *node, index, term uint64) string {
	if spoken, is := n.inspector.(machine.Spoken); is && spoken.Name(index) != "" {
		return spoken.Name(index)
	}
	return c.entry(s, n, index) + " of " + c.term(n, term)
}
