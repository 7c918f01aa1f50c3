// Command teller tells what its clocks read, a line for each that it is given: the wall clock and the monotonic clock since its start, in
// nanoseconds, and how often the monotonic clock stepped back. Meanwhile as many threads as its argument says read them all the time.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

func main() {
	busy, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	runtime.GOMAXPROCS(busy + 2)
	begun := time.Now()
	var back atomic.Int64
	for range busy {
		go func() {
			for last := time.Duration(0); ; {
				now := time.Since(begun)
				if now < last {
					back.Add(1)
				}
				last = now
			}
		}()
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(begun)), back.Load())
	}
}
