package skew

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The bytes are what an assembler makes of the sources in testdata.
func TestCodeIsWhatIsAssembled(t *testing.T) {
	for _, c := range []struct {
		prefix, source string
		replacement
	}{
		{"x86_64-linux-gnu-", "amd64.s", x86}, {"aarch64-linux-gnu-", "arm64.s", aarch64},
	} {
		t.Run(c.source, func(t *testing.T) {
			text, symbols := assembled(t, c.prefix, filepath.Join("testdata", c.source))
			if want := text[:symbols["magic"]]; !bytes.Equal(c.code, want) {
				t.Errorf("got\n%x, want\n%x", c.code, want)
			}
			if got, want := len(text), int(c.size()); got != want {
				t.Errorf("with its data it has %d bytes, want %d", got, want)
			}
			for name, want := range map[string]uint64{"turn": turnAt, "sets": setsAt, "classes": 8} {
				if got := symbols[name] - symbols["magic"]; got != want {
					t.Errorf("%s is at %d of the data, want %d", name, got, want)
				}
			}
			for _, e := range c.entries {
				_, name, _ := strings.Cut(strings.TrimPrefix(e.symbol, "__"), "_")
				if want, known := symbols[name]; !known || e.at != want {
					t.Errorf("%s begins at %#x, want %#x", e.symbol, e.at, want)
				}
			}
		})
	}
}

// assembled source, or a skip where the assembler is not installed.
func assembled(t *testing.T, prefix, source string) (text []byte, symbols map[string]uint64) {
	t.Helper()
	if _, err := exec.LookPath(prefix + "as"); err != nil {
		t.Skipf("%sas is not installed (Debian: binutils-%s)", prefix, strings.ReplaceAll(strings.TrimSuffix(prefix, "-"), "_", "-"))
	}
	object := filepath.Join(t.TempDir(), "o")
	run(t, prefix+"as", "-o", object, source)
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err = f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	symbols = map[string]uint64{}
	for _, s := range table {
		symbols[s.Name] = s.Value
	}
	return text, symbols
}

func run(t *testing.T, command ...string) []byte {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var noise bytes.Buffer
	cmd.Stderr = &noise
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, &noise)
	}
	return out
}

// vdso is a made one: two functions of 64 bytes for each entry's symbol, and size bytes of mapping.
func vdso(r replacement, size int) []byte {
	const head, body = 64 + 3*56, 64
	var names, syms, text []byte
	le := binary.LittleEndian
	names = append(names, 0)
	syms = make([]byte, 24)
	sections := 4
	at := head
	for i, e := range r.entries {
		s := make([]byte, 24)
		le.PutUint32(s, uint32(len(names)))
		s[4] = byte(elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC))
		le.PutUint16(s[6:], 3)
		le.PutUint64(s[8:], uint64(at+i*body))
		le.PutUint64(s[16:], body)
		syms, names = append(syms, s...), append(append(names, e.symbol...), 0)
		text = append(text, bytes.Repeat([]byte{0x90}, body)...)
	}
	symAt := at + len(text)
	nameAt := symAt + len(syms)
	loaded := nameAt + len(names)
	b := make([]byte, size)
	copy(b, append(append(append(make([]byte, head), text...), syms...), names...))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], uint16(elf.ET_DYN))
	le.PutUint16(b[18:], uint16(r.machine))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64)             // program headers
	le.PutUint64(b[40:], uint64(loaded)) // section headers
	for i, v := range []uint16{64, 56, 1, 64, uint16(sections), 2} {
		le.PutUint16(b[52+2*i:], v)
	}
	le.PutUint32(b[64:], uint32(elf.PT_LOAD))
	le.PutUint64(b[64+32:], uint64(loaded))
	le.PutUint64(b[64+40:], uint64(loaded))
	for i, s := range []struct{ kind, at, size, link, entry int }{
		{}, {int(elf.SHT_DYNSYM), symAt, len(syms), 2, 24}, {int(elf.SHT_STRTAB), nameAt, len(names), 0, 0}, {int(elf.SHT_PROGBITS), at, len(text), 0, 0},
	} {
		h := b[loaded+64*i:]
		le.PutUint32(h[4:], uint32(s.kind))
		le.PutUint64(h[24:], uint64(s.at))
		le.PutUint64(h[32:], uint64(s.size))
		le.PutUint32(h[40:], uint32(s.link))
		le.PutUint64(h[56:], uint64(s.entry))
	}
	return b
}

