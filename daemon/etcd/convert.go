package etcd

import (
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"assize/machine"
)

// This file is etcd's requests and answers as commands and results, in both directions: the server and the tests' client use the same.

var (
	errNested  = status.Error(codes.Unimplemented, "transactions inside a transaction are not served")
	errLease   = rpctypes.ErrGRPCLeaseNotFound // there is none
	errCompare = status.Error(codes.InvalidArgument, "etcdserver: unknown target or result of a compare")
)

// commandOfTxn is what a transaction asks for. The error is ready to be answered.
func commandOfTxn(r *pb.TxnRequest) (machine.Command, error) {
	c := machine.Command{Kind: machine.CommandTxn}
	var err error
	for _, p := range r.Compare {
		if c.Compare, err = addCompare(c.Compare, p); err != nil {
			return machine.Command{}, err
		}
	}
	thenLocal, elseLocal := true, true
	if c.Then, thenLocal, err = operationsOf(r.Success); err != nil {
		return machine.Command{}, err
	}
	if c.Else, elseLocal, err = operationsOf(r.Failure); err != nil {
		return machine.Command{}, err
	}
	if reason := c.Check(); reason != "" {
		return machine.Command{}, say(reason)
	}
	c.Local = thenLocal && elseLocal && len(c.Then)+len(c.Else) > 0
	return c, nil
}

// operationsOf a branch. local: all of it are reads from this node's own state.
func operationsOf(list []*pb.RequestOp) (ops []machine.Operation, local bool, err error) {
	local = true
	if len(list) > 0 {
		ops = make([]machine.Operation, len(list))
	}
	for i, p := range list {
		switch p := p.Request.(type) {
		case *pb.RequestOp_RequestRange:
			ops[i], err = operationOfRange(p.RequestRange)
			local = local && p.RequestRange.GetSerializable()
		case *pb.RequestOp_RequestPut:
			ops[i], err = operationOfPut(p.RequestPut)
			local = false
		case *pb.RequestOp_RequestDeleteRange:
			ops[i] = operationOfDelete(p.RequestDeleteRange)
			local = false
		case *pb.RequestOp_RequestTxn:
			err = errNested
		default:
			err = rpctypes.ErrGRPCKeyNotFound // etcd's answer to a step that is none
		}
		if err != nil {
			return nil, false, err
		}
	}
	return ops, local, nil
}

func operationOfRange(r *pb.RangeRequest) (machine.Operation, error) {
	if len(r.GetKey()) == 0 {
		return machine.Operation{}, rpctypes.ErrGRPCEmptyKey
	}
	if pb.RangeRequest_SortOrder_name[int32(r.SortOrder)] == "" || pb.RangeRequest_SortTarget_name[int32(r.SortTarget)] == "" {
		return machine.Operation{}, rpctypes.ErrGRPCInvalidSortOption
	}
	o := machine.Operation{
		Op: machine.OpRange, Key: r.Key, End: orNil(r.RangeEnd), Revision: max(r.Revision, 0), Limit: max(r.Limit, 0), KeysOnly: r.KeysOnly, Count: r.CountOnly,
	}
	if arranged(r) { // the limit is meant for what is left, in the order asked for
		o.Limit = 0
		o.KeysOnly = r.KeysOnly && r.SortTarget != pb.RangeRequest_VALUE
	}
	return o, nil
}

func operationOfPut(r *pb.PutRequest) (machine.Operation, error) {
	switch {
	case len(r.GetKey()) == 0:
		return machine.Operation{}, rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) > 0:
		return machine.Operation{}, rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return machine.Operation{}, rpctypes.ErrGRPCLeaseProvided
	case r.Lease != 0:
		return machine.Operation{}, errLease
	}
	return machine.Operation{
		Op: machine.OpPut, Key: r.Key, Value: orNil(r.Value), Previous: r.PrevKv, Keep: r.IgnoreValue, Exists: r.IgnoreLease,
	}, nil
}

func operationOfDelete(r *pb.DeleteRangeRequest) machine.Operation {
	return machine.Operation{Op: machine.OpDelete, Key: r.GetKey(), End: orNil(r.GetRangeEnd()), Previous: r.GetPrevKv()}
}

