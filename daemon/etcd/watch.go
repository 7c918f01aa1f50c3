package etcd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"assize/machine"
)

// changesAtOnce bounds one answer of a watch: more events come in the next. A revision is never divided.
const changesAtOnce = 500

// anyWatch in an answer stands for all watches of a stream, or for none.
const anyWatch = -1

// watches is etcd's Watch.
type watches struct {
	pb.UnimplementedWatchServer
	front
	progress time.Duration
}

// watch of one range.
type watch struct {
	id              int64
	key, end        []byte
	next            int64 // revision from which on nothing has been told
	previous        bool
	noPut, noDelete bool
	progress        bool // wants to hear that nothing has happened
	told            bool // something, since the last progress
}

// watcher is one stream with its watches, in the order of their ids.
type watcher struct {
	front
	stream pb.Watch_WatchServer
	list   []*watch
	id     int64 // to be given out next
}

// Watch tells what happens until the client has had enough.
func (s *watches) Watch(stream pb.Watch_WatchServer) error {
	ctx := stream.Context()
	if err := s.led(ctx); err != nil {
		return err
	}
	w := &watcher{front: s.front, stream: stream}
	requests, ended := make(chan *pb.WatchRequest), make(chan error, 1)
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	ticker := time.NewTicker(s.progress)
	defer ticker.Stop()
	for {
		revision, newer := s.host.Applied()
		if err := w.tell(ctx, revision); err != nil {
			return err
		}
		var err error
		select {
		case <-newer:
		case r := <-requests:
			err = w.take(ctx, r)
		case <-ticker.C:
			err = w.reassure(revision)
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				return err
			}
			// The client has nothing more to ask, but still listens.
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// take a request.
func (w *watcher) take(ctx context.Context, r *pb.WatchRequest) error {
	switch r := r.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		return w.create(r.CreateRequest)
	case *pb.WatchRequest_CancelRequest:
		if i, found := w.find(r.CancelRequest.GetWatchId()); found {
			id := w.list[i].id
			w.list = slices.Delete(w.list, i, i+1)
			return w.stream.Send(&pb.WatchResponse{Header: w.now(), WatchId: id, Canceled: true})
		}
	case *pb.WatchRequest_ProgressRequest:
		revision, _ := w.host.Applied()
		if err := w.tell(ctx, revision); err != nil {
			return err
		}
		return w.stream.Send(&pb.WatchResponse{Header: w.header(revision, 0), WatchId: anyWatch})
	}
	return nil
}

func (w *watcher) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(w.list, id, func(a *watch, id int64) int { return cmp.Compare(a.id, id) })
}

func (w *watcher) create(r *pb.WatchCreateRequest) error {
	revision, _ := w.host.Applied()
	h := w.header(revision, 0)
	a := &watch{id: r.GetWatchId(), key: r.GetKey(), end: orNil(r.GetRangeEnd()), next: r.GetStartRevision(), previous: r.GetPrevKv(), progress: r.GetProgressNotify()}
	if len(a.key) == 0 {
		a.key = []byte{0}
	}
	if a.next <= 0 {
		a.next = revision + 1
	}
	for _, f := range r.GetFilters() {
		a.noPut = a.noPut || f == pb.WatchCreateRequest_NOPUT
		a.noDelete = a.noDelete || f == pb.WatchCreateRequest_NODELETE
	}
	if a.id == 0 {
		for _, taken := w.find(w.id); taken; _, taken = w.find(w.id) {
			w.id++
		}
		a.id = w.id
		w.id++
	}
	i, taken := w.find(a.id)
	if taken || a.id < 0 {
		return w.stream.Send(&pb.WatchResponse{
			Header: h, WatchId: anyWatch, Created: true, Canceled: true, CancelReason: "mvcc: duplicate watch ID provided on the WatchStream",
		})
	}
	w.list = slices.Insert(w.list, i, a)
	return w.stream.Send(&pb.WatchResponse{Header: h, WatchId: a.id, Created: true})
}

// tell all watches what has happened up to the revision.
func (w *watcher) tell(ctx context.Context, revision int64) error {
	for i := 0; i < len(w.list); {
		gone, err := w.follow(ctx, w.list[i], revision)
		if err != nil {
			return err
		}
		if gone {
			w.list = slices.Delete(w.list, i, i+1)
		} else {
			i++
		}
	}
	return nil
}

// follow tells one watch. gone: it wants what is kept no longer, and has been cancelled.
func (w *watcher) follow(ctx context.Context, a *watch, revision int64) (gone bool, err error) {
	for a.next <= revision {
		v, err := visitorOf(ctx)
		if err != nil {
			return false, err
		}
		c := machine.Command{Kind: machine.CommandChanges, Local: true, Key: a.key, End: a.end, Revision: a.next, Limit: changesAtOnce}
		r, err := w.host.Do(ctx, v.name(), c)
		switch {
		case err != nil:
			return false, unknown(err)
		case r.Outcome == machine.Compacted:
			return true, w.stream.Send(&pb.WatchResponse{
				Header: w.header(r.Revision, r.Term), WatchId: a.id, Canceled: true, CompactRevision: r.Oldest,
			})
		case r.Outcome != machine.Done:
			return false, say(r.Reason)
		}
		a.next = max(a.next, r.Revision+1)
		if n := len(r.Changes); n >= changesAtOnce {
			a.next = r.Changes[n-1].Pair.Mod + 1
		}
		if events := a.events(r.Changes); len(events) > 0 {
			a.told = true
			if err := w.stream.Send(&pb.WatchResponse{Header: w.header(r.Revision, r.Term), WatchId: a.id, Events: events}); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (a *watch) events(changes []machine.Change) []*mvccpb.Event {
	var events []*mvccpb.Event
	for i := range changes {
		c := &changes[i]
		if c.Deleted && a.noDelete || !c.Deleted && a.noPut {
			continue
		}
		e := &mvccpb.Event{Kv: pairsOf([]machine.KeyValue{c.Pair})[0]}
		if c.Deleted {
			e.Type = mvccpb.Event_DELETE
		}
		if a.previous && c.Previous != nil {
			e.PrevKv = pairsOf([]machine.KeyValue{*c.Previous})[0]
		}
		events = append(events, e)
	}
	return events
}

// reassure the watches that want it, and have heard nothing for a while, that nothing has happened up to the revision.
func (w *watcher) reassure(revision int64) error {
	for _, a := range w.list {
		if a.progress && !a.told {
			if err := w.stream.Send(&pb.WatchResponse{Header: w.header(revision, 0), WatchId: a.id}); err != nil {
				return err
			}
		}
		a.told = false
	}
	return nil
}
