package cluster

import "errors"

// Observers are the nodes of c that have no vote.
func Observers(c Cluster) []string {
	if o, is := c.(Observed); is {
		return o.Observers()
	}
	return nil
}

// Lack tells why c does not have a power, nil where it has it: what its type lacks, or what its machine does.
func Lack(c Cluster, power Power) error {
	able, words := false, ""
	switch power {
	case Pause:
		_, able = c.(Pauser)
		words = "this cluster cannot pause a node"
	case Freeze:
		_, able = c.(Freezer)
		words = "this cluster cannot freeze a node's machine"
	case Crash:
		_, able = c.(Crasher)
		words = "this cluster cannot crash a node's machine"
	case Cut:
		_, able = c.(Cutter)
		words = "this cluster cannot cut links"
	case Shapes, Duplicate:
		_, able = c.(Shaper)
		words = "this cluster cannot shape links"
	case Skews:
		_, able = c.(Skewer)
		words = "this cluster cannot falsify clocks"
	case Transfers:
		_, able = c.(Transferer)
		words = "this cluster cannot hand over leadership"
	case Membership:
		_, able = c.(Members)
		words = "this cluster cannot change its members"
	default:
		words = "there is no such power"
	}
	if !able {
		return errors.New(words)
	}
	if l, is := c.(Limited); is {
		return l.Lack(power)
	}
	return nil
}
