package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// director of what a log's two goroutines do to the disk. While the log takes a step of its script, what writes a base waits before each thing that it
// does, until the schedule lets it go on: so an interleaving is repeated as it was. One thing is the last before the crash.
type director struct {
	left     int                // things done until the crash
	schedule func(main int) int // how many things the writer of bases does before the main goroutine's next
	main     int                // things that one has done
	kinds    map[string]int     // what was done
	beside   int                // of it while a step of the script was under way

	mu     sync.Mutex
	held   bool
	parked chan struct{} // what the writer of bases waits for; nil: it does not
}

func (d *director) step(what string) error {
	writer := what == "remove" || strings.HasSuffix(what, "base")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held && writer {
		park := make(chan struct{})
		d.parked = park
		d.mu.Unlock()
		<-park
		d.mu.Lock()
		if d.held {
			d.beside++
		}
	} else if d.held {
		for range d.schedule(d.main) {
			d.mu.Unlock()
			more := d.grant()
			d.mu.Lock()
			if !more {
				break
			}
		}
		d.main++
	}
	if d.left == 0 {
		return fmt.Errorf("%w before %s", errCrash, what)
	}
	d.left--
	d.kinds[what]++
	return nil
}

// grant lets the writer of bases do one thing, and waits until it has.
func (d *director) grant() bool {
	synctest.Wait()
	d.mu.Lock()
	park := d.parked
	d.parked = nil
	d.mu.Unlock()
	if park == nil {
		return false
	}
	close(park)
	synctest.Wait()
	return true
}

func (d *director) hold(held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held = held; !held && d.parked != nil {
		close(d.parked)
		d.parked = nil
	}
}

// perform a script until the crash. It returns how many steps were taken, and the crash, or nil.
func (d *director) perform(dir string, steps []step, lists [][]string) (done int, err error) {
	l, _, err := Open(dir, Options{Segment: 600, chunk: 100, step: d.step})
	if err != nil {
		return 0, err
	}
	for ; done < len(steps) && err == nil; done++ {
		// An installation waits for the writer of bases to be gone.
		d.hold(steps[done].install == nil)
		err = steps[done].take(l, lists[done])
	}
	d.left = 0
	d.hold(false)
	die(l)
	if err != nil {
		done--
	}
	return done, err
}

