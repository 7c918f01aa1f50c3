package skew

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"assize/cluster"
)

// The code for arm64 under an emulator: no machine of that kind has run it yet.
func TestArm64UnderQEMU(t *testing.T) {
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Skip("qemu-aarch64-static is not installed (Debian: qemu-user-static)")
	}
	if _, err := exec.LookPath("aarch64-linux-gnu-ld"); err != nil {
		t.Skip("aarch64-linux-gnu-ld is not installed (Debian: binutils-aarch64-linux-gnu)")
	}
	now := time.Now().UnixNano()
	past := truthfulSet()
	past.lines = [lines]line{{now - 3e12, now + 1e12, 3 * one / 2}, {1e9, 7e9, 2 * one}, {2e9, -5e9, one / 2}, {1e9, -1e15, 9 * one}}
	// A set that begins in an hour leaves the word to the one before it.
	var soon [lines]int64
	for i := range soon {
		soon[i] = now + int64(time.Hour)
	}
	future, err := past.skewed(soon, cluster.Skew{Wall: time.Hour, Mono: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	gettimeofday := aarch64.entries[1].at
	for name, c := range map[string]struct {
		turn byte
		sets [sets]set
	}{
		"in force":     {turn: 6, sets: [sets]set{2: past}},
		"not yet":      {turn: 7, sets: [sets]set{2: past, 3: future}},
		"not yet, old": {turn: 4, sets: [sets]set{3: past, 0: future}},
	} {
		t.Run(name, func(t *testing.T) {
			data := append(header(), make([]byte, dataSize-len(header()))...)
			data[turnAt] = c.turn
			for i, s := range c.sets {
				copy(data[setsAt+i*setSize:], s.encode())
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "blob"), append(append([]byte{}, aarch64Code...), data...), 0o666); err != nil {
				t.Fatal(err)
			}
			object, program := filepath.Join(dir, "o"), filepath.Join(dir, "program")
			run(t, "aarch64-linux-gnu-as", "-I", dir, "--defsym", fmt.Sprintf("GETTIMEOFDAY=%d", gettimeofday), "-o", object, "testdata/arm64_calls.s")
			run(t, "aarch64-linux-gnu-ld", "--omagic", "-o", program, object)
			calls(t, run(t, qemu, program), past)
		})
	}
}

// calls are what testdata/arm64_calls.s writes.
func calls(t *testing.T, b []byte, s set) {
	t.Helper()
	const width = 56
	classes := []int{wall, mono, raw, wall, mono, boot, -1, -2, -3, 4, 5}
	if len(b) != width*len(classes) {
		t.Fatalf("got %d bytes, want %d", len(b), width*len(classes))
	}
	for i, class := range classes {
		var v [7]int64
		for k := range v {
			v[k] = int64(binary.LittleEndian.Uint64(b[i*width+8*k:]))
		}
		before, after, got := v[0]*1e9+v[1], v[5]*1e9+v[6], v[2]*1e9+v[3]
		status := v[4]
		switch class {
		case -3: // the processor time of a process, by the system call
			if status != 0 && status != -22 {
				t.Errorf("call %d: returned %d", i, status)
			}
			continue
		case -2:
			if status != -22 {
				t.Errorf("call %d: returned %d, want EINVAL", i, status)
			}
			continue
		case 5:
			if status != 0 {
				t.Errorf("call %d: returned %d, want nothing done", i, status)
			}
			continue
		case 4: // gettimeofday, in whole microseconds
			class, got, before = wall, v[2]*1e9+v[3]*1e3, before-2e3
		}
		from, to := before, after
		if class >= 0 {
			from, to = s.lines[class].at(before), s.lines[class].at(after)
		}
		if status != 0 || got < from || got > to || v[3] < 0 || v[3] > 999999999 {
			t.Errorf("call %d: returned %d and %d, want from %d to %d", i, status, got, from, to)
		}
	}
}
