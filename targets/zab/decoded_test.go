package zab

import (
	"bytes"
	"slices"
	"testing"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

// proposing is a body as write makes it.
func proposing(zxid int64, path string) []byte {
	x := tree.Txn{Session: 1, Zxid: zxid, Op: jute.Delete, Path: path}
	e := machine.Encoder{}
	e.Uint(7)
	e.Uint(uint64(zxid))
	e.Bytes(x.Encode())
	return e.B
}

// TestDecodedProposals are found by the body that they were decoded of, once, and in order.
func TestDecodedProposals(t *testing.T) {
	var d decoded
	var bodies [][]byte
	for zxid := range int64(8) {
		bodies = append(bodies, proposing(zxid, "/a"))
		if !d.sound(zxid, bodies[zxid]) {
			t.Fatalf("%d is not sound", zxid)
		}
	}
	for what, body := range map[string][]byte{"of another zxid": bodies[3], "cut": bodies[3][:5], "with more": append(slices.Clone(bodies[3]), 0), "empty": nil} {
		if d.sound(9, body) {
			t.Errorf("a body %s is sound", what)
		}
	}
	if n := len(d.proposals) - d.head; n != 8 {
		t.Errorf("%d are kept, want 8", n)
	}
	if p := d.take(2, bodies[2]); p == nil || p.seq != 2 || p.txn.Path != "/a" {
		t.Errorf("the third is %+v", p)
	}
	for zxid, body := range map[int64][]byte{1: bodies[1], 2: bodies[2]} {
		if p := d.take(zxid, body); p != nil {
			t.Errorf("%d is here again: %+v", zxid, p)
		}
	}
	if d.proposals[0].body != nil || d.proposals[1].body != nil {
		t.Error("those that were passed over are still held")
	}
	if p := d.take(4, bytes.Clone(bodies[4])); p != nil {
		t.Errorf("another body of the same zxid was taken for %+v", p)
	}
	if d.take(4, bodies[4]) != nil || d.take(6, bodies[6]) == nil || d.take(7, bodies[7]) == nil || d.take(8, bodies[7]) != nil {
		t.Error("the fifth is here, or the last two are not")
	}
}

// TestDecodedProposalsAreBounded, however many wait, and however long it goes on.
func TestDecodedProposalsAreBounded(t *testing.T) {
	var d decoded
	var bodies [][]byte
	found := 0
	for zxid := range int64(5000) {
		bodies = append(bodies, proposing(zxid, "/a"))
		if !d.sound(zxid, bodies[zxid]) || d.sound(zxid, bodies[zxid][1:]) {
			t.Fatalf("%d is not sound, or half of it is", zxid)
		}
		if late := zxid - maxDecoded/2; late >= 0 && zxid < 4000 && d.take(late, bodies[late]) != nil {
			found++
		}
	}
	if want := 4000 - maxDecoded/2; found != want {
		t.Errorf("%d of %d found", found, want)
	}
	if n := len(d.proposals) - d.head; n != maxDecoded || cap(d.proposals) > 3*maxDecoded {
		t.Errorf("%d are kept in %d places", n, cap(d.proposals))
	}
}

// TestFollowersDecodeOnce: what a follower has logged waits decoded until it is delivered, and nothing of it is held then.
func TestFollowersDecodeOnce(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	_, follower := h.elect()
	c := h.connect(follower)
	waits := func() int { return len(follower.decoded.proposals) - follower.decoded.head }
	for range 20 {
		c.send(creating("/a-", "data", jute.FlagSequential))
		h.until("a proposal waits", func() bool { return waits() == 1 })
		if p := follower.decoded.proposals[follower.decoded.head]; p.conn != c.conn || p.txn.Op != jute.Create {
			t.Fatalf("%+v waits", p)
		}
		h.until("it is delivered", func() bool { return waits() == 0 })
	}
	for _, p := range follower.decoded.proposals {
		if p.body != nil || p.txn.Path != "" {
			t.Errorf("held is %+v", p)
		}
	}
}
