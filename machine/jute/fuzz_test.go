package jute

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

// weight is how many bytes v holds on to.
func weight(v reflect.Value) (n uintptr) {
	switch v.Kind() {
	case reflect.String:
		n = uintptr(v.Len())
	case reflect.Slice:
		n = uintptr(v.Cap()) * v.Type().Elem().Size()
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return n
		}
		for i := range v.Len() {
			n += weight(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += weight(v.Field(i))
		}
	}
	return n
}

// settle holds a record to what all decoded ones are: what it holds is in proportion to the bytes that it has come from, and its encoding, which is never
// longer than those, decodes as itself and is the same ever after.
func settle[T any](t *testing.T, payload []byte, got T, err error, encode func(T) []byte, decode func([]byte) (T, error)) {
	t.Helper()
	if n, most := weight(reflect.ValueOf(got)), 64*uintptr(len(payload)); n > most {
		t.Fatalf("%d bytes are %d when decoded, want at most %d", len(payload), n, most)
	}
	if err != nil {
		return
	}
	b := encode(got)
	again, err := decode(b)
	if err != nil || !reflect.DeepEqual(again, got) {
		t.Fatalf("%+v\nis encoded as %x and decoded as\n%+v, %v", got, b, again, err)
	}
	if len(b) > len(payload) {
		t.Fatalf("%+v\nis encoded in %d bytes, and has come from %d", got, len(b), len(payload))
	}
	if c := encode(again); !bytes.Equal(b, c) {
		t.Fatalf("%+v\nis encoded as\n%x and\n%x", got, b, c)
	}
}

func settleRequest(t *testing.T, payload []byte) {
	q, err := DecodeRequest(payload)
	settle(t, payload, q, err, func(q Request) []byte { return q.Encode() }, DecodeRequest)
}

func settleResponse(t *testing.T, op Op, payload []byte) {
	decode := func(b []byte) (Response, error) { return DecodeResponse(op, b) }
	r, err := decode(payload)
	settle(t, payload, r, err, func(r Response) []byte { return r.Encode(op) }, decode)
}

func settleConnect(t *testing.T, payload []byte) {
	q, err := DecodeConnectRequest(payload)
	settle(t, payload, q, err, ConnectRequest.Encode, DecodeConnectRequest)
	r, err := DecodeConnectResponse(payload)
	settle(t, payload, r, err, ConnectResponse.Encode, DecodeConnectResponse)
	e, err := DecodeEvent(payload)
	settle(t, payload, e, err, Event.Encode, DecodeEvent)
}

func FuzzRequest(f *testing.F) {
	for _, c := range requests {
		f.Add(c.want.Encode())
	}
	f.Fuzz(settleRequest)
}

func FuzzResponse(f *testing.F) {
	for _, c := range responses {
		f.Add(int32(c.op), c.want.Encode(c.op))
	}
	f.Fuzz(func(t *testing.T, op int32, payload []byte) { settleResponse(t, Op(op), payload) })
}

func FuzzConnect(f *testing.F) {
	f.Add(ConnectRequest{LastZxid: 9, Timeout: 5000, Password: password, HasReadOnly: true, ReadOnly: true}.Encode())
	f.Add(ConnectResponse{Timeout: 5000, Session: 5, Password: password}.Encode())
	f.Add(Event{Type: EventDeleted, State: StateConnected, Path: "/a"}.Encode())
	f.Fuzz(settleConnect)
}

// TestWeight: the worst that there is, a frame full of the smallest parts and items, through the same check as the fuzzer's.
func TestWeight(t *testing.T) {
	many := Request{Op: MultiRead, Sub: make([]Request, 20_000)}
	watches := Request{Op: SetWatches, Watches: Watches{Data: make([]string, 200_000)}}
	acls := Request{Op: SetACL, ACL: make([]ACL, 80_000)}
	results := Response{Sub: make([]Result, 100_000)}
	for i := range many.Sub {
		many.Sub[i].Op = GetData
	}
	for i := range results.Sub {
		results.Sub[i].Op = Delete
	}
	settleRequest(t, many.Encode())
	settleRequest(t, watches.Encode())
	settleRequest(t, acls.Encode())
	settleResponse(t, Multi, results.Encode(Multi))
}

// fill gives v any value. Bytes are none as often as nil; a list that is empty is nil, for the wire does not tell them apart.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64() >> r.IntN(64) * int64(1-2*r.IntN(2)) << 32 >> (32 * r.IntN(2)))
	case reflect.String:
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		v.SetString(string(b))
	case reflect.Slice:
		n := r.IntN(4)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if n > 0 {
				v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
				for i := range n - 1 {
					v.Index(i).SetUint(uint64(r.Uint32() & 0xff))
				}
			}
			return
		}
		if n == 0 || depth == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), depth-1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), depth)
		}
	}
}

// within says whether each field of part is that of whole, or was not sent.
func within(part, whole reflect.Value) bool {
	for i := range part.NumField() {
		p, w := part.Field(i), whole.Field(i)
		switch {
		case p.IsZero() || reflect.DeepEqual(p.Interface(), w.Interface()):
		case p.Kind() == reflect.Struct && within(p, w):
		case p.Kind() == reflect.Slice && p.Type().Elem().Kind() == reflect.Struct && p.Len() == w.Len():
			for k := range p.Len() {
				if !within(p.Index(k), w.Index(k)) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// TestRoundTrips: what has been sent arrives as it was, in the fields of its operation, and encodes as the same bytes.
func TestRoundTrips(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []Op{Create, Create2, CreateContainer, CreateTTL, Delete, SetData, Check}
	for range 300 {
		for _, c := range requests {
			var q Request
			fill(r, reflect.ValueOf(&q).Elem(), 2)
			q.Op = c.want.Op
			for i := range q.Sub {
				q.Sub[i].Op = kinds[r.IntN(len(kinds))]
				if q.Op == MultiRead {
					q.Sub[i].Op = []Op{GetData, GetChildren}[r.IntN(2)]
				}
			}
			b := q.Encode()
			got, err := DecodeRequest(b)
			if err != nil || !within(reflect.ValueOf(got), reflect.ValueOf(q)) || !bytes.Equal(got.Encode(), b) {
				t.Fatalf("%+v\nbecame\n%+v, %v", q, got, err)
			}
			settleRequest(t, b)
		}
		for _, c := range responses {
			var p Response
			fill(r, reflect.ValueOf(&p).Elem(), 2)
			if r.IntN(8) > 0 || p.Sub != nil {
				p.Err = OK
			}
			for i := range p.Sub {
				p.Sub[i].Op = []Op{Create, Create2, Delete, SetData, Check, GetData, GetChildren, Failure}[r.IntN(8)]
				if p.Sub[i].Op != Failure {
					p.Sub[i].Err = OK
				}
			}
			b := p.Encode(c.op)
			got, err := DecodeResponse(c.op, b)
			if err != nil || !within(reflect.ValueOf(got), reflect.ValueOf(p)) || !bytes.Equal(got.Encode(c.op), b) {
				t.Fatalf("%v: %+v\nbecame\n%+v, %v", c.op, p, got, err)
			}
			settleResponse(t, c.op, b)
		}
	}
}
