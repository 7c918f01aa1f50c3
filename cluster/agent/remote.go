package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// beatEvery is how often an agent hears from a Remote that has nothing to say. One with a short grace hears more often.
const beatEvery = time.Second

var errClosed = errors.New("the session with the agent has been closed")

// Remote is the controller's end of one session with an agent. All methods are safe for concurrent use. Requests that change something take
// effect in the order in which they were made; of one whose context ends early nobody knows whether it has or will.
//
// When the session breaks all calls fail, for good; the node and its faults stay as they are until the agent's grace has passed. A new
// session can be made at any time.
type Remote struct {
	rw   io.ReadWriteCloser
	out  chan []byte
	done chan struct{}

	mu      sync.Mutex
	last    uint64 // request
	waiting map[uint64]chan answer
	err     error

	told   func(Event)
	events chan Event
	lapses int // that have been told; only receive's
}

// Connect takes over the stream to an agent, Attach's input and output, which Close closes. It returns at once; an agent that is not there
// shows at the first call. told (which may be nil) is called for one event at a time and may call the Remote: for each end of the
// server since a controller was last told, then for each that follows. Where a session breaks while told is being called, the next one is told
// the same again; the End's Life tells. A Lapse, too, is told to each session once, with its first answer or the first that comes after it.
func Connect(rw io.ReadWriteCloser, told func(Event)) *Remote {
	r := &Remote{
		rw: rw, out: make(chan []byte), done: make(chan struct{}), waiting: map[uint64]chan answer{},
		told: told, events: make(chan Event, 2*maxEnds),
	}
	go r.send()
	go r.receive()
	go r.tell()
	go r.beat()
	return r
}

// Start starts the server if it does not run: under the packets' set and with the skew that are active. args replace those of the life before.
// Whether the server answers is the caller's business.
func (r *Remote) Start(ctx context.Context, args []string) error {
	_, err := r.call(ctx, request{Do: doStart, Args: args})
	return err
}

// Kill ends the server and its process group with SIGKILL and returns when it has been reaped. Idempotent.
func (r *Remote) Kill(ctx context.Context) error {
	_, err := r.call(ctx, request{Do: doKill})
	return err
}

// Pause stops the server with SIGSTOP and returns when all its threads have stopped. Idempotent; ErrDown where it does not run.
func (r *Remote) Pause(ctx context.Context) error {
	_, err := r.call(ctx, request{Do: doPause})
	return err
}

// Resume lets a paused server go on and returns when it does. Idempotent; ErrDown where it does not run.
func (r *Remote) Resume(ctx context.Context) error {
	_, err := r.call(ctx, request{Do: doResume})
	return err
}

// Packets replaces the whole set of what is done to packets. The zero Set heals.
func (r *Remote) Packets(ctx context.Context, set packets.Set) error {
	_, err := r.call(ctx, request{Do: doPackets, Packets: &set})
	return err
}

// Counts tells what has been done to packets since the last call of Packets, through restarts of the server.
func (r *Remote) Counts(ctx context.Context) ([]packets.Count, error) {
	a, err := r.call(ctx, request{Do: doCounts})
	return a.Counts, err
}

// Skew falsifies the server's clocks, and those of its next lives; the zero Skew mends them. A server that is down has its clocks
// falsified when it starts. turn, if it is not 0, makes it safe to ask again for what may have been done: a turn that is not above that of the skew in
// force changes nothing.
func (r *Remote) Skew(ctx context.Context, turn uint64, s cluster.Skew) error {
	_, err := r.call(ctx, request{Do: doSkew, Skew: &s, Turn: turn})
	return err
}

// Write replaces the file of this name in the agent's directory atomically. Names have no slashes; files up to 512 KiB.
func (r *Remote) Write(ctx context.Context, name string, content []byte) error {
	_, err := r.call(ctx, request{Do: doWrite, Name: name, Content: content})
	return err
}

// Probe connects from within the node's network to each target, Times times one after the other, the targets side by side, greets it with
// rubbish and waits until it hangs up. It returns in the targets' order how long each took, negative where nothing but a clean end would have
// been an answer: silence, a refusal, a reset.
func (r *Remote) Probe(ctx context.Context, targets []Target) ([][]time.Duration, error) {
	a, err := r.call(ctx, request{Do: doProbe, Targets: targets})
	return a.Trips, err
}

// State of the agent and its server.
func (r *Remote) State(ctx context.Context) (State, error) {
	a, err := r.call(ctx, request{Do: doState})
	if err == nil && a.State == nil {
		err = errors.New("the agent's answer has no state")
	}
	if err != nil {
		return State{}, err
	}
	return *a.State, nil
}

