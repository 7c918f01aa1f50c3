package etcd

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"assize/machine"
)

// draw makes random commands and results that can be said in etcd's protocol.
type draw struct{ *rand.Rand }

func (d draw) bytes() []byte {
	if d.IntN(4) == 0 {
		return nil
	}
	b := make([]byte, 1+d.IntN(5))
	for i := range b {
		b[i] = byte(d.IntN(256))
	}
	return b
}

func (d draw) key() []byte { return append(d.bytes(), 'k') }

func (d draw) yes() bool { return d.IntN(2) == 0 }

func (d draw) operations() (list []machine.Operation) {
	for range d.IntN(4) {
		o := machine.Operation{Op: machine.Op(1 + d.IntN(3)), Key: d.key()}
		switch o.Op {
		case machine.OpRange:
			o.End, o.Revision, o.Limit, o.KeysOnly, o.Count = d.bytes(), int64(d.IntN(9)), int64(d.IntN(9)), d.yes(), d.yes()
		case machine.OpPut:
			o.Previous, o.Keep, o.Exists = d.yes(), d.yes(), d.yes()
			if !o.Keep {
				o.Value = d.bytes()
			}
		case machine.OpDelete:
			o.End, o.Previous = d.bytes(), d.yes()
		}
		list = append(list, o)
	}
	return list
}

func (d draw) command() machine.Command {
	c := machine.Command{Kind: machine.CommandTxn, Then: d.operations(), Else: d.operations()}
	for range d.IntN(3) {
		cmp := machine.Compare{Key: d.key(), End: d.bytes(), Target: machine.Target(d.IntN(4)), Relation: machine.Relation(d.IntN(4))}
		if cmp.Target == machine.TargetValue {
			cmp.Value = d.bytes()
		} else {
			cmp.Number = int64(d.IntN(9) - 3)
		}
		c.Compare = append(c.Compare, cmp)
	}
	c.Local = d.yes() && c.ReadOnly() && len(c.Then)+len(c.Else) > 0
	return c
}

func (d draw) pairs() (list []machine.KeyValue) {
	for range d.IntN(3) {
		list = append(list, machine.KeyValue{
			Key: d.key(), Value: d.bytes(), Create: int64(d.IntN(9)), Mod: int64(d.IntN(9)), Version: int64(d.IntN(9)),
		})
	}
	return list
}

func (d draw) result() machine.Result {
	r := machine.Result{Outcome: machine.Done, Succeeded: d.yes(), Revision: int64(d.IntN(99)), Term: uint64(1 + d.IntN(9))}
	for range d.IntN(4) {
		p := machine.Response{Op: machine.Op(1 + d.IntN(3))}
		switch p.Op {
		case machine.OpRange:
			p.Pairs, p.Count, p.More = d.pairs(), int64(d.IntN(9)), d.yes()
		case machine.OpPut:
			p.Previous = d.pairs()
			p.Previous = p.Previous[:min(1, len(p.Previous))]
		case machine.OpDelete:
			p.Previous, p.Count = d.pairs(), int64(d.IntN(9))
		}
		if len(p.Previous) == 0 {
			p.Previous = nil
		}
		r.Responses = append(r.Responses, p)
	}
	return r
}

