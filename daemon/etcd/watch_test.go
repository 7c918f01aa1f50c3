package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"assize/machine"
)

func raw(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// viewer is a stream of watches as a client has it.
type viewer struct {
	t *testing.T
	s pb.Watch_WatchClient
}

func view(t *testing.T, address string) viewer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	s, err := pb.NewWatchClient(raw(t, address)).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return viewer{t, s}
}

func (v viewer) ask(r *pb.WatchRequest) {
	v.t.Helper()
	if err := v.s.Send(r); err != nil {
		v.t.Fatal(err)
	}
}

func (v viewer) create(r *pb.WatchCreateRequest) *pb.WatchResponse {
	v.t.Helper()
	v.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	answer := v.next()
	if !answer.Created {
		v.t.Fatalf("%v was answered with %v", r, answer)
	}
	return answer
}

func (v viewer) next() *pb.WatchResponse {
	v.t.Helper()
	answer, err := v.s.Recv()
	if err != nil {
		v.t.Fatal(err)
	}
	return answer
}

// events of a watch until there are n, in short.
func (v viewer) events(id int64, n int) string {
	v.t.Helper()
	var got []string
	for len(got) < n {
		answer := v.next()
		if answer.WatchId != id {
			v.t.Fatalf("got %v, want events of watch %d", answer, id)
		}
		for _, e := range answer.Events {
			if e.Kv.ModRevision > answer.Header.Revision {
				v.t.Errorf("an event of revision %d in an answer of %d", e.Kv.ModRevision, answer.Header.Revision)
			}
			got = append(got, brief(e))
		}
	}
	return strings.Join(got, " ")
}

func brief(e *mvccpb.Event) string {
	s := fmt.Sprintf("%s=%s@%d", e.Kv.Key, e.Kv.Value, e.Kv.ModRevision)
	if e.Type == mvccpb.Event_DELETE {
		s = fmt.Sprintf("-%s@%d", e.Kv.Key, e.Kv.ModRevision)
	}
	if e.PrevKv != nil {
		s += fmt.Sprintf("(%s)", e.PrevKv.Value)
	}
	return s
}

// do has the host execute puts (k=v) and deletes (-k) in one transaction.
func (m *memory) do(t *testing.T, steps ...string) {
	t.Helper()
	c := machine.Command{Kind: machine.CommandTxn}
	for _, s := range steps {
		key, value, put := strings.Cut(s, "=")
		o := machine.Operation{Op: machine.OpPut, Key: []byte(key), Value: []byte(value)}
		if !put {
			o = machine.Operation{Op: machine.OpDelete, Key: []byte(key[1:])}
		}
		c.Then = append(c.Then, o)
	}
	if r, err := m.Do(t.Context(), 1, c); err != nil || r.Outcome != machine.Done {
		t.Fatal(r, err)
	}
}

func TestWatch(t *testing.T) {
	h := newMemory(0)
	v := view(t, serve(t, h))
	h.do(t, "a=1")
	if answer := v.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("c"), PrevKv: true}); answer.WatchId != 0 || answer.Header.Revision != 2 {
		t.Errorf("created: %v", answer)
	}
	h.do(t, "a=2", "b=1", "c=1")
	h.do(t, "-a", "-b")
	if got, want := v.events(0, 4), "a=2@3(1) b=1@3 -a@4(2) -b@4(1)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if answer := v.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 2, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}}); answer.WatchId != 1 {
		t.Errorf("created: %v", answer)
	}
	if got, want := v.events(1, 2), "a=1@2 a=2@3"; got != want {
		t.Errorf("from revision 2: got %s, want %s", got, want)
	}
	v.create(&pb.WatchCreateRequest{WatchId: 7, StartRevision: 2, RangeEnd: []byte{0}, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
	if got, want := v.events(7, 2), "-a@4 -b@4"; got != want {
		t.Errorf("deletes of all keys: got %s, want %s", got, want)
	}
	for id := range int64(2) {
		v.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
		if answer := v.next(); !answer.Canceled || answer.WatchId != id || answer.CompactRevision != 0 {
			t.Errorf("cancelled: %v", answer)
		}
	}
	if err := v.s.CloseSend(); err != nil { // says no more, but listens
		t.Fatal(err)
	}
	h.do(t, "a=3")
	h.do(t, "-a")
	if got, want := v.events(7, 1), "-a@6"; got != want {
		t.Errorf("after two were cancelled: got %s, want %s", got, want)
	}
}

func TestWatchFromTheFuture(t *testing.T) {
	h := newMemory(0)
	v := view(t, serve(t, h))
	v.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 4})
	for i := range 4 {
		h.do(t, fmt.Sprintf("a=%d", i)) // revisions 2 to 5
	}
	if got, want := v.events(0, 2), "a=2@4 a=3@5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWatchOfWhatIsGone(t *testing.T) {
	h := newMemory(3)
	for i := range 9 {
		h.do(t, fmt.Sprintf("a=%d", i))
	}
	v := view(t, serve(t, h))
	v.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 5})
	answer := v.next()
	if !answer.Canceled || answer.CompactRevision != 8 {
		t.Errorf("got %v, want a cancellation that names revision 8", answer)
	}
	v.create(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: answer.CompactRevision, WatchId: 5})
	if got, want := v.events(5, 3), "a=6@8 a=7@9 a=8@10"; got != want {
		t.Errorf("from there: got %s, want %s", got, want)
	}
}