func TestPlan(t *testing.T) {
	for _, r := range []replacement{x86, aarch64} {
		b := vdso(r, 4096)
		i, err := plan(b, r)
		if err != nil {
			t.Fatal(err)
		}
		if i.code%64 != 0 || i.code+i.size() > 4096 {
			t.Errorf("%v: the code is at %#x", r.machine, i.code)
		}
		for k, p := range i.patches {
			to := i.code + r.entries[k].at
			var got uint64
			if r.machine == elf.EM_X86_64 {
				got = p.at + 5 + uint64(int64(int32(binary.LittleEndian.Uint32(p.new[1:]))))
			} else {
				got = p.at + 4 + 4*uint64(binary.LittleEndian.Uint32(p.new[4:])&(1<<26-1))
			}
			if got != to {
				t.Errorf("%v: %s leads to %#x, want %#x", r.machine, r.entries[k].symbol, got, to)
			}
			copy(b[p.at:], p.new)
		}
		done := bytes.Clone(b)
		copy(done[i.code:], r.code)
		copy(done[i.data():], header())
		i, _ = plan(vdso(r, 4096), r)
		if got, err := i.patched(done); !got || err != nil {
			t.Errorf("%v: patched: %v, %v", r.machine, got, err)
		}
		if _, err := i.patched(b); err == nil {
			t.Errorf("%v: jumps to nowhere are no patch", r.machine)
		}
		if got, err := i.patched(i.pristine); got || err != nil {
			t.Errorf("%v: the kernel's own: %v, %v", r.machine, got, err)
		}
		if _, err := i.patched(i.pristine[:4095]); err == nil {
			t.Error("a shorter one is not the kernel's")
		}
		done[i.patches[0].at+40]++
		if _, err := i.patched(done); err == nil {
			t.Error("one that somebody has changed is not the kernel's")
		}
	}
}

func TestWhatCannotBePlanned(t *testing.T) {
	one := func(change func(b []byte)) []byte {
		b := vdso(x86, 4096)
		change(b)
		return b
	}
	for want, b := range map[string][]byte{
		"read the vDSO":           nil,
		"another kind of machine": vdso(aarch64, 4096),
		"too little room":         vdso(x86, 1280),
		"no __vdso_time":          bytes.Replace(vdso(x86, 4096), []byte("__vdso_time"), []byte("__vdso_tine"), 1),
		"too few":                 one(func(b []byte) { binary.LittleEndian.PutUint64(b[64+3*56+3*64+24+16:], 4) }),
		"at the same place":       one(func(b []byte) { binary.LittleEndian.PutUint64(b[64+3*56+3*64+2*24+8:], 64+3*56+3) }),
		"several loaded parts":    one(func(b []byte) { b[56] = 2; copy(b[64+56:64+112], b[64:64+56]) }),
		"no loaded part":          one(func(b []byte) { b[64] = 4 }),
	} {
		if _, err := plan(b, x86); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := replacementFor("riscv64"); err == nil {
		t.Error("riscv64 is not written")
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(vdso(x86, 4096), true)
	f.Add(vdso(aarch64, 4096), false)
	f.Add([]byte("\x7fELF"), true)
	f.Fuzz(func(t *testing.T, b []byte, intel bool) {
		r := aarch64
		if intel {
			r = x86
		}
		i, err := plan(b, r)
		if err != nil {
			return
		}
		for _, p := range i.patches {
			if len(p.old) != len(p.new) || p.at+uint64(len(p.new)) > i.code {
				t.Errorf("patch of %d bytes at %#x by %d; code at %#x", len(p.old), p.at, len(p.new), i.code)
			}
		}
		if got, err := i.patched(b); got || err != nil {
			t.Errorf("the planned one itself: %v, %v", got, err)
		}
	})
}
