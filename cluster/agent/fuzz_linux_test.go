package agent

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// FuzzSession throws lines at an agent whose server cannot be started. Whatever they are, the session ends when its input does, each line of
// the answer is a word of ours, and the agent is there for the next one.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "{}\n", "null\n", "rubbish", `{"id":1,"do":"beat"}`,
		`{"id":1,"do":"start","args":["a"]}` + "\n" + `{"id":2,"do":"kill"}` + "\n" + `{"id":3,"do":"pause"}` + "\n" + `{"id":4,"do":"resume"}` + "\n",
		`{"id":1,"do":"packets","packets":{"from":[{"address":"10.0.0.1","ports":[1]}],"shaped":[{"to":{"address":"::1"},"shape":{"Delay":1,"Loss":2}}]}}` + "\n" + `{"id":2,"do":"counts"}` + "\n",
		`{"id":1,"do":"skew","skew":{"Wall":1,"WallRate":-9,"Strobe":-1}}` + "\n" + `{"id":2,"do":"state"}` + "\n",
		`{"id":1,"do":"write","name":"../x","content":"AAAA"}` + "\n" + `{"id":18446744073709551615,"do":"listen"}` + "\n",
		`{"id":1,"do":"probe","targets":[{"address":"","wait":-1,"times":-1}]}` + "\n" + `{"id":1,"do":"noted","life":1}` + "\n",
		`{"id":1,"do":"start"}` + "\n" + `{"id":1,"do":"start","args":null}` + "\n\n",
	} {
		f.Add([]byte(seed))
	}
	a := newAgent(Config{Binary: "/nonexistent", Dir: f.TempDir(), Table: "x", Hold: true, Grace: time.Hour, Output: io.Discard}, pretence(io.Discard, ""))
	a.hub.ended(End{Life: 1, Status: "exit status 3"})
	f.Fuzz(func(t *testing.T, b []byte) {
		for line := range bytes.Lines(b) {
			var q request
			if decode(line, &q) == nil && len(q.Targets) > 0 {
				return // let it connect to nobody
			}
		}
		ours, theirs := net.Pipe()
		go func() {
			ours.Write(b) // the session may have ended
			if len(b) == 0 || b[len(b)-1] != '\n' {
				ours.Write([]byte("\n"))
			}
			ours.Write([]byte(`{"id":99,"do":"bye"` + "\n")) // rubbish ends it
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.serve(theirs)
		}()
		errors := 0
		for lines := linesOf(ours); lines.Scan(); {
			var got answer
			if err := decode(lines.Bytes(), &got); err != nil {
				t.Errorf("answer %q: %v", lines.Text(), err)
			}
			if got.ID == 0 && got.Event == nil {
				errors++
			}
		}
		<-done
		if errors != 1 {
			t.Errorf("%d complaints, want 1", errors)
		}
	})
}

// FuzzRemote lets a Remote talk to something that is no agent.
func FuzzRemote(f *testing.F) {
	for _, seed := range []string{
		"", "{}\n", "{\"id\":1}\n", "rubbish\n", `{"error":"go away"}`, `{"event":{}}` + "\n" + `{"event":{"ended":{"life":1,"status":"x"}}}` + "\n",
		`{"id":1,"state":{"running":true,"life":3,"packets":{},"skew":{},"abilities":{"means":""},"grace":1}}` + "\n" + `{"id":2,"trips":[[-1,5],null]}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		r := Connect(ours, func(Event) {})
		go io.Copy(io.Discard, theirs)
		go func() {
			theirs.Write(b) // it may have hung up
			theirs.Close()
		}()
		if _, err := r.State(t.Context()); err == nil && r.Err() == nil {
			r.Kill(t.Context())
		}
		<-r.Done()
		if r.Err() == nil {
			t.Error("it ended without a reason")
		}
	})
}

func FuzzStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Skip(err)
	}
	f.Add(own)
	f.Add([]byte("7 (a b) c (d) Z 1 7 7 0"))
	f.Add([]byte(")("))
	f.Add([]byte("1 () "))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseStat(b); err == nil && p.state == 0 {
			t.Errorf("%q: a process without a state", b)
		}
	})
}

func TestStatOfAnOddName(t *testing.T) {
	got, err := parseStat([]byte("7 (a b) Z 9 (c) T 1 5 7 0\n"))
	if want := (process{pid: 7, parent: 1, group: 5, state: 'T'}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "7", "7 (x", "7 (x)", "7 (x) S", "7 (x) S 1", "y (x) S 1 1", "7 (x) SS 1 1"} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}
