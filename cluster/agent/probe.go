package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// rubbish is no frame of anybody's: a length of 2^32-1, or, for a text protocol, no text.
var rubbish = slices.Repeat([]byte{0xff}, 64)

const (
	mostBytes = 1 << 20           // of a greeting
	none      = time.Duration(-1) // no answer to a probe
	farewell  = 64 << 10          // bytes that a target may say before it hangs up
	// A target that has not answered so often in a row is not asked again: a probe of many that are silent would take too long.
	mostMissed = 2
)

// checkTargets bounds what one probe may cost.
func checkTargets(targets []Target) error {
	times := 0
	for _, t := range targets {
		if t.Times < 0 || t.Times > maxTimes || t.Wait < 0 || t.Wait > maxWait {
			return fmt.Errorf("probe %s: %d times, waiting %v: want at most %d and %v", t.Address, t.Times, t.Wait, maxTimes, maxWait)
		}
		if t.Bytes < 0 || t.Bytes > mostBytes {
			return fmt.Errorf("probe %s with %d bytes: want at most %d", t.Address, t.Bytes, mostBytes)
		}
		times += t.Times
	}
	if len(targets) > maxTargets || times > maxTimes {
		return fmt.Errorf("a probe of %d targets, %d times in all: want at most %d and %d", len(targets), times, maxTargets, maxTimes)
	}
	return nil
}

// probe all targets side by side.
func probe(ctx context.Context, targets []Target) [][]time.Duration {
	trips := make([][]time.Duration, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		trips[i] = make([]time.Duration, t.Times)
		all.Go(func() {
			missed := 0
			for j := range trips[i] {
				trips[i][j] = none
				if missed == mostMissed {
					continue
				}
				if trips[i][j] = trip(ctx, t); trips[i][j] >= 0 {
					missed = 0
				} else {
					missed++
				}
			}
		})
	}
	all.Wait()
	return trips
}

func greeting(bytes int) []byte {
	if bytes <= len(rubbish) {
		return rubbish
	}
	return slices.Repeat(rubbish[:1], bytes)
}

// trip takes one connection.
func trip(ctx context.Context, t Target) time.Duration {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.Wait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return none
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(began) })()
	_, err = conn.Write(greeting(t.Bytes))
	if err == nil {
		_, err = io.CopyN(io.Discard, conn, farewell)
	}
	if errors.Is(err, io.EOF) {
		return time.Since(began)
	}
	conn.(*net.TCPConn).SetLinger(0) // or the kernel would go on talking to a silent target for minutes
	return none
}