// Close ends the session and closes the stream. Faults stay until the grace has passed. Idempotent.
func (r *Remote) Close() error { return r.fail(errClosed) }

// Done is closed when the session has ended.
func (r *Remote) Done() <-chan struct{} { return r.done }

// Err tells why the session has ended; nil while it has not.
func (r *Remote) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// fail ends the session; the first reason stays.
func (r *Remote) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil
	}
	r.err = err
	close(r.done)
	return r.rw.Close()
}

func (r *Remote) call(ctx context.Context, q request) (answer, error) {
	a, err := r.ask(ctx, q)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("%s: %w", q.Do, err)
	case a.Down:
		return answer{}, fmt.Errorf("%s: %w", q.Do, ErrDown)
	case a.Stepped:
		return answer{}, fmt.Errorf("%s: %w", q.Do, cluster.ErrStepped)
	case a.Error != "":
		return answer{}, fmt.Errorf("%s: %s", q.Do, a.Error)
	}
	return a, nil
}

func (r *Remote) ask(ctx context.Context, q request) (answer, error) {
	got := make(chan answer, 1)
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return answer{}, r.err
	}
	r.last++
	q.ID = r.last
	r.waiting[q.ID] = got
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiting, q.ID)
		r.mu.Unlock()
	}()
	line, err := encode(q)
	if err != nil {
		return answer{}, err
	}
	select {
	case r.out <- line:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-r.done:
		return answer{}, r.Err()
	}
	select {
	case a := <-got:
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-r.done:
		return answer{}, r.Err()
	}
}

// send writes the lines. A container that is frozen takes none for as long, and no caller waits longer than it wants to.
func (r *Remote) send() {
	for {
		select {
		case line := <-r.out:
			if _, err := r.rw.Write(line); err != nil {
				r.fail(fmt.Errorf("write to the agent: %w", err))
				return
			}
		case <-r.done:
			return
		}
	}
}

// receive reads the agent's lines until the end.
func (r *Remote) receive() {
	lines := linesOf(r.rw)
	for lines.Scan() {
		var a answer
		if err := decode(lines.Bytes(), &a); err != nil {
			r.fail(fmt.Errorf("the agent says %.200q: %w", lines.Bytes(), err))
			return
		}
		if a.Lapse != nil && a.Lapse.Count > r.lapses {
			r.lapses = a.Lapse.Count
			if !r.happened(Event{Lapse: a.Lapse}) {
				return
			}
		}
		switch {
		case a.Event != nil:
			if !r.happened(*a.Event) {
				return
			}
		case a.ID == 0:
			r.fail(fmt.Errorf("the agent ends the session: %s", a.Error))
			return
		default:
			r.mu.Lock()
			got := r.waiting[a.ID]
			delete(r.waiting, a.ID)
			r.mu.Unlock()
			if got != nil { // else nobody waits for it any more
				got <- a
			}
		}
	}
	err := lines.Err()
	if err == nil {
		err = io.EOF
	}
	r.fail(fmt.Errorf("the agent has gone: %w", err))
}

// happened hands an event to tell; false where there are more than an agent ever has untold.
func (r *Remote) happened(e Event) bool {
	select {
	case r.events <- e:
		return true
	default:
		r.fail(errors.New("the agent tells more than can have happened"))
		return false
	}
}

// tell passes events on, also those that had come when the session broke.
func (r *Remote) tell() {
	pass := func(e Event) {
		if r.told != nil {
			r.told(e)
		}
		if e.Ended != nil {
			r.call(context.Background(), request{Do: doNoted, Life: e.Ended.Life}) // if it fails the next session is told again
		}
	}
	for {
		select {
		case e := <-r.events:
			pass(e)
		case <-r.done:
			if len(r.events) == 0 {
				return
			}
			pass(<-r.events)
		}
	}
}

// beat keeps the agent from healing. One beat at a time: while the agent is frozen they do not pile up.
func (r *Remote) beat() {
	ctx := context.Background()
	a, err := r.call(ctx, request{Do: doListen})
	if err != nil {
		return
	}
	every := beatEvery
	if a.State != nil && a.State.Grace > 0 {
		every = min(every, max(a.State.Grace/5, time.Millisecond))
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if _, err := r.call(ctx, request{Do: doBeat}); err != nil && r.Err() != nil {
				return
			}
		case <-r.done:
			return
		}
	}
}