var targets = [...]pb.Compare_CompareTarget{
	machine.TargetVersion: pb.Compare_VERSION, machine.TargetCreate: pb.Compare_CREATE, machine.TargetMod: pb.Compare_MOD, machine.TargetValue: pb.Compare_VALUE,
}

var relations = [...]pb.Compare_CompareResult{
	machine.Equal: pb.Compare_EQUAL, machine.Greater: pb.Compare_GREATER, machine.Less: pb.Compare_LESS, machine.NotEqual: pb.Compare_NOT_EQUAL,
}

func addCompare(list []machine.Compare, p *pb.Compare) ([]machine.Compare, error) {
	c := machine.Compare{Key: p.GetKey(), End: orNil(p.GetRangeEnd()), Relation: machine.NotEqual + 1}
	for i, relation := range relations {
		if p.GetResult() == relation {
			c.Relation = machine.Relation(i)
		}
	}
	if c.Relation > machine.NotEqual {
		return nil, errCompare
	}
	switch p.GetTarget() {
	case pb.Compare_VERSION:
		c.Target, c.Number = machine.TargetVersion, p.GetVersion()
	case pb.Compare_CREATE:
		c.Target, c.Number = machine.TargetCreate, p.GetCreateRevision()
	case pb.Compare_MOD:
		c.Target, c.Number = machine.TargetMod, p.GetModRevision()
	case pb.Compare_VALUE:
		c.Target, c.Value = machine.TargetValue, orNil(p.GetValue())
	case pb.Compare_LEASE:
		// Every key's lease is 0: the same is true of all keys, or of none. No version is less than 0.
		c.Target = machine.TargetVersion
		if ofZero(c.Relation, p.GetLease()) {
			c.Relation, c.Number = machine.NotEqual, -1
		} else {
			c.Relation, c.Number = machine.Less, 0
		}
	default:
		return nil, errCompare
	}
	return append(list, c), nil
}

// ofZero tells whether 0 REL given.
func ofZero(r machine.Relation, given int64) bool {
	switch r {
	case machine.Equal:
		return given == 0
	case machine.Greater:
		return given < 0
	case machine.Less:
		return given > 0
	}
	return given != 0
}

// orNil makes an empty list none, as the machine has it.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// txnOf is the inverse of commandOfTxn.
func txnOf(c machine.Command) *pb.TxnRequest {
	r := &pb.TxnRequest{Success: requestsOf(c.Then, c.Local), Failure: requestsOf(c.Else, c.Local)}
	for i := range c.Compare {
		r.Compare = append(r.Compare, compareOf(&c.Compare[i]))
	}
	return r
}

func compareOf(c *machine.Compare) *pb.Compare {
	p := &pb.Compare{Key: c.Key, RangeEnd: c.End, Target: targets[c.Target], Result: relations[c.Relation]}
	switch c.Target {
	case machine.TargetVersion:
		p.TargetUnion = &pb.Compare_Version{Version: c.Number}
	case machine.TargetCreate:
		p.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: c.Number}
	case machine.TargetMod:
		p.TargetUnion = &pb.Compare_ModRevision{ModRevision: c.Number}
	case machine.TargetValue:
		p.TargetUnion = &pb.Compare_Value{Value: c.Value}
	}
	return p
}

func requestsOf(ops []machine.Operation, local bool) (list []*pb.RequestOp) {
	for i := range ops {
		p := new(pb.RequestOp)
		switch o := &ops[i]; o.Op {
		case machine.OpRange:
			p.Request = &pb.RequestOp_RequestRange{RequestRange: rangeOf(o, local)}
		case machine.OpPut:
			p.Request = &pb.RequestOp_RequestPut{RequestPut: putOf(o)}
		case machine.OpDelete:
			p.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: deleteOf(o)}
		}
		list = append(list, p)
	}
	return list
}

func rangeOf(o *machine.Operation, local bool) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: o.Key, RangeEnd: o.End, Revision: o.Revision, Limit: o.Limit, KeysOnly: o.KeysOnly, CountOnly: o.Count, Serializable: local,
	}
}

func putOf(o *machine.Operation) *pb.PutRequest {
	return &pb.PutRequest{Key: o.Key, Value: o.Value, PrevKv: o.Previous, IgnoreValue: o.Keep, IgnoreLease: o.Exists}
}

func deleteOf(o *machine.Operation) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: o.Key, RangeEnd: o.End, PrevKv: o.Previous}
}

