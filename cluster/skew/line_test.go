package skew

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assize/cluster"
)

func TestLineIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		l := line{r.Int64N(1 << 61), r.Int64N(1 << 61), 1 + r.Int64N(1000*one)}
		d := r.Int64N(1<<50) - 1<<49
		want := new(big.Int).Mul(big.NewInt(d), big.NewInt(l.rate))
		want.Rsh(want, 32).Add(want, big.NewInt(l.reads)) // Rsh rounds down
		if got := l.at(l.since + d); got != want.Int64() {
			t.Fatalf("%+v at %d more: got %d, want %v", l, d, got, want)
		}
	}
}

// hours since 1970 as true readings of all clocks.
func hours(h int64) (t [lines]int64) {
	for i := range t {
		t[i] = int64(time.Hour) * (h + int64(i)) // each another one
	}
	return t
}

func TestSkewsFollowEachOther(t *testing.T) {
	s := truthfulSet()
	h := time.Hour
	for _, c := range []struct {
		at         int64
		k          cluster.Skew
		from       int64 // read then
		wall, mono time.Duration
	}{
		{10, cluster.Skew{}, 10, 0, 0},
		{10, cluster.Skew{Wall: h, Mono: h}, 11, h, h},
		{11, cluster.Skew{WallRate: 1, MonoRate: -0.5}, 15, h + 4*h, h - 2*h}, // read 4 hours later
		{15, cluster.Skew{Wall: -h, MonoRate: 1}, 16, 4 * h, -h + h},
		{16, cluster.Skew{Wall: h, Mono: h, Strobe: time.Second}, 16, 5 * h, h}, // displaced
		{17, cluster.Skew{}, 20, 0, h},
		{20, cluster.Skew{Mono: -h}, 30, 0, 0},
	} {
		var err error
		if s, err = s.settled().skewed(hours(c.at), c.k); err != nil {
			t.Fatal(err)
		}
		for i, got := range s.lines {
			want := c.mono
			if i == wall {
				want = c.wall
			}
			now := hours(c.from)[i]
			if d := time.Duration(got.at(now) - now); d != want {
				t.Errorf("%+v at %d: clock %d is off by %v at %d, want %v", c.k, c.at, i, d, c.from, want)
			}
		}
		if b, err := decode(s.encode()); err != nil || b != s {
			t.Errorf("decoded %+v, %v, want %+v", b, err, s)
		}
	}
}

// The monotonic clock alone must not step back; what the wall clock does is no matter.
func TestWhatGoesSlower(t *testing.T) {
	s := truthfulSet()
	for _, c := range []struct {
		k    cluster.Skew
		want bool
	}{
		{cluster.Skew{Wall: -time.Hour, WallRate: -0.5}, false},
		{cluster.Skew{MonoRate: 1}, false},
		{cluster.Skew{MonoRate: 1, Mono: time.Hour}, false},
		{cluster.Skew{MonoRate: 0.5}, true},
		{cluster.Skew{}, true},
		{cluster.Skew{MonoRate: -0.5}, true},
		{cluster.Skew{}, false},
	} {
		next, err := s.skewed(hours(1), c.k)
		if err != nil {
			t.Fatal(err)
		}
		if got := next.slower(s); got != c.want {
			t.Errorf("%+v goes slower: %v, want %v", c.k, got, c.want)
		}
		s = next
	}
}

func TestStrobeComesBack(t *testing.T) {
	s, err := truthfulSet().skewed(hours(10), cluster.Skew{Wall: time.Hour, WallRate: 1, Strobe: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	now := hours(12)[wall]
	for _, c := range []struct{ by, want time.Duration }{{0, 2 * time.Hour}, {time.Hour, 3 * time.Hour}, {0, 2 * time.Hour}} {
		s = s.settled().displace(now, int64(c.by))
		if got := time.Duration(s.lines[wall].at(now) - now); got != c.want {
			t.Errorf("displaced by %v it is off by %v, want %v", c.by, got, c.want)
		}
	}
}

func TestRebased(t *testing.T) {
	h := time.Hour
	for _, c := range []struct{ s, want cluster.Skew }{
		{cluster.Skew{}, cluster.Skew{}},
		{cluster.Skew{Wall: h, Mono: h, WallRate: 0.5, MonoRate: 1}, cluster.Skew{Wall: 2 * h, WallRate: 0.5, MonoRate: 1}},
		{cluster.Skew{Wall: h, WallRate: 0.5, Strobe: 1}, cluster.Skew{Wall: h, WallRate: 0.5, Strobe: 1}},
	} {
		if got := Rebased(c.s, 2*h); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.s, got, c.want)
		}
	}
}

func TestMeans(t *testing.T) {
	if got := Means(); !strings.HasPrefix(got, "clock") {
		t.Errorf("got %q", got)
	}
	if aarch64.tried || !x86.tried {
		t.Error("say so when somebody has tried it on a machine")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(truthfulSet().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decode(b); err == nil && string(s.encode()) != string(b[:lines*lineSize+8]) {
			t.Errorf("%x became %+v", b, s)
		}
	})
}
