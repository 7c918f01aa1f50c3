package skew

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"runtime"
)

// replacement is machine code for the spare end of a vDSO, behind it its data, and the functions from which there is a jump to it.
type replacement struct {
	machine elf.Machine
	code    []byte // position independent, a multiple of 64 bytes
	entries []entry
	jump    func(from, to uint64) ([]byte, error)
	tried   bool // on a machine
}

// entry is a function of the vDSO and where in the code its replacement begins.
type entry struct {
	symbol string
	at     uint64
}

func (r replacement) size() uint64 { return uint64(len(r.code)) + dataSize }

// replacementFor this machine.
func replacementFor(arch string) (replacement, error) {
	switch arch {
	case "amd64":
		return x86, nil
	case "arm64":
		return aarch64, nil
	}
	return replacement{}, fmt.Errorf("clock skew is written for amd64 and arm64, not for %s", arch)
}

// Means tells in words how it is done, and whether this kind of machine has not been tried.
func Means() string {
	r, err := replacementFor(runtime.GOARCH)
	switch {
	case err != nil:
		return err.Error()
	case !r.tried:
		return "clocks by the vDSO (" + runtime.GOARCH + ": untried)"
	}
	return "clocks by the vDSO"
}

// image is the vDSO that the kernel gives to every program, and what is to be done to it. The bodies of its functions stay: a thread that is in
// the middle of one, or that a signal has taken away from there, finds it whole. Only their first few bytes become a jump to the code, which
// lies where the kernel's mapping has room left behind the loaded part of the file.
type image struct {
	replacement
	pristine []byte
	code     uint64 // offset
	patches  []patch
}

// patch of a function's first bytes.
type patch struct {
	at       uint64 // offset
	old, new []byte
}

// plan where the replacement goes. b is a whole mapping.
func plan(b []byte, r replacement) (image, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return image{}, fmt.Errorf("read the vDSO: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != r.machine || f.ByteOrder.String() != "LittleEndian" {
		return image{}, fmt.Errorf("the vDSO is for another kind of machine: %v, %v", f.Class, f.Machine)
	}
	var load *elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && load != nil {
			return image{}, errors.New("the vDSO has several loaded parts")
		}
		if p.Type == elf.PT_LOAD {
			load = p
		}
	}
	size := uint64(len(b))
	if load == nil || load.Off != 0 || load.Filesz > size || load.Memsz > size {
		return image{}, errors.New("the vDSO has no loaded part, or one that is not where it should be")
	}
	i := image{replacement: r, pristine: b}
	if size < r.size() || (size-r.size())&^63 < max(load.Filesz, load.Memsz) {
		return image{}, fmt.Errorf("the vDSO has too little room left: %d of %d bytes are used, %d are needed", load.Filesz, size, r.size())
	}
	i.code = (size - r.size()) &^ 63
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && (s.Offset > size || s.FileSize > size-s.Offset) || s.Flags&elf.SHF_COMPRESSED != 0 {
			return image{}, fmt.Errorf("the vDSO's section %s is not in it", s.Name)
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return image{}, fmt.Errorf("read the vDSO's symbols: %w", err)
	}
	for _, e := range r.entries {
		p, err := i.patch(e, symbols, load)
		if err != nil {
			return image{}, err
		}
		if bytes.Equal(p.old, p.new) {
			return image{}, errors.New("our own clocks are falsified, so that there is no vDSO to compare with")
		}
		i.patches = append(i.patches, p)
	}
	return i, nil
}

func (i image) patch(e entry, symbols []elf.Symbol, load *elf.Prog) (patch, error) {
	for _, s := range symbols {
		if s.Name != e.symbol || s.Section == elf.SHN_UNDEF || elf.ST_TYPE(s.Info) != elf.STT_FUNC {
			continue
		}
		at := s.Value - load.Vaddr
		jump, err := i.jump(at, i.code+e.at)
		if err != nil {
			return patch{}, fmt.Errorf("replace %s: %w", e.symbol, err)
		}
		end := at + uint64(len(jump))
		if s.Size < uint64(len(jump)) || end < at || end > load.Filesz {
			return patch{}, fmt.Errorf("replace %s: its %d bytes at %#x are too few for a jump, or not in the vDSO", e.symbol, s.Size, at)
		}
		for _, other := range i.patches {
			if at < other.at+uint64(len(other.new)) && other.at < end {
				return patch{}, fmt.Errorf("replace %s: another function is at the same place", e.symbol)
			}
		}
		return patch{at: at, old: i.pristine[at:end], new: jump}, nil
	}
	return patch{}, fmt.Errorf("the vDSO has no %s", e.symbol)
}

// data is where the code's data begin.
func (i image) data() uint64 { return i.code + uint64(len(i.replacement.code)) }

// patched tells whether b, the vDSO of a process, has got all of the replacement. An error says that it is neither that nor the kernel's.
func (i image) patched(b []byte) (bool, error) {
	if len(b) != len(i.pristine) {
		return false, fmt.Errorf("its vDSO has %d bytes, ours %d", len(b), len(i.pristine))
	}
	rest := bytes.Clone(b)
	all := true
	for _, p := range i.patches {
		there := rest[p.at : p.at+uint64(len(p.new))]
		all = all && bytes.Equal(there, p.new)
		if bytes.Equal(there, p.new) {
			copy(there, p.old)
		}
	}
	end := i.code + i.size()
	copy(rest[i.code:end], i.pristine[i.code:end])
	if !bytes.Equal(rest, i.pristine) {
		return false, errors.New("its vDSO is not the kernel's own: it is another kind of program, or somebody else has changed it")
	}
	if !all {
		return false, nil
	}
	if !bytes.Equal(b[i.code:i.data()], i.replacement.code) || !bytes.HasPrefix(b[i.data():], header()) {
		return false, errors.New("its clocks are falsified by another version of this program: undo it with that one, or restart the process")
	}
	return true, nil
}