// memory is a directory in memory, where there is such: what is tried thousands of times need not wait for a disk.
func memory(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "wal"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// TestCrashAtEveryStep stops the log before each single thing that one of its goroutines does to the disk, in many interleavings of the two, and sees to it
// that all that Append and Install had returned for is there, and no more than the one batch that was on its way.
func TestCrashAtEveryStep(t *testing.T) {
	steps, lists := script()
	schedules := []func(int) int{
		func(int) int { return 0 },
		func(int) int { return 1 },
		func(int) int { return 1000 },
		func(main int) int { return 3 * (main % 2) },
		func(main int) int { return 1000 * (main / 7 % 2) },
	}
	for seed := range uint64(3) {
		schedules = append(schedules, func(main int) int { return rand.New(rand.NewPCG(seed, uint64(main))).IntN(4) })
	}
	kinds, snapshots, beside := map[string]int{}, map[bool]int{}, 0
	for n, schedule := range schedules {
		for crash := 0; ; crash++ {
			dir := memory(t)
			through := false
			synctest.Test(t, func(t *testing.T) {
				d := &director{left: crash, schedule: schedule, kinds: kinds}
				done, err := d.perform(dir, steps, lists)
				through = err == nil
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				beside += d.beside
				snapshots[recovers(t, fmt.Sprintf("schedule %d, %v", n, err), dir, lists[done], lists[min(done+1, len(steps))])]++
			})
			if through {
				break
			}
		}
	}
	for _, k := range []string{
		"create", "preallocate", "write segment", "sync segment", "rename", "sync directory", "write frame", "sync", "remove",
		"create base", "preallocate base", "write base", "sync base", "rename base", "sync directory of base",
	} {
		if kinds[k] == 0 {
			t.Errorf("no crash after %q", k)
		}
	}
	if snapshots[false] == 0 || snapshots[true] == 0 || beside == 0 {
		t.Errorf("with and without a snapshot: %v; %d things done beside appends", snapshots, beside)
	}
}

// recovers opens what a crash has left, which must be one list or the other, and goes on with it.
func recovers(t *testing.T, after, dir string, lists ...[]string) (snapshot bool) {
	t.Helper()
	l, found := open(t, dir, Options{Segment: 600})
	got := seen(found)
	if !slices.ContainsFunc(lists, func(want []string) bool { return slices.Equal(got, want) }) {
		t.Fatalf("%s: got %q, want one of %q", after, got, lists)
	}
	want := max(found.Segments, 1)
	if found.Snapshot != nil {
		want++
	}
	if left := names(t, dir); len(left) != want {
		t.Fatalf("%s: %d files are left, %d are the log: %v", after, len(left), want, left)
	}
	if err := appendText(l, "after"); err != nil {
		t.Fatal(err)
	}
	die(l)
	if _, again := open(t, dir, Options{}); !slices.Equal(seen(again), append(got, "after")) {
		t.Fatalf("%s: after the restart: got %q", after, seen(again))
	}
	return found.Snapshot != nil
}

// failing is a step hook for one kind of thing, as many times.
func failing(what string, err error, times int) func(string) error {
	var mu sync.Mutex
	return func(did string) error {
		mu.Lock()
		defer mu.Unlock()
		if did == what && times > 0 {
			times--
			return err
		}
		return nil
	}
}

// TestFailedBaseEndsTheLog, and whoever has asked for it is told.
func TestFailedBaseEndsTheLog(t *testing.T) {
	for _, what := range []string{"create base", "write base", "sync base", "rename base", "sync directory of base", "remove"} {
		fire := errors.New("disk on fire")
		dir := t.TempDir()
		l, _, err := Open(dir, Options{step: failing(what, fire, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if err := appendText(l, "a"); err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 1)
		if err := l.Checkpoint([]byte("a"), nil, func(err error) { told <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-told; !errors.Is(err, fire) {
			t.Errorf("%s: told %v", what, err)
		}
		for _, err := range []error{appendText(l, "b"), l.Checkpoint(nil, nil, nil), l.Install(nil, nil)} {
			if !errors.Is(err, fire) {
				t.Errorf("%s: got %v after it had failed", what, err)
			}
		}
		l.Close()
		if _, found := open(t, dir, Options{}); !slices.Equal(seen(found), []string{"a"}) {
			t.Errorf("%s: got %q", what, seen(found))
		}
	}
}

// TestNewestCheckpointIsWrittenNext: what is being written is finished, what waits behind it gives way.
func TestNewestCheckpointIsWrittenNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := &director{left: 1 << 30, schedule: func(int) int { return 0 }, kinds: map[string]int{}}
		l, _ := open(t, dir, Options{step: d.step})
		d.hold(true)
		for _, s := range []string{"one", "two", "three"} {
			if err := errors.Join(appendText(l, "record "+s), l.Checkpoint([]byte(s), nil, nil)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		d.hold(false)
		l.beside.Wait()
		if err := appendText(l, "behind"); err != nil {
			t.Fatal(err)
		}
		if got := d.kinds["rename base"]; got != 2 {
			t.Errorf("%d bases were written, want the first and the last", got)
		}
		die(l)
		if _, found := open(t, dir, Options{}); string(found.Snapshot) != "three" || len(found.Records) != 1 || found.Segments != 1 {
			t.Errorf("got %q and %d records in %d segments", found.Snapshot, len(found.Records), found.Segments)
		}
	})
}

// TestUnwantedBaseGoesAway: an installation and the log's end do not wait for a checkpoint that is being written, and leave nothing of it.
func TestUnwantedBaseGoesAway(t *testing.T) {
	for _, install := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			d := &director{left: 1 << 30, schedule: func(int) int { return 0 }, kinds: map[string]int{}}
			l, _ := open(t, dir, Options{step: d.step, chunk: 10})
			d.hold(true)
			if err := errors.Join(appendText(l, "a"), l.Checkpoint([]byte(strings.Repeat("a", 1000)), nil, nil)); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				d.grant()
			}
			l.unwanted.Store(true)
			d.hold(false)
			want := []string{"a"}
			if install {
				want = []string{"b", "c"}
				if err := l.Install([]byte("b"), [][]byte{[]byte("c")}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := d.kinds["write base"]; got > 20 {
				t.Errorf("install %v: %d parts were written", install, got)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*"+leftover)); len(left) > 0 {
				t.Errorf("install %v: %v are left", install, left)
			}
			if _, found := open(t, dir, Options{}); !slices.Equal(seen(found), want) {
				t.Errorf("install %v: got %q, want %q", install, seen(found), want)
			}
		})
	}
}
