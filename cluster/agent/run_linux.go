package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"assize/cluster"
	"assize/cluster/packets"
)

const (
	endBound   = 8 * time.Second // for the server, when the agent is to end: the engine gives both 10 s
	closeBound = time.Second     // for sessions to read the last words
)

var errEnding = errors.New("the agent is ending")

// agent is a running one.
type agent struct {
	config    Config
	server    *server
	hub       hub
	vigil     vigil
	voice     *voice
	abilities func() packets.Abilities
	over      chan struct{} // the server has ended by itself, and the agent is to end with it
	lapse     atomic.Pointer[Lapse]

	turn    sync.Mutex // held through each change, one at a time
	faults  faults
	args    []string // of the server
	started bool     // it has been, once
	ending  bool
}

// Run runs the agent, and the server as its child, until ctx is done, or, without Hold, until the server ends by itself. It returns the status
// to exit with, the server's where that has ended last. When ctx is done the server is sent SIGTERM, and killed if that does not end it.
func Run(ctx context.Context, c Config) (status int, err error) { return run(ctx, c, kernel) }

func run(ctx context.Context, c Config, p powers) (int, error) {
	if c.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return 0, fmt.Errorf("find this executable: %w", err)
		}
		c.Binary = own
	}
	if c.Output == nil {
		c.Output = os.Stdout
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return 0, err
	}
	// Only a first process inherits orphans unasked.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	a := newAgent(c, p)
	if c.Hold {
		a.recall()
	}
	if c.Table != "" {
		if err := p.sweep(c.Table); err != nil {
			a.voice.say("sweep the packet filter's table %s: %v", c.Table, err)
		}
	}
	listener, err := listen(filepath.Join(c.Dir, socketName))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup // also the reaper, which the end of the server needs
	reaping, stop := context.WithCancel(context.Background())
	work.Go(func() { a.server.reapAll(reaping) })
	work.Go(func() { a.watch(ctx) })
	work.Go(func() { a.accept(listener, &work) })
	defer work.Wait()
	defer stop()
	defer a.hub.close()
	defer listener.Close()
	defer cancel()
	if !c.Hold {
		if err := a.change(func() error { return a.start(c.Args) }); err != nil {
			return 0, err
		}
	}
	select {
	case <-a.over:
	case <-ctx.Done():
	}
	return a.finish(), nil
}

// finish ends the server, whose status it returns, and nothing is changed any more.
func (a *agent) finish() int {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.ending = true
	code := a.server.terminate(endBound)
	if err := a.heal(); err != nil {
		a.voice.say("%v", err)
	}
	return code
}

func newAgent(c Config, p powers) *agent {
	a := &agent{config: c, over: make(chan struct{}, 1), voice: &voice{w: c.Output}}
	a.faults = faults{powers: p, table: c.Table}
	a.abilities = sync.OnceValue(p.abilities)
	a.vigil = vigil{grace: c.Grace, kept: c.Hold, last: time.Now()}
	a.server = &server{binary: c.Binary, voice: a.voice, ended: a.ended}
	return a
}

// listen at the socket. One that nobody serves any more is left from an agent that was killed.
func listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another agent listens at %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (a *agent) accept(l net.Listener, work *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely: some will come back
			time.Sleep(attachEvery)
			continue
		}
		work.Go(func() { a.serve(conn) })
	}
}

// ended takes notice of the end of a life.
func (a *agent) ended(l *life) {
	a.voice.say("the server ended with %s", l.end.Status)
	a.hub.ended(l.end)
	if !a.config.Hold && !l.end.Asked {
		select {
		case a.over <- struct{}{}:
		default:
		}
	}
}

// change something, one at a time.
func (a *agent) change(what func() error) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	if a.ending {
		return errEnding
	}
	return what()
}

// obey a request that has to wait for its turn.
func (a *agent) obey(q request) (got answer) {
	err := a.change(func() (err error) {
		switch q.Do {
		case doStart:
			err = a.start(q.Args)
		case doKill:
			err = a.server.kill()
		case doPause:
			err = a.server.pause()
		case doResume:
			err = a.server.resume()
		case doPackets:
			err = a.filterPackets(q)
		case doCounts:
			got.Counts, err = a.faults.counts()
		case doSkew:
			err = a.skew(q)
		case doWrite:
			err = write(a.config.Dir, q.Name, q.Content)
		case doState:
			got.State = a.state()
		default:
			err = fmt.Errorf("it cannot %.40q", q.Do)
		}
		// What has waited for its turn behind a slow order may be done after its controller has died, even after a healing: it expires, too.
		a.vigil.hear()
		return err
	})
	if err != nil {
		got.Error, got.Down, got.Stepped = err.Error(), errors.Is(err, ErrDown), errors.Is(err, cluster.ErrStepped)
	}
	return got
}

// start the server if it does not run: packets first, lest its first ones pass, then its clocks, as soon as there are any.
func (a *agent) start(args []string) error {
	if a.pid() != 0 {
		return nil
	}
	if err := a.faults.renew(); err != nil {
		return fmt.Errorf("the packets' set: %w", err)
	}
	l, err := a.server.start(args)
	if err != nil || l == nil {
		return err
	}
	a.args, a.started = args, true
	if a.config.Hold {
		if err := a.remember(); err != nil {
			a.voice.say("%v", err)
		}
	}
	if err := a.faults.inherit(l.pid, time.Now()); err != nil {
		// With true clocks it is not what was asked for, and the next start would find that it runs.
		return errors.Join(fmt.Errorf("the started server's clocks: %w", err), a.server.kill())
	}
	return nil
}

