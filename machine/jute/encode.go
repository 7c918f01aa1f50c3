package jute

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxFrame is the greatest length of a payload that a server takes (jute.maxbuffer's default), and that clients take by default.
const MaxFrame = 0xfffff

// ErrMarshalling is what DecodeRequest's error is where the header of the request is whole and its body is not: a server answers it with
// MarshallingError, but for Auth and SASL, where it closes the connection.
var ErrMarshalling = errors.New("the body is malformed")

// AppendFrame appends payload to b as a frame: its length, and it.
func AppendFrame(b, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// Encode is the payload of the first frame.
func (q ConnectRequest) Encode() []byte {
	a := archive{b: make([]byte, 0, 48)}
	q.fields(&a)
	return a.b
}

// DecodeConnectRequest is its inverse. HasReadOnly says whether the last byte was there.
func DecodeConnectRequest(payload []byte) (ConnectRequest, error) {
	var q ConnectRequest
	a := archive{b: payload, reading: true}
	if q.fields(&a); a.err != nil {
		return ConnectRequest{}, fmt.Errorf("request to connect: %w", a.err)
	}
	return q, nil
}

func (q *ConnectRequest) fields(a *archive) {
	a.int32(&q.Protocol)
	a.int64(&q.LastZxid)
	a.int32(&q.Timeout)
	a.int64(&q.Session)
	a.buffer(&q.Password)
	a.readOnly(&q.HasReadOnly, &q.ReadOnly)
}

// Encode is the payload of the answer to the first frame.
func (r ConnectResponse) Encode() []byte {
	a := archive{b: make([]byte, 0, 48)}
	r.fields(&a)
	return a.b
}

// DecodeConnectResponse is its inverse.
func DecodeConnectResponse(payload []byte) (ConnectResponse, error) {
	var r ConnectResponse
	a := archive{b: payload, reading: true}
	if r.fields(&a); a.err != nil {
		return ConnectResponse{}, fmt.Errorf("response to connect: %w", a.err)
	}
	return r, nil
}

func (r *ConnectResponse) fields(a *archive) {
	a.int32(&r.Protocol)
	a.int32(&r.Timeout)
	a.int64(&r.Session)
	a.buffer(&r.Password)
	a.readOnly(&r.HasReadOnly, &r.ReadOnly)
}

// Encode is the payload of the request. It writes what it is told to, even what no server takes, as a Multi within a Multi.
func (q *Request) Encode() []byte {
	a := archive{b: make([]byte, 0, 64+len(q.Path)+len(q.Data)+len(q.Auth)+len(q.Body))}
	q.header(&a)
	q.body(&a)
	return a.b
}

// DecodeRequest is the inverse of Encode. If the error is ErrMarshalling the Request has its Xid and Op, and nothing else; with any other error it has
// nothing, and a server closes the connection. An operation that is not known is no error.
func DecodeRequest(payload []byte) (Request, error) {
	var q Request
	a := archive{b: payload, reading: true}
	if q.header(&a); a.err != nil {
		return Request{}, fmt.Errorf("header of a request: %w", a.err)
	}
	if q.body(&a); a.err != nil {
		return Request{Xid: q.Xid, Op: q.Op}, fmt.Errorf("%v: %w: %w", q.Op, ErrMarshalling, a.err)
	}
	return q, nil
}

func (q *Request) header(a *archive) {
	a.int32(&q.Xid)
	a.int32((*int32)(&q.Op))
}

func (q *Request) body(a *archive) {
	switch q.Op {
	case Create, Create2, CreateContainer, CreateTTL:
		a.path(&q.Path)
		a.buffer(&q.Data)
		a.acls(&q.ACL)
		a.int32(&q.Flags)
		if q.Op == CreateTTL {
			a.int64(&q.TTL)
		}
	case Delete:
		a.path(&q.Path)
		a.int32(&q.Version)
	case Check:
		a.text(&q.Path)
		a.int32(&q.Version)
	case Exists, GetData, GetChildren, GetChildren2:
		a.path(&q.Path)
		a.bool(&q.Watch)
	case SetData:
		a.text(&q.Path)
		a.buffer(&q.Data)
		a.int32(&q.Version)
	case GetACL, CountChildren:
		a.path(&q.Path)
	case Sync, GetEphemerals:
		a.text(&q.Path)
	case SetACL:
		a.text(&q.Path)
		a.acls(&q.ACL)
		a.int32(&q.Version)
	case CheckWatches, RemoveWatches, AddWatch:
		a.text(&q.Path)
		a.int32(&q.Mode)
	case Multi, MultiRead:
		q.multi(a)
	case Auth:
		var unused int32 // AuthPacket's type: clients send 0, and servers do not look at it
		a.int32(&unused)
		a.text(&q.Scheme)
		a.buffer(&q.Auth)
	case SetWatches, SetWatches2:
		q.Watches.fields(a, q.Op)
	case Ping, WhoAmI, CloseSession:
	default:
		a.rest(&q.Body)
	}
}

func (w *Watches) fields(a *archive, op Op) {
	a.int64(&w.RelativeZxid)
	a.paths(&w.Data)
	a.paths(&w.Exist)
	a.paths(&w.Child)
	if op == SetWatches2 {
		a.paths(&w.Persistent)
		a.paths(&w.Recursive)
	}
}

func (q *Request) multi(a *archive) {
	for i := 0; ; i++ {
		h := multiEnd
		if !a.reading && i < len(q.Sub) {
			h = multiHeader{op: q.Sub[i].Op, code: -1}
		}
		a.multiHeader(&h)
		if h.done || a.err != nil {
			return
		}
		if a.reading {
			if !q.holds(h.op) {
				a.fail(errKind)
				return
			}
			q.Sub = append(q.Sub, Request{Op: h.op})
		}
		q.Sub[i].body(a)
	}
}

// holds says whether op may be a part of the multi that q is.
func (q *Request) holds(op Op) bool {
	switch op {
	case Create, Create2, CreateContainer, CreateTTL, Delete, SetData, Check:
		return q.Op == Multi
	case GetData, GetChildren:
		return q.Op == MultiRead
	}
	return false
}

// ReplyHeader is what each payload from a server begins with, but for the first. XidNotification says that it is an Event, and of other Xids one
// knows by oneself to what request they belong.
type ReplyHeader struct {
	Xid  int32
	Zxid int64
	Err  Code
}

// DecodeReplyHeader is the header of any payload that a server has sent after its first.
func DecodeReplyHeader(payload []byte) (ReplyHeader, error) {
	var h ReplyHeader
	a := archive{b: payload, reading: true}
	if h.fields(&a); a.err != nil {
		return ReplyHeader{}, fmt.Errorf("header of a reply: %w", a.err)
	}
	return h, nil
}

func (h *ReplyHeader) fields(a *archive) {
	a.int32(&h.Xid)
	a.int64(&h.Zxid)
	a.int32((*int32)(&h.Err))
}

// Encode is the payload of the response to a request of the kind op. It is only the header if Err is not OK. A multi that has failed at one of its parts
// is no exception, but that the header says OK then: if there is a Sub, it says it, and its client sees by Sub what has failed.
func (r *Response) Encode(op Op) []byte {
	a := archive{b: make([]byte, 0, 96+len(r.Path)+len(r.Data))}
	h := ReplyHeader{r.Xid, r.Zxid, r.Err}
	if len(r.Sub) > 0 && (op == Multi || op == MultiRead) {
		h.Err = OK
	}
	h.fields(&a)
	if h.Err == OK {
		r.body(&a, op)
	}
	return a.b
}

// DecodeResponse is the inverse of Encode.
func DecodeResponse(op Op, payload []byte) (Response, error) {
	h, err := DecodeReplyHeader(payload)
	if err != nil {
		return Response{}, err
	}
	r := Response{Xid: h.Xid, Zxid: h.Zxid, Err: h.Err}
	if r.Err != OK {
		return r, nil
	}
	a := archive{b: payload[16:], reading: true}
	if r.body(&a, op); a.err != nil {
		return Response{}, fmt.Errorf("response to %v: %w", op, a.err)
	}
	return r, nil
}

func (r *Response) body(a *archive, op Op) {
	switch op {
	case Create, Sync:
		a.text(&r.Path)
	case Create2, CreateContainer, CreateTTL:
		a.text(&r.Path)
		a.stat(&r.Stat)
	case Exists, SetData, SetACL:
		a.stat(&r.Stat)
	case GetData, Reconfig:
		a.buffer(&r.Data)
		a.stat(&r.Stat)
	case GetACL:
		a.acls(&r.ACL)
		a.stat(&r.Stat)
	case GetChildren, GetEphemerals:
		a.texts(&r.Children)
	case GetChildren2:
		a.texts(&r.Children)
		a.stat(&r.Stat)
	case CountChildren:
		a.int32(&r.Count)
	case WhoAmI:
		a.ids(&r.IDs)
	case SASL:
		a.buffer(&r.Data)
	case AddWatch:
		var unused int32 // an ErrorResponse, of which nobody makes any use
		a.int32(&unused)
	case Multi, MultiRead:
		r.results(a)
	}
}

func (r *Response) results(a *archive) {
	for i := 0; ; i++ {
		h := multiEnd
		if !a.reading && i < len(r.Sub) {
			h = r.Sub[i].header()
		}
		a.multiHeader(&h)
		if h.done || a.err != nil {
			return
		}
		if a.reading {
			r.Sub = append(r.Sub, Result{Op: h.op})
		}
		r.Sub[i].body(a, h.op)
	}
}

// header has only two kinds of creates, with and without a Stat: clients know no others, and ZooKeeper 3.8 gives the Stat with these two.
func (r *Result) header() multiHeader {
	switch {
	case r.Err != OK || r.Op == Failure:
		return multiHeader{op: Failure, code: r.Err}
	case r.Op == CreateContainer || r.Op == CreateTTL:
		return multiHeader{op: Create2}
	}
	return multiHeader{op: r.Op}
}

func (r *Result) body(a *archive, op Op) {
	switch op {
	case Create:
		a.text(&r.Path)
	case Create2:
		a.text(&r.Path)
		a.stat(&r.Stat)
	case SetData:
		a.stat(&r.Stat)
	case GetData:
		a.buffer(&r.Data)
		a.stat(&r.Stat)
	case GetChildren:
		a.texts(&r.Children)
	case Failure:
		a.int32((*int32)(&r.Err))
	case Delete, Check:
	default:
		if !a.reading {
			panic(fmt.Sprintf("jute: a multi has no results of %v", op))
		}
		a.fail(errKind)
	}
}

// Encode is the payload of the notification.
func (e Event) Encode() []byte {
	a := archive{b: make([]byte, 0, 28+len(e.Path))}
	h := ReplyHeader{Xid: XidNotification, Zxid: -1}
	h.fields(&a)
	e.fields(&a)
	return a.b
}

// DecodeEvent is the inverse of Encode. It is an error if the header's Xid is not XidNotification. (Its Zxid is -1 up to ZooKeeper 3.8, and that of the
// change since 3.9: it is ignored.)
func DecodeEvent(payload []byte) (Event, error) {
	h, err := DecodeReplyHeader(payload)
	if err != nil {
		return Event{}, err
	}
	if h.Xid != XidNotification {
		return Event{}, fmt.Errorf("notification: its xid is %d", h.Xid)
	}
	var e Event
	a := archive{b: payload[16:], reading: true}
	if e.fields(&a); a.err != nil {
		return Event{}, fmt.Errorf("notification: %w", a.err)
	}
	return e, nil
}

func (e *Event) fields(a *archive) {
	a.int32(&e.Type)
	a.int32(&e.State)
	a.text(&e.Path)
}
