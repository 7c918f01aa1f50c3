package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

func examples() []Op {
	return []Op{
		{Process: Harness, Kind: Info, Phase: PhaseStorm},
		{Process: 3, Kind: Invoke, Node: "n1", Txn: Txn{{F: CAS, Key: "k1", In: []int{1, -2}}}},
		{Process: 3, Kind: OK, Node: "n1", Version: 1<<64 - 1, Position: 7, Note: "term 2, \"index\" 9\n\x00 ü \\", Txn: Txn{
			{F: Read, Key: "k1", Out: []int{5}}, {F: Scan, Key: "s<>", Out: []int{1, 2, 3}}}},
		{Process: Nemesis, Kind: Info, Fault: &Fault{ID: 2, Name: "kill", What: "killed n1", Nodes: []string{"n1", "n2"}, Held: true, Probe: "dial"}},
		{Process: Nemesis, Kind: Info, Fault: &Fault{ID: 2, Name: "kill", Mended: true}},
		{Process: Harness, Kind: Info, State: &State{Node: "n1", Applied: 12, Hash: 0x00ff}},
		{Process: Harness, Kind: Info, State: &State{Node: "n2", Hash: 1<<64 - 1, Note: "no answer"}},
		{Process: 1 << 40, Kind: Fail, Txn: Txn{{F: "release"}}},
		{Process: 4, Kind: Invoke, Node: "n1", Txn: Txn{{F: Connect}}},
		{Process: 4, Kind: OK, Node: "n1", Session: 1<<63 | 7, Txn: Txn{{F: Connect, Out: []int{4000}}}},
		{Process: 4, Kind: Notify, Node: "n1", Session: 1<<63 | 7, Txn: Txn{{F: Changed, Key: "k1"}}},
	}
}

func clock() func() time.Duration {
	var t time.Duration
	return func() time.Duration { t += 1500; return t }
}

