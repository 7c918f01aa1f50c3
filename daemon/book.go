package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"assize/cluster"
)

// lookEvery bounds how often the file is looked at.
const lookEvery = 50 * time.Millisecond

// book knows where the peers are: from peers.json in the node's directory, which whoever runs the cluster rewrites as members come and go, and from the
// command line where the file says nothing.
type book struct {
	path    string
	given   map[int]string
	journal *journal

	mu      sync.Mutex
	written map[int]string
	seen    os.FileInfo // as written was read
	looked  time.Time
	doubt   bool // some peer could not be reached
}

func newBook(dir string, given []cluster.Peer, j *journal) *book {
	b := &book{path: filepath.Join(dir, "peers.json"), given: map[int]string{}, journal: j, doubt: true}
	for _, p := range given {
		b.given[p.ID] = p.Address
	}
	return b
}

// known returns the ids of all peers, in order.
func (b *book) known() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
	var ids []int
	for id := range b.written {
		ids = append(ids, id)
	}
	for id := range b.given {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// address of a peer; empty: nobody knows.
func (b *book) address(id int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doubt || b.written[id] == "" {
		b.look()
	}
	if a := b.written[id]; a != "" {
		return a
	}
	return b.given[id]
}

// suspect makes the next question look at the file: a peer was not where it should be.
func (b *book) suspect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubt = true
}

// look reads the file where it has changed. Under mu.
func (b *book) look() {
	now := time.Now()
	if !b.looked.IsZero() && now.Sub(b.looked) < lookEvery {
		return
	}
	b.looked, b.doubt = now, false
	info, err := os.Stat(b.path)
	if err != nil {
		return // what was read before still holds
	}
	if b.seen != nil && os.SameFile(b.seen, info) && b.seen.ModTime().Equal(info.ModTime()) && b.seen.Size() == info.Size() {
		return
	}
	content, err := os.ReadFile(b.path)
	if err != nil {
		return
	}
	written, err := parsePeers(content)
	if err != nil {
		b.journal.seldom("peers-unreadable", "file", b.path, "error", err)
		return
	}
	b.written, b.seen = written, info
}

// parsePeers reads {"2":"127.0.0.1:4242"}.
func parsePeers(content []byte) (map[int]string, error) {
	var named map[string]string
	if err := json.Unmarshal(content, &named); err != nil {
		return nil, err
	}
	peers := map[int]string{}
	for name, address := range named {
		id, err := strconv.Atoi(name)
		if err != nil {
			return nil, err
		}
		peers[id] = address
	}
	return peers, nil
}