// argsName is the file of the server's arguments. An agent whose container has been killed and started again by whoever cleans up after a dead
// controller has no other way to know them.
const argsName = "agent.args"

func (a *agent) remember() error {
	b, err := json.Marshal(a.args)
	if err == nil {
		err = write(a.config.Dir, argsName, b)
	}
	if err != nil {
		return fmt.Errorf("remember the server's arguments: %w", err)
	}
	return nil
}

// recall what an agent of this node before us has started. A file that cannot be read is none.
func (a *agent) recall() {
	b, err := os.ReadFile(filepath.Join(a.config.Dir, argsName))
	var args []string
	if err == nil && json.Unmarshal(b, &args) == nil && len(args) > 0 {
		a.args, a.started = args, true
	}
}

// pid of the server that runs, or 0: then its last life's clocks are let go of.
func (a *agent) pid() int {
	if l := a.server.running(); l != nil {
		return l.pid
	}
	if err := a.faults.release(); err != nil {
		a.voice.say("let go of the clocks of a server that has ended: %v", err)
	}
	return 0
}

func (a *agent) filterPackets(q request) error {
	if q.Packets == nil {
		return errors.New("no set of packets")
	}
	return a.faults.filterPackets(*q.Packets)
}

func (a *agent) skew(q request) error {
	if q.Skew == nil {
		return errors.New("no skew")
	}
	// Its jumps are added to where the clocks stand: an order that was thought lost must not be carried out once more.
	if q.Turn != 0 && q.Turn <= a.faults.turn {
		return nil
	}
	err := a.faults.skewClocks(*q.Skew, a.pid(), time.Now())
	if err != nil && !errors.Is(err, cluster.ErrStepped) {
		a.server.reap() // the server's end may be why, and is to be known when we answer
		return err
	}
	a.faults.turn = max(a.faults.turn, q.Turn)
	return err
}

func (a *agent) state() *State {
	healed, at := a.vigil.healings()
	s := &State{
		Packets: a.faults.set, Skew: a.faults.skew, Args: slices.Clone(a.args), Abilities: a.abilities(), Grace: a.config.Grace,
		Healed: healed, HealedAt: at,
	}
	if err := a.faults.able(); err != nil {
		s.SkewLack = err.Error()
	}
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	s.Life = a.server.lives
	if l := a.server.life; l != nil && !l.gone {
		s.Running, s.Pid, s.Paused = true, l.pid, l.paused
	}
	return s
}

// write replaces a file in the directory.
func write(dir, name string, content []byte) error {
	if name == "" || name == "." || name == ".." || name == socketName || strings.ContainsAny(name, "/\x00") || len(content) > maxContent {
		return fmt.Errorf("write %.80q with %d bytes: want a plain name and at most %d bytes", name, len(content), maxContent)
	}
	f, err := os.CreateTemp(dir, ".agent-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// watch heals when the controller has been silent for the grace.
func (a *agent) watch(ctx context.Context) {
	if a.config.Grace <= 0 {
		return
	}
	ticker := time.NewTicker(max(a.config.Grace/looks, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if a.vigil.look(time.Now()) {
			if err := a.change(a.expire); err != nil {
				a.voice.say("%v", err)
			}
		}
	}
}

// expire heals all that a controller has done, unless it has spoken again meanwhile.
func (a *agent) expire() error {
	if !a.vigil.still() {
		return nil
	}
	before := a.inForce()
	err := a.heal()
	switch {
	case a.pid() != 0:
		err = errors.Join(err, a.server.resume())
	case a.started:
		err = errors.Join(err, a.start(a.args))
	}
	a.lapsed(before)
	a.vigil.note(time.Now(), err == nil)
	if err == nil {
		a.voice.say("healed: the controller has been silent for %v", a.config.Grace)
	}
	return err
}

// inForce is what a healing undoes, in words for when it has.
func (a *agent) inForce() (what []string) {
	if !untouched(a.faults.set) {
		what = append(what, "packets pass again")
	}
	if a.faults.skew != (cluster.Skew{}) {
		what = append(what, "clocks are true again")
	}
	switch l := a.server.running(); {
	case l == nil && a.started:
		what = append(what, "the server has been started")
	case l != nil && a.server.isPaused(l):
		what = append(what, "the server goes on")
	}
	return what
}

// lapsed takes note of what was in force before and is so no more. A healing that found nothing to heal has misled nobody.
func (a *agent) lapsed(before []string) {
	still := a.inForce()
	undone := slices.DeleteFunc(before, func(what string) bool { return slices.Contains(still, what) })
	if len(undone) == 0 {
		return
	}
	count := 1
	if last := a.lapse.Load(); last != nil {
		count += last.Count
	}
	a.lapse.Store(&Lapse{Count: count, What: strings.Join(undone, ", ")})
}

// heal packets and clocks.
func (a *agent) heal() error {
	a.pid()
	if err := a.faults.heal(); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	return nil
}