// wire sends a message through its encoding.
func wire[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func TestCommandsThroughEtcdsProtocol(t *testing.T) {
	d := draw{rand.New(rand.NewPCG(1, 2))}
	taken := 0
	for range 5000 {
		want := d.command()
		got, err := commandOfTxn(wire(t, txnOf(want), new(pb.TxnRequest)))
		if reason := want.Check(); reason != "" {
			if err == nil || status.Convert(err).Message() != reason {
				t.Fatalf("%+v: %v, want %s", want, err, reason)
			}
			continue
		}
		taken++
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
	if taken < 2000 {
		t.Errorf("only %d of the commands were fit to be sent", taken)
	}
}

func TestResultsThroughEtcdsProtocol(t *testing.T) {
	d := draw{rand.New(rand.NewPCG(3, 4))}
	for range 5000 {
		want := d.result()
		h := &pb.ResponseHeader{Revision: want.Revision, RaftTerm: want.Term}
		answer := &pb.TxnResponse{Header: h, Succeeded: want.Succeeded}
		for i := range want.Responses {
			answer.Responses = append(answer.Responses, answerOf(&want.Responses[i], &pb.RangeRequest{}, h))
		}
		got, err := resultOf(wire(t, answer, new(pb.TxnResponse)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestLeaseComparisons(t *testing.T) {
	s := machine.NewStore(0)
	s.Apply(machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{{Op: machine.OpPut, Key: []byte("there")}}})
	for _, key := range []string{"there", "missing"} {
		for _, c := range []struct {
			relation pb.Compare_CompareResult
			lease    int64
			want     bool
		}{
			{pb.Compare_EQUAL, 0, true}, {pb.Compare_EQUAL, 5, false}, {pb.Compare_NOT_EQUAL, 0, false}, {pb.Compare_NOT_EQUAL, 5, true},
			{pb.Compare_LESS, 5, true}, {pb.Compare_LESS, 0, false}, {pb.Compare_GREATER, 0, false}, {pb.Compare_GREATER, -1, true},
		} {
			command, err := commandOfTxn(&pb.TxnRequest{Compare: []*pb.Compare{{
				Key: []byte(key), Target: pb.Compare_LEASE, Result: c.relation, TargetUnion: &pb.Compare_Lease{Lease: c.lease},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Apply(command).Succeeded; got != c.want {
				t.Errorf("lease of %s %v %d: got %v, want %v", key, c.relation, c.lease, got, c.want)
			}
		}
	}
}

func TestRequestsThatAreNotServed(t *testing.T) {
	step := func(p *pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Failure: []*pb.RequestOp{p}} }
	put := func(p *pb.PutRequest) *pb.TxnRequest {
		return step(&pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: p}})
	}
	k := []byte("k")
	for _, c := range []struct {
		name string
		r    *pb.TxnRequest
		code codes.Code
		text string
	}{
		{"a transaction inside", step(&pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{}}}), codes.Unimplemented, ""},
		{"no step", step(&pb.RequestOp{}), codes.InvalidArgument, "key not found"},
		{"a lease", put(&pb.PutRequest{Key: k, Lease: 7}), codes.NotFound, "requested lease not found"},
		{"a value that is to be ignored", put(&pb.PutRequest{Key: k, Value: k, IgnoreValue: true}), codes.InvalidArgument, "value is provided"},
		{"a lease that is to be ignored", put(&pb.PutRequest{Key: k, Lease: 7, IgnoreLease: true}), codes.InvalidArgument, "lease is provided"},
		{"a put without a key", put(&pb.PutRequest{}), codes.InvalidArgument, "key is not provided"},
		{"an unknown relation", &pb.TxnRequest{Compare: []*pb.Compare{{Key: k, Result: 9}}}, codes.InvalidArgument, "compare"},
		{"an unknown target", &pb.TxnRequest{Compare: []*pb.Compare{{Key: k, Target: 9}}}, codes.InvalidArgument, "compare"},
		{"an unknown order", step(&pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: k, SortOrder: 9}}}),
			codes.InvalidArgument, "invalid sort option"},
	} {
		_, err := commandOfTxn(wire(t, c.r, new(pb.TxnRequest)))
		if s := status.Convert(err); s.Code() != c.code || !strings.Contains(s.Message(), c.text) {
			t.Errorf("%s: %v, want %v %q", c.name, err, c.code, c.text)
		}
	}
}

// TestArrangedRanges: filters come before the limit, the order before it too, and Count tells of neither.
func TestArrangedRanges(t *testing.T) {
	s := machine.NewStore(0)
	for _, p := range [][2]string{{"a", "3"}, {"b", "1"}, {"c", "2"}, {"a", "9"}} { // revisions 2 to 5
		s.Apply(machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{{Op: machine.OpPut, Key: []byte(p[0]), Value: []byte(p[1])}}})
	}
	for _, c := range []struct {
		r    *pb.RangeRequest
		want string
		more bool
	}{
		{&pb.RangeRequest{}, "a9 b1 c2", false},
		{&pb.RangeRequest{SortOrder: pb.RangeRequest_ASCEND, Limit: 2}, "a9 b1", true},
		{&pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND}, "c2 b1 a9", false},
		{&pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND, Limit: 1}, "c2", true},
		{&pb.RangeRequest{SortTarget: pb.RangeRequest_VALUE}, "b1 c2 a9", false},
		{&pb.RangeRequest{SortTarget: pb.RangeRequest_VALUE, KeysOnly: true}, "b c a", false},
		{&pb.RangeRequest{SortTarget: pb.RangeRequest_MOD, SortOrder: pb.RangeRequest_DESCEND, Limit: 2}, "a9 c2", true},
		{&pb.RangeRequest{SortTarget: pb.RangeRequest_CREATE}, "a9 b1 c2", false},
		{&pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION}, "b1 c2 a9", false},
		{&pb.RangeRequest{MinModRevision: 4}, "a9 c2", false},
		{&pb.RangeRequest{MaxModRevision: 4, Limit: 1}, "b1", true},
		{&pb.RangeRequest{MinCreateRevision: 3}, "b1 c2", false},
		{&pb.RangeRequest{MaxCreateRevision: 3}, "a9 b1", false},
		{&pb.RangeRequest{KeysOnly: true, Limit: 3}, "a b c", false},
	} {
		c.r.Key, c.r.RangeEnd = []byte{0}, []byte{0}
		o, err := operationOfRange(c.r)
		if err != nil {
			t.Fatal(err)
		}
		answer := rangeAnswer(&s.Read(machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{o}}).Responses[0], c.r, nil)
		var got []string
		for _, p := range answer.Kvs {
			got = append(got, string(p.Key)+string(p.Value))
		}
		if strings.Join(got, " ") != c.want || answer.More != c.more || answer.Count != 3 {
			t.Errorf("%v: got %v, more %v, count %d; want %v, %v, 3", c.r, got, answer.More, answer.Count, c.want, c.more)
		}
	}
}

