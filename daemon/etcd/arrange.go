package etcd

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// arranged tells that a range asks for a filter or for an order other than that of the keys: the machine knows neither.
func arranged(r *pb.RangeRequest) bool {
	return r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0 ||
		r.SortTarget != pb.RangeRequest_KEY || r.SortOrder == pb.RangeRequest_DESCEND
}

// arrange does to a whole range what etcd does: filters, then the order, then the limit. Count stays that of the range.
func arrange(r *pb.RangeResponse, rq *pb.RangeRequest) {
	r.Kvs = slices.DeleteFunc(r.Kvs, func(p *mvccpb.KeyValue) bool {
		return rq.MinModRevision != 0 && p.ModRevision < rq.MinModRevision || rq.MaxModRevision != 0 && p.ModRevision > rq.MaxModRevision ||
			rq.MinCreateRevision != 0 && p.CreateRevision < rq.MinCreateRevision || rq.MaxCreateRevision != 0 && p.CreateRevision > rq.MaxCreateRevision
	})
	slices.SortStableFunc(r.Kvs, func(a, b *mvccpb.KeyValue) int {
		order := 0
		switch rq.SortTarget {
		case pb.RangeRequest_KEY:
			order = bytes.Compare(a.Key, b.Key)
		case pb.RangeRequest_VALUE:
			order = bytes.Compare(a.Value, b.Value)
		case pb.RangeRequest_VERSION:
			order = cmp.Compare(a.Version, b.Version)
		case pb.RangeRequest_CREATE:
			order = cmp.Compare(a.CreateRevision, b.CreateRevision)
		case pb.RangeRequest_MOD:
			order = cmp.Compare(a.ModRevision, b.ModRevision)
		}
		if rq.SortOrder == pb.RangeRequest_DESCEND {
			return -order
		}
		return order
	})
	if rq.Limit > 0 && int64(len(r.Kvs)) > rq.Limit {
		r.Kvs, r.More = r.Kvs[:rq.Limit], true
	}
	if rq.KeysOnly {
		for _, p := range r.Kvs {
			p.Value = nil
		}
	}
}
