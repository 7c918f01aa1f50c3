package machine

import "fmt"

// Bits of an Operation's first byte, above its Op.
const (
	bitKeysOnly = 1 << (iota + 2)
	bitCount
	bitPrevious
	bitKeep
	bitExists
	bitRange // Revision and Limit follow
	maskOp   = 3
)

// Encode is the body of a Request. Fields that the command's kind does not use are left out.
func (c Command) Encode() []byte {
	e := Encoder{B: make([]byte, 0, c.size())}
	e.Byte(byte(c.Kind))
	e.Bool(c.Local)
	if c.Kind == CommandTxn {
		e.Uint(uint64(len(c.Compare)))
		for i := range c.Compare {
			e.compare(&c.Compare[i])
		}
		e.operations(c.Then)
		e.operations(c.Else)
		return e.B
	}
	e.Bytes(c.Key)
	e.Bytes(c.End)
	e.Int(c.Revision)
	e.Int(c.Limit)
	e.Int(int64(c.Node))
	e.Bytes(c.Address)
	return e.B
}

// size is an upper bound for most commands, so that Encode allocates once.
func (c *Command) size() int {
	n := 16 + len(c.Key) + len(c.End) + len(c.Address)
	for i := range c.Compare {
		n += 24 + len(c.Compare[i].Key) + len(c.Compare[i].End) + len(c.Compare[i].Value)
	}
	for _, list := range [2][]Operation{c.Then, c.Else} {
		for i := range list {
			n += 16 + len(list[i].Key) + len(list[i].End) + len(list[i].Value)
		}
	}
	return n
}

func (e *Encoder) compare(c *Compare) {
	e.Byte(byte(c.Target) | byte(c.Relation)<<4)
	e.Bytes(c.Key)
	e.Bytes(c.End)
	if c.Target == TargetValue {
		e.Bytes(c.Value)
	} else {
		e.Int(c.Number)
	}
}

func (e *Encoder) operations(list []Operation) {
	e.Uint(uint64(len(list)))
	for i := range list {
		o := &list[i]
		head := byte(o.Op)
		for _, flag := range [...]struct {
			set bool
			bit byte
		}{
			{o.KeysOnly, bitKeysOnly}, {o.Count, bitCount}, {o.Previous, bitPrevious}, {o.Keep, bitKeep}, {o.Exists, bitExists},
			{o.Revision != 0 || o.Limit != 0, bitRange},
		} {
			if flag.set {
				head |= flag.bit
			}
		}
		e.Byte(head)
		e.Bytes(o.Key)
		if o.Op == OpPut {
			e.Bytes(o.Value)
		} else {
			e.Bytes(o.End)
		}
		if head&bitRange != 0 {
			e.Int(o.Revision)
			e.Int(o.Limit)
		}
	}
}

// DecodeCommand is the inverse of Encode. The command aliases b.
func DecodeCommand(b []byte) (Command, error) {
	d := Decoder{rest: b}
	c := Command{Kind: CommandKind(d.Byte()), Local: d.Bool()}
	switch {
	case c.Kind == CommandTxn:
		if n := d.Count(4); n > 0 {
			c.Compare = make([]Compare, n)
			for i := range c.Compare {
				d.compare(&c.Compare[i])
			}
		}
		c.Then = d.operations()
		c.Else = d.operations()
	case c.Kind >= CommandChanges && c.Kind <= CommandLeave:
		c.Key, c.End = d.Bytes(), d.Bytes()
		c.Revision, c.Limit = d.Int(), d.Int()
		c.Node = int(d.Int())
		c.Address = d.Bytes()
	default:
		d.fail(errValue)
	}
	if err := d.Done(); err != nil {
		return Command{}, fmt.Errorf("decode a command: %w", err)
	}
	return c, nil
}

func (d *Decoder) compare(c *Compare) {
	head := d.Byte()
	c.Target, c.Relation = Target(head&15), Relation(head>>4)
	if c.Target > TargetValue || c.Relation > NotEqual {
		d.fail(errValue)
	}
	c.Key, c.End = d.Bytes(), d.Bytes()
	if c.Target == TargetValue {
		c.Value = d.Bytes()
	} else {
		c.Number = d.Int()
	}
}

