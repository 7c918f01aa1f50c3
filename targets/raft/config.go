package raft

import (
	"errors"
	"slices"

	"assize/machine"
)

// member of the cluster.
type member struct {
	id      int
	rank    rank
	address []byte // as it was given by who asked for the change; nobody here reads it
}

type rank byte

const (
	voting    rank = iota
	joining        // a learner that is promoted when it has caught up (dissertation 4.2.1)
	observing      // a learner for good
)

// config is a membership, never changed once made.
type config struct {
	members []member // by id
	gone    []int    // ids of removed servers, ascending: they are never used again
	voters  []int    // of members
}

// placed is a config and the index of its entry.
type placed struct {
	index  uint64
	config config
}

func newConfig(voters, observers []int) config {
	var c config
	for _, id := range voters {
		c.set(member{id: id})
	}
	for _, id := range observers {
		c.set(member{id: id, rank: observing})
	}
	return c
}

func (c *config) find(id int) (int, bool) {
	return slices.BinarySearchFunc(c.members, id, func(m member, id int) int { return m.id - id })
}

func (c *config) member(id int) (member, bool) {
	if i, ok := c.find(id); ok {
		return c.members[i], true
	}
	return member{}, false
}

func (c *config) voter(id int) bool {
	for _, v := range c.voters {
		if v == id {
			return true
		}
	}
	return false
}

// set adds or changes a member of a config that nobody shares yet.
func (c *config) set(m member) {
	if i, ok := c.find(m.id); ok {
		c.members[i] = m
	} else {
		c.members = slices.Insert(c.members, i, m)
	}
	c.count()
}

func (c *config) count() {
	c.voters = nil
	for _, m := range c.members {
		if m.rank == voting {
			c.voters = append(c.voters, m.id)
		}
	}
}

// with returns a config with m added or changed.
func (c *config) with(m member) config {
	n := config{members: slices.Clone(c.members), gone: c.gone}
	n.set(m)
	return n
}

// without returns a config without the member id.
func (c *config) without(id int) config {
	n := config{members: slices.Clone(c.members), gone: slices.Clone(c.gone)}
	if i, ok := n.find(id); ok {
		n.members = slices.Delete(n.members, i, i+1)
	}
	if i, ok := slices.BinarySearch(n.gone, id); !ok {
		n.gone = slices.Insert(n.gone, i, id)
	}
	n.count()
	return n
}

func (c *config) removed(id int) bool {
	_, ok := slices.BinarySearch(c.gone, id)
	return ok
}

func (c *config) encode(e *machine.Encoder) {
	e.Uint(uint64(len(c.members)))
	for _, m := range c.members {
		e.Uint(uint64(m.id))
		e.Byte(byte(m.rank))
		e.Bytes(m.address)
	}
	e.Uint(uint64(len(c.gone)))
	for _, id := range c.gone {
		e.Uint(uint64(id))
	}
}

func (c *config) data() []byte {
	e := machine.Encoder{B: []byte{kindConfig}}
	c.encode(&e)
	return e.B
}

const maxID = 1 << 31

var errConfig = errors.New("a configuration that no server has made")

func decodeConfig(d *machine.Decoder) (config, error) {
	var c config
	last := 0
	for range d.Count(3) {
		m := member{id: int(d.Uint()), rank: rank(d.Byte()), address: d.Bytes()}
		if m.id <= last || m.id > maxID || m.rank > observing {
			return c, errConfig
		}
		last = m.id
		c.members = append(c.members, m)
	}
	last = 0
	for range d.Count(1) {
		id := int(d.Uint())
		if id <= last || id > maxID {
			return c, errConfig
		}
		last = id
		c.gone = append(c.gone, id)
	}
	c.count()
	return c, d.Err()
}

// configOf decodes the data of an entry of kindConfig.
func configOf(data []byte) (config, error) {
	d := machine.NewDecoder(data[1:])
	c, err := decodeConfig(d)
	if err == nil {
		err = d.Done()
	}
	return c, err
}

// adopt uses the configuration of an entry from the moment it is in the log (section 6: "A server always uses the latest configuration in its
// log, regardless of whether the entry is committed").
func (r *Raft) adopt(index uint64, data []byte) {
	c, err := configOf(data)
	if err != nil {
		panic("raft: a log entry holds " + err.Error())
	}
	r.configs = append(r.configs, placed{index, c})
	r.reconfigure()
}

// reconfigure after the list of configurations has changed.
func (r *Raft) reconfigure() {
	r.config = r.configs[len(r.configs)-1].config
	if r.role == leader {
		r.assemble()
	}
}

// forsake the configurations from index on, which have been truncated: the one before is in force again.
func (r *Raft) forsake(index uint64) {
	n := len(r.configs)
	for n > 1 && r.configs[n-1].index >= index {
		n--
	}
	if n < len(r.configs) {
		r.configs = r.configs[:n]
		r.reconfigure()
	}
}

// configAt is the configuration in force at index.
func (r *Raft) configAt(index uint64) config {
	n := len(r.configs) - 1
	for n > 0 && r.configs[n].index > index {
		n--
	}
	return r.configs[n].config
}