// pairsOf makes all pairs in one piece.
func pairsOf(list []machine.KeyValue) []*mvccpb.KeyValue {
	if len(list) == 0 {
		return nil
	}
	pairs, pointers := make([]mvccpb.KeyValue, len(list)), make([]*mvccpb.KeyValue, len(list))
	for i := range list {
		p := &pairs[i]
		p.Key, p.Value, p.CreateRevision, p.ModRevision, p.Version = list[i].Key, list[i].Value, list[i].Create, list[i].Mod, list[i].Version
		pointers[i] = p
	}
	return pointers
}

func keyValuesOf(pairs []*mvccpb.KeyValue) []machine.KeyValue {
	if len(pairs) == 0 {
		return nil
	}
	list := make([]machine.KeyValue, len(pairs))
	for i, p := range pairs {
		list[i] = machine.KeyValue{
			Key: orNil(p.GetKey()), Value: orNil(p.GetValue()), Create: p.GetCreateRevision(), Mod: p.GetModRevision(), Version: p.GetVersion(),
		}
	}
	return list
}

// answerOf one step to the request it came from; rq may be nil for all but a range.
func answerOf(p *machine.Response, rq *pb.RangeRequest, h *pb.ResponseHeader) *pb.ResponseOp {
	switch p.Op {
	case machine.OpPut:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: putAnswer(p, h)}}
	case machine.OpDelete:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: deleteAnswer(p, h)}}
	}
	return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: rangeAnswer(p, rq, h)}}
}

func putAnswer(p *machine.Response, h *pb.ResponseHeader) *pb.PutResponse {
	r := &pb.PutResponse{Header: h}
	if len(p.Previous) > 0 {
		r.PrevKv = pairsOf(p.Previous)[0]
	}
	return r
}

func deleteAnswer(p *machine.Response, h *pb.ResponseHeader) *pb.DeleteRangeResponse {
	return &pb.DeleteRangeResponse{Header: h, Deleted: p.Count, PrevKvs: pairsOf(p.Previous)}
}

func rangeAnswer(p *machine.Response, rq *pb.RangeRequest, h *pb.ResponseHeader) *pb.RangeResponse {
	r := &pb.RangeResponse{Header: h, Count: p.Count, More: p.More, Kvs: pairsOf(p.Pairs)}
	if rq != nil && arranged(rq) {
		arrange(r, rq)
	}
	return r
}

// resultOf is what an answered transaction means. Term is its header's.
func resultOf(r *pb.TxnResponse) (machine.Result, error) {
	result := resultFrom(r.GetHeader())
	result.Succeeded = r.GetSucceeded()
	for i, p := range r.GetResponses() {
		switch p := p.GetResponse().(type) {
		case *pb.ResponseOp_ResponseRange:
			result.Responses = append(result.Responses, ofRange(p.ResponseRange))
		case *pb.ResponseOp_ResponsePut:
			result.Responses = append(result.Responses, ofPut(p.ResponsePut))
		case *pb.ResponseOp_ResponseDeleteRange:
			result.Responses = append(result.Responses, ofDelete(p.ResponseDeleteRange))
		default:
			return machine.Result{}, fmt.Errorf("answer %d to a transaction is %T", i, p)
		}
	}
	return result, nil
}

var errNoHeader = errors.New("an answer without a header")

func resultFrom(h *pb.ResponseHeader) machine.Result {
	return machine.Result{Outcome: machine.Done, Succeeded: true, Revision: h.GetRevision(), Term: h.GetRaftTerm()}
}

func ofRange(r *pb.RangeResponse) machine.Response {
	return machine.Response{Op: machine.OpRange, Pairs: keyValuesOf(r.GetKvs()), Count: r.GetCount(), More: r.GetMore()}
}

func ofPut(r *pb.PutResponse) machine.Response {
	p := machine.Response{Op: machine.OpPut}
	if r.GetPrevKv() != nil {
		p.Previous = keyValuesOf([]*mvccpb.KeyValue{r.PrevKv})
	}
	return p
}

func ofDelete(r *pb.DeleteRangeResponse) machine.Response {
	return machine.Response{Op: machine.OpDelete, Count: r.GetDeleted(), Previous: keyValuesOf(r.GetPrevKvs())}
}
