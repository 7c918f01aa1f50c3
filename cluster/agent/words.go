package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// Bounds on one session's words.
const (
	maxLine    = 1 << 20 // bytes, without the line's end
	maxContent = 1 << 19 // bytes of a file: base64 makes a third more of them
	maxTargets = 1 << 10 // of one probe
	maxTimes   = 1 << 14 // connections of one probe, all targets together
	maxWait    = time.Minute
	maxEnds    = 1 << 10 // of the server that no controller has noted
)

// What a request may ask for.
const (
	doStart   = "start"
	doKill    = "kill"
	doPause   = "pause"
	doResume  = "resume"
	doPackets = "packets"
	doCounts  = "counts"
	doSkew    = "skew"
	doWrite   = "write"
	doProbe   = "probe"
	doState   = "state"
	doBeat    = "beat"   // nothing: it says that somebody is there
	doListen  = "listen" // for events, from now on
	doNoted   = "noted"  // the event of this life's end need not be told again
)

// request is one line to the agent.
type request struct {
	ID      uint64        `json:"id"` // from 1; the answer has it too
	Do      string        `json:"do"`
	Args    []string      `json:"args,omitempty"`
	Packets *packets.Set  `json:"packets,omitempty"`
	Skew    *cluster.Skew `json:"skew,omitempty"`
	Turn    uint64        `json:"turn,omitempty"` // of the skew
	Name    string        `json:"name,omitempty"`
	Content []byte        `json:"content,omitempty"`
	Targets []Target      `json:"targets,omitempty"`
	Life    uint64        `json:"life,omitempty"`
}

// answer is one line from the agent: to a request, or, with an Event, to none.
type answer struct {
	ID    uint64 `json:"id,omitempty"`
	Error string `json:"error,omitempty"`
	Down  bool   `json:"down,omitempty"` // the error is ErrDown
	// Stepped: the error is cluster.ErrStepped.
	Stepped bool              `json:"stepped,omitempty"`
	Counts  []packets.Count   `json:"counts,omitempty"`
	Trips   [][]time.Duration `json:"trips,omitempty"`
	State   *State            `json:"state,omitempty"`
	Event   *Event            `json:"event,omitempty"`
	Lapse   *Lapse            `json:"lapse,omitempty"` // the last one, in all that is said since: a controller learns of it with the first word that it hears again
}

// encode makes one line of a word.
func encode(word any) ([]byte, error) {
	b, err := json.Marshal(word)
	if err != nil {
		return nil, err
	}
	if len(b) > maxLine {
		return nil, fmt.Errorf("a line of %d bytes; it may have %d", len(b), maxLine)
	}
	return append(b, '\n'), nil
}

// decode reads one word from a line. Both ends are the same executable: what one does not know is rubbish.
func decode(line []byte, word any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(word); err != nil {
		return fmt.Errorf("not a word of ours: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not a word of ours: more than one value in a line")
	}
	return nil
}

// linesOf reads lines of up to maxLine bytes.
func linesOf(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4<<10), maxLine+2)
	return s
}