// FuzzRequest: whatever parses as a transaction either is refused with an etcd error or is executed and answered.
func FuzzRequest(f *testing.F) {
	d := draw{rand.New(rand.NewPCG(5, 6))}
	for range 20 {
		b, err := proto.Marshal(txnOf(d.command()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(pb.TxnRequest)
		if proto.Unmarshal(b, r) != nil {
			return
		}
		c, err := commandOfTxn(r)
		if err != nil {
			if status.Code(err) == codes.Unknown {
				t.Fatalf("%v is refused with %v", r, err)
			}
			return
		}
		again, err := machine.DecodeCommand(c.Encode())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
		s := machine.NewStore(0)
		s.Apply(machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{{Op: machine.OpPut, Key: []byte("k"), Value: []byte("v")}}})
		result := s.Apply(c)
		requests := r.Success
		if !result.Succeeded {
			requests = r.Failure
		}
		for i := range result.Responses {
			answerOf(&result.Responses[i], requests[i].GetRequestRange(), &pb.ResponseHeader{})
		}
	})
}

// FuzzAnswer: whatever a server sends, the client makes a result of it or an error.
func FuzzAnswer(f *testing.F) {
	d := draw{rand.New(rand.NewPCG(7, 8))}
	for range 20 {
		r := d.result()
		answer := &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: 5}, Succeeded: r.Succeeded}
		for i := range r.Responses {
			answer.Responses = append(answer.Responses, answerOf(&r.Responses[i], nil, nil))
		}
		b, err := proto.Marshal(answer)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := new(pb.TxnResponse)
		if proto.Unmarshal(b, answer) == nil {
			resultOf(answer)
		}
		kvs := new(mvccpb.KeyValue)
		if proto.Unmarshal(b, kvs) == nil {
			keyValuesOf([]*mvccpb.KeyValue{kvs, nil})
		}
	})
}

func FuzzPeer(f *testing.F) {
	f.Add(peerURL(4, "127.0.0.1:2380"))
	f.Add("http://n0@x:1")
	f.Fuzz(func(t *testing.T, s string) {
		id, address, err := parsePeer([]string{s})
		if err != nil {
			return
		}
		if again, same, err := parsePeer([]string{peerURL(id, address)}); err != nil || again != id || same != address {
			t.Fatalf("%q is node %d at %q, that is %d at %q, %v", s, id, address, again, same, err)
		}
	})
}
