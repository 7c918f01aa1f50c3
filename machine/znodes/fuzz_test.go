package znodes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"assize/machine"
	"assize/machine/jute"
)

// FuzzNumbers: whatever the children of a node are called, they are the numbers of sequential nodes, or nonsense.
func FuzzNumbers(f *testing.F) {
	f.Add("a", "n-0000000012\nn-0000000003")
	f.Add("", "n-2147483647")
	f.Add("a", "n-12")
	f.Add("a/b", "n-2147483648\n\nn-+000000001")
	f.Fuzz(func(t *testing.T, key, text string) {
		names := strings.Split(text, "\n")
		got, err := Numbers(key, names)
		if err != nil {
			if got != nil || !errors.Is(err, machine.ErrNonsense) || errors.Is(err, machine.ErrNoEffect) {
				t.Errorf("%q: %v, %v", names, got, err)
			}
			return
		}
		var again []string
		for _, n := range got {
			if n < 0 || n > 1<<31-1 {
				t.Errorf("%q: number %d", names, n)
			}
			again = append(again, fmt.Sprintf("n-%010d", n))
		}
		if slices.Sort(names); !slices.Equal(again, names) {
			t.Errorf("%q are %v", names, got)
		}
	})
}

// FuzzFailed: whatever the results of a multi are, it was done, or one part has failed and proves that nothing was, or they are nonsense.
func FuzzFailed(f *testing.F) {
	f.Add([]byte{0, 0}, 2)
	f.Add([]byte{0, 146, 254}, 3)
	f.Add([]byte{146, 0}, 2)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, codes []byte, n int) {
		var results []jute.Code
		done := true
		for _, c := range codes {
			results = append(results, jute.Code(int8(c)))
			done = done && c == 0
		}
		part, code, err := Failed(results, n)
		switch {
		case err != nil:
			if part >= 0 || code != jute.OK || !errors.Is(err, machine.ErrNonsense) || errors.Is(err, machine.ErrNoEffect) || done && len(codes) == n {
				t.Errorf("%v of %d: %d, %v, %v", results, n, part, code, err)
			}
		case len(results) != n, (part < 0) != done, part >= 0 && (results[part] != code || code == jute.OK || slices.ContainsFunc(results[:part], func(c jute.Code) bool { return c != jute.OK })):
			t.Errorf("%v of %d: %d, %v", results, n, part, code)
		case part >= 0 && slices.ContainsFunc(results[part+1:], func(c jute.Code) bool { return c != jute.RuntimeInconsistency }):
			t.Errorf("%v of %d: %d, %v", results, n, part, code)
		}
	})
}