func record(t *testing.T, ops []Op) (string, []Op) {
	t.Helper()
	var out bytes.Buffer
	r := NewRecorder(&out, clock())
	for _, op := range ops {
		r.Record(op)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String(), r.Ops()
}

func TestLine(t *testing.T) {
	text, _ := record(t, examples())
	want := `{"i":2,"t":4500,"p":3,"k":"ok","x":[{"f":"read","k":"k1","out":[5]},{"f":"scan","k":"s<>","out":[1,2,3]}],"n":"n1",` +
		`"v":18446744073709551615,"r":7,"note":"term 2, \"index\" 9\n\u0000 ü \\"}`
	if got := strings.Split(text, "\n")[2]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReadGivesWhatWasRecorded(t *testing.T) {
	text, want := record(t, examples())
	got, err := ReadFrom("h", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if want[4].Index != 4 || want[4].Time != 5*1500 {
		t.Errorf("got index %d at %d, want 4 at 7500", want[4].Index, want[4].Time)
	}
}

// TestReadTorn cuts a history at every byte: what was whole is kept, nothing else.
func TestReadTorn(t *testing.T) {
	text, all := record(t, examples())
	for cut := range len(text) {
		for _, tail := range []string{"", strings.Repeat("\x00", 3), strings.Repeat("\x00", 200_000)} {
			got, err := ReadFrom("h", strings.NewReader(text[:cut]+tail))
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			want := strings.Count(text[:cut], "\n")
			if text[cut] == '\n' && tail == "" {
				want++ // only the line's end is missing
			}
			if len(got) != want || want > 0 && !reflect.DeepEqual(got, all[:want]) {
				t.Fatalf("cut at %d with %d NULs: got %d events, want %d", cut, len(tail), len(got), want)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	text, _ := record(t, examples())
	lines := strings.SplitAfter(text, "\n")
	for _, c := range []struct{ name, text, want string }{
		{"rubbish in the middle", lines[0] + "rubbish\n" + lines[1], "h:2: "},
		{"rubbish at the end", lines[0] + "rubbish\n", "h:2: "},
		{"NULs in the middle", lines[0] + "\x00\x00\n" + lines[1], "h:2: "},
		{"NULs over pieces, then an event", lines[0] + strings.Repeat("\x00", 1<<17) + lines[1], "h:2: "},
		{"an empty line", lines[0] + "\n" + lines[1], "h:2: the line is empty"},
		{"a hole", lines[0] + lines[2], "h:2: event 2 stands where event 1 belongs"},
		{"an event twice", lines[0] + lines[0], "h:2: event 0 stands where event 1 belongs"},
		{"a hole before a last line without an end", lines[0] + strings.TrimSuffix(lines[2], "\n"), "h:2: event 2 stands"},
		{"two events on a line", strings.TrimSuffix(lines[0], "\n") + lines[1], "h:1: there is more"},
		{"an unknown field", `{"i":0,"t":1,"p":0,"k":"ok","z":1}` + "\n", `h:1: json: unknown field "z"`},
		{"an unknown kind", `{"i":0,"t":1,"p":0,"k":"maybe"}` + "\n", "h:1: "},
		{"a process of nobody", `{"i":0,"t":1,"p":-3,"k":"ok"}` + "\n", "h:1: "},
		{"no process", `{"i":0,"t":1,"k":"ok"}` + "\n", "h:1: an event needs"},
		{"a number that is none", `{"i":0,"t":1,"p":0,"k":"ok","x":[{"f":"read","out":[1e99]}]}` + "\n", "h:1: "},
		{"a line too long", lines[0] + strings.Repeat("x", MaxLine+2), "h:2: the line is longer"},
	} {
		ops, err := ReadFrom("h", strings.NewReader(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %d events and error %v, want %s...", c.name, len(ops), err, c.want)
		}
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	text, _ := record(t, examples())
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if ops, err := ReadFile(path); err != nil || len(ops) != len(examples()) {
		t.Errorf("got %d events, %v", len(ops), err)
	}
	if _, err := ReadFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

// lines is a writer that notes what each single call brought.
type lines struct {
	calls []string
	fail  int // from this call on, write half and fail; 0: never
}

func (l *lines) Write(b []byte) (int, error) {
	if l.fail > 0 && len(l.calls)+1 >= l.fail {
		l.calls = append(l.calls, string(b[:len(b)/2]))
		return len(b) / 2, errors.New("disk full")
	}
	l.calls = append(l.calls, string(b))
	return len(b), nil
}

// TestRecorderWritesEachEventAtOnce: a line that is split over two writes, or waits in a buffer, is lost with the controller.
func TestRecorderWritesEachEventAtOnce(t *testing.T) {
	var w lines
	r := NewRecorder(&w, clock())
	for i, op := range examples() {
		r.Record(op)
		if len(w.calls) != i+1 || !strings.HasSuffix(w.calls[i], "}\n") {
			t.Fatalf("after event %d: %d writes, the last %q", i, len(w.calls), w.calls[len(w.calls)-1])
		}
	}
}

func TestRecorderStopsAtAnError(t *testing.T) {
	w := lines{fail: 3}
	r := NewRecorder(&w, clock())
	for _, op := range examples() {
		r.Record(op)
	}
	if r.Err() == nil || len(w.calls) != 3 {
		t.Errorf("got error %v and %d writes, want an error and 3", r.Err(), len(w.calls))
	}
	if got, want := len(r.Ops()), len(examples()); got != want {
		t.Errorf("got %d events in memory, want %d", got, want)
	}
	if got, err := ReadFrom("h", strings.NewReader(strings.Join(w.calls, ""))); err != nil || len(got) != 2 {
		t.Errorf("got %d events, %v; want the 2 that were written", len(got), err)
	}
}

func TestRecorderIsConcurrent(t *testing.T) {
	var out bytes.Buffer
	r := NewRecorder(&out, clock())
	const workers, each = 8, 2000 // more than a chunk
	var wg sync.WaitGroup
	for p := range workers {
		wg.Go(func() {
			last := -1
			for range each {
				op := r.Record(Op{Process: p, Kind: Invoke, Txn: Txn{{F: Read, Key: "k"}}})
				if op.Index <= last {
					t.Errorf("process %d: index %d after %d", p, op.Index, last)
				}
				last = op.Index
			}
		})
	}
	wg.Wait()
	got, err := ReadFrom("h", &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != workers*each || !reflect.DeepEqual(got, r.Ops()) {
		t.Errorf("file and memory differ, or %d events are not %d", len(got), workers*each)
	}
}

func FuzzRead(f *testing.F) {
	var out bytes.Buffer
	for i, op := range examples() {
		op.Index = i
		out.Write(append(op.Append(nil), '\n'))
	}
	f.Add(out.Bytes())
	f.Add([]byte("{\"i\":0,\"p\":\"nemesis\",\"k\":\"ok\"}"))
	f.Add([]byte("\x00\x00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := ReadFrom("h", bytes.NewReader(b))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "h:") {
				t.Errorf("%v does not say where", err)
			}
			return
		}
		var again bytes.Buffer
		for _, op := range ops {
			again.Write(append(op.Append(nil), '\n'))
		}
		got, err := ReadFrom("again", &again)
		if err != nil || len(got) != len(ops) || len(ops) > 0 && !reflect.DeepEqual(got, ops) {
			t.Errorf("%v: got %+v, want %+v", err, got, ops)
		}
		_, _ = Pair(ops) // must not panic
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(0, int64(1), 3, uint8(1), "read", "k", 5, 6, "n1", uint64(7), uint64(8), "note\"\xff\x80\x00\u2028", "what")
	f.Fuzz(func(t *testing.T, index int, at int64, process int, kind uint8, fn, key string, in, result int, node string, v, r uint64, note, what string) {
		op := Op{Index: index, Time: time.Duration(at), Process: max(process, Harness), Kind: Kind(kind % 5), Node: node, Session: r, Version: v, Position: r, Note: note,
			Phase: what, Txn: Txn{{F: fn, Key: key, In: []int{in}}, {F: key, Out: []int{in, result}}},
			Fault: &Fault{ID: in, Name: fn, What: what, Nodes: []string{node, note}, Mended: v%2 == 0, Held: r%2 == 0, Probe: note},
			State: &State{Node: node, Applied: r, Hash: v, Note: note}}
		line := op.Append(nil)
		if bytes.ContainsAny(line, "\n\x00") || !utf8.Valid(line) {
			t.Fatalf("%q is not one line of text", line)
		}
		got, err := decode(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, s := range []*string{&op.Node, &op.Note, &op.Phase, &op.Txn[0].F, &op.Txn[0].Key, &op.Txn[1].F, &op.Fault.Name, &op.Fault.What, &op.Fault.Probe,
			&op.Fault.Nodes[0], &op.Fault.Nodes[1], &op.State.Node, &op.State.Note} {
			*s = strings.ToValidUTF8(strings.Clone(*s), "\ufffd")
		}
		// ToValidUTF8 makes one sign of a run of bad bytes, the encoder one of each byte.
		if strings.Count(fmt.Sprint(got), "\ufffd") == 0 && !reflect.DeepEqual(got, op) {
			t.Errorf("got  %+v\nwant %+v", got, op)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "history.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start := time.Now()
	r := NewRecorder(f, func() time.Duration { return time.Since(start) })
	op := Op{Process: 7, Kind: OK, Txn: Txn{{F: Write, Key: "k17", In: []int{4711}}}, Node: "n3", Version: 123456, Position: 123456, Note: "term 3, index 123459"}
	for b.Loop() {
		r.Record(op)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if err := r.Err(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRead(b *testing.B) {
	var out bytes.Buffer
	r := NewRecorder(&out, func() time.Duration { return 12345678901 })
	for range 1000 {
		r.Record(Op{Process: 7, Kind: OK, Txn: Txn{{F: Write, Key: "k17", In: []int{4711}}}, Node: "n3", Version: 123456, Position: 123456, Note: "term 3, index 123459"})
	}
	for b.Loop() {
		if _, err := ReadFrom("h", bytes.NewReader(out.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

// TestRecorderWithoutWriter: thousands of simulated runs are judged from memory, and nobody reads their files.
func TestRecorderWithoutWriter(t *testing.T) {
	r := NewRecorder(nil, clock())
	for _, op := range examples() {
		r.Record(op)
	}
	if got, want := len(r.Ops()), len(examples()); got != want || r.Err() != nil {
		t.Errorf("got %d events, %v; want %d", got, r.Err(), want)
	}
}

func TestAfterSync(t *testing.T) {
	sync, read := Mop{F: Sync, Key: "/"}, Mop{F: Read, Key: "k"}
	for _, c := range []struct {
		txn    Txn
		steps  int
		synced bool
	}{{nil, 0, false}, {Txn{read}, 1, false}, {Txn{sync}, 0, true}, {Txn{sync, read}, 1, true}, {Txn{read, sync}, 2, false}} {
		if steps, synced := c.txn.AfterSync(); len(steps) != c.steps || synced != c.synced {
			t.Errorf("%v: got %v, %v; want %d steps, %v", c.txn, steps, synced, c.steps, c.synced)
		}
	}
}

func TestReadOnly(t *testing.T) {
	for _, c := range []struct {
		steps []string
		want  bool
	}{{[]string{Read}, true}, {[]string{Sync, Read}, true}, {[]string{Sync}, true}, {[]string{Watch}, true}, {[]string{List}, true}, {[]string{WatchSet}, true}, {[]string{Check, Write}, false}, {[]string{Sync, Add}, false}, {[]string{Connect}, false}} {
		var txn Txn
		for _, f := range c.steps {
			txn = append(txn, Mop{F: f})
		}
		if got := txn.ReadOnly(); got != c.want {
			t.Errorf("%v: got %v, want %v", c.steps, got, c.want)
		}
	}
}