func TestWatchOfManyChanges(t *testing.T) {
	h := newMemory(10000)
	var want []string
	for i := range 700 {
		h.do(t, fmt.Sprintf("a=%d", i), fmt.Sprintf("b=%d", i))
		want = append(want, fmt.Sprintf("a=%d@%d", i, i+2), fmt.Sprintf("b=%d@%d", i, i+2))
	}
	v := view(t, serve(t, h))
	v.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("c"), StartRevision: 1})
	if got := strings.Split(v.events(0, len(want)), " "); !slices.Equal(got, want) {
		t.Errorf("got %d events, want %d in order", len(got), len(want))
	}
}

func TestWatchIDs(t *testing.T) {
	h := newMemory(0)
	v := view(t, serve(t, h))
	v.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 1})
	for _, want := range []int64{0, 2} {
		if answer := v.create(&pb.WatchCreateRequest{Key: []byte("a")}); answer.WatchId != want {
			t.Errorf("got watch %d, want %d", answer.WatchId, want)
		}
	}
	if answer := v.create(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 1}); !answer.Canceled || answer.WatchId != anyWatch {
		t.Errorf("one id twice: %v", answer)
	}
}

func TestProgress(t *testing.T) {
	h := newMemory(0)
	h.do(t, "a=1")
	v := view(t, serve(t, h))
	v.create(&pb.WatchCreateRequest{Key: []byte("a")})
	h.do(t, "b=1")
	v.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	if answer := v.next(); answer.WatchId != anyWatch || answer.Header.Revision != 3 || len(answer.Events) != 0 {
		t.Errorf("got %v, want the progress of all to revision 3", answer)
	}
}

// TestProgressNotify: with a period that has always passed, the watch that asked hears of it, the other does not.
func TestProgressNotify(t *testing.T) {
	h := newMemory(0)
	w := &watcher{front: front{h}, list: []*watch{{id: 1}, {id: 2, progress: true}, {id: 3, progress: true, told: true}}}
	s := &sent{}
	w.stream = s
	for range 2 {
		if err := w.reassure(9); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for _, answer := range s.answers {
		got = append(got, answer.WatchId)
		if answer.Header.Revision != 9 {
			t.Errorf("progress to %d, want 9", answer.Header.Revision)
		}
	}
	if want := []int64{2, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// sent is a stream that keeps what is sent.
type sent struct {
	pb.Watch_WatchServer
	answers []*pb.WatchResponse
}

func (s *sent) Send(r *pb.WatchResponse) error {
	s.answers = append(s.answers, r)
	return nil
}

func TestRequiredLeader(t *testing.T) {
	h := newMemory(0)
	address := serve(t, h)
	kv := pb.NewKVClient(raw(t, address))
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	demanding := metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
	ask := func(ctx context.Context) codes.Code {
		_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Serializable: true})
		return status.Code(err)
	}
	health := func() grpc_health_v1.HealthCheckResponse_ServingStatus {
		answer, err := grpc_health_v1.NewHealthClient(raw(t, address)).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	if got := ask(demanding); got != codes.OK {
		t.Errorf("under a leader: %v", got)
	}
	if got := health(); got != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health under a leader: %v", got)
	}
	h.set(func() { h.status.Leader = 0 })
	if got := ask(ctx); got != codes.OK {
		t.Errorf("a client that does not ask for a leader: %v", got)
	}
	if got := ask(demanding); got != codes.Unavailable {
		t.Errorf("a client that asks for a leader: %v", got)
	}
	if got := health(); got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health without a leader: %v", got)
	}
	stream, err := pb.NewWatchClient(raw(t, address)).Watch(demanding)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a watch that asks for a leader: %v", err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	c := raw(t, serve(t, newMemory(0)))
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	kv := pb.NewKVClient(c)
	_, compact := kv.Compact(ctx, &pb.CompactionRequest{Revision: 1})
	_, lease := pb.NewLeaseClient(c).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 1})
	_, alarm := pb.NewMaintenanceClient(c).Alarm(ctx, &pb.AlarmRequest{})
	_, auth := pb.NewAuthClient(c).AuthEnable(ctx, &pb.AuthEnableRequest{})
	_, learner := pb.NewClusterClient(c).MemberAdd(ctx, &pb.MemberAddRequest{IsLearner: true})
	for what, err := range map[string]error{"compact": compact, "lease": lease, "alarm": alarm, "auth": auth, "learner": learner} {
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want Unimplemented", what, err)
		}
	}
	if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: make([]byte, maxRequest)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request that is too large: %v", err)
	}
	if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: make([]byte, 1<<20)}); err != nil {
		t.Errorf("a large request: %v", err)
	}
}