func (d *Decoder) operations() []Operation {
	n := d.Count(3)
	if n == 0 {
		return nil
	}
	list := make([]Operation, n)
	for i := range list {
		o := &list[i]
		head := d.Byte()
		o.Op = Op(head & maskOp)
		if o.Op < OpRange || o.Op > OpDelete {
			d.fail(errValue)
		}
		o.KeysOnly, o.Count, o.Previous = head&bitKeysOnly != 0, head&bitCount != 0, head&bitPrevious != 0
		o.Keep, o.Exists = head&bitKeep != 0, head&bitExists != 0
		o.Key = d.Bytes()
		if o.Op == OpPut {
			o.Value = d.Bytes()
		} else {
			o.End = d.Bytes()
		}
		if head&bitRange != 0 {
			o.Revision, o.Limit = d.Int(), d.Int()
		}
	}
	return list
}

// Encode is the body of a Reply.
func (r Result) Encode() []byte {
	e := Encoder{B: make([]byte, 0, r.size())}
	e.Byte(byte(r.Outcome))
	e.Bool(r.Succeeded)
	e.Uint(uint64(len(r.Reason)))
	e.B = append(e.B, r.Reason...)
	e.Int(r.Revision)
	e.Int(r.Oldest)
	e.Uint(r.Term)
	e.Uint(r.Index)
	e.Uint(uint64(len(r.Responses)))
	for i := range r.Responses {
		p := &r.Responses[i]
		e.Byte(byte(p.Op))
		e.Bool(p.More)
		e.Int(p.Count)
		e.pairs(p.Pairs)
		e.pairs(p.Previous)
	}
	e.Uint(uint64(len(r.Changes)))
	for i := range r.Changes {
		c := &r.Changes[i]
		e.Bool(c.Deleted)
		e.pair(&c.Pair)
		e.Bool(c.Previous != nil)
		if c.Previous != nil {
			e.pair(c.Previous)
		}
	}
	return e.B
}

// pairSize is what a KeyValue takes at most, besides its key and its value, below 2^34 revisions.
const pairSize = 21

// size is an upper bound for most results, so that Encode allocates once.
func (r *Result) size() int {
	n := 40 + len(r.Reason)
	for i := range r.Responses {
		n += 16
		for _, list := range [2][]KeyValue{r.Responses[i].Pairs, r.Responses[i].Previous} {
			for j := range list {
				n += pairSize + len(list[j].Key) + len(list[j].Value)
			}
		}
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		n += 2 + pairSize + len(c.Pair.Key) + len(c.Pair.Value)
		if c.Previous != nil {
			n += pairSize + len(c.Previous.Key) + len(c.Previous.Value)
		}
	}
	return n
}

func (e *Encoder) pairs(list []KeyValue) {
	e.Uint(uint64(len(list)))
	for i := range list {
		e.pair(&list[i])
	}
}

func (e *Encoder) pair(p *KeyValue) {
	e.Bytes(p.Key)
	e.Bytes(p.Value)
	e.Int(p.Create)
	e.Int(p.Mod)
	e.Int(p.Version)
}

// DecodeResult is the inverse of Encode. The result aliases b.
func DecodeResult(b []byte) (Result, error) {
	d := Decoder{rest: b}
	r := Result{Outcome: Outcome(d.Byte()), Succeeded: d.Bool(), Reason: string(d.Bytes())}
	if r.Outcome < Done || r.Outcome > Future {
		d.fail(errValue)
	}
	r.Revision, r.Oldest = d.Int(), d.Int()
	r.Term, r.Index = d.Uint(), d.Uint()
	if n := d.Count(5); n > 0 {
		r.Responses = make([]Response, n)
		for i := range r.Responses {
			p := &r.Responses[i]
			p.Op, p.More, p.Count = Op(d.Byte()), d.Bool(), d.Int()
			if p.Op < OpRange || p.Op > OpDelete {
				d.fail(errValue)
			}
			p.Pairs, p.Previous = d.pairs(), d.pairs()
		}
	}
	if n := d.Count(7); n > 0 {
		r.Changes = make([]Change, n)
		for i := range r.Changes {
			c := &r.Changes[i]
			c.Deleted = d.Bool()
			d.pair(&c.Pair)
			if d.Bool() {
				c.Previous = new(KeyValue)
				d.pair(c.Previous)
			}
		}
	}
	if err := d.Done(); err != nil {
		return Result{}, fmt.Errorf("decode a result: %w", err)
	}
	return r, nil
}

func (d *Decoder) pairs() []KeyValue {
	n := d.Count(5)
	if n == 0 {
		return nil
	}
	list := make([]KeyValue, n)
	for i := range list {
		d.pair(&list[i])
	}
	return list
}

func (d *Decoder) pair(p *KeyValue) {
	p.Key, p.Value = d.Bytes(), d.Bytes()
	p.Create, p.Mod, p.Version = d.Int(), d.Int(), d.Int()
}
