package tree

import (
	"fmt"

	"assize/machine/jute"
)

// Ask is a request as it reaches the leader.
type Ask struct {
	Session int64 // whose; 0: the leader's own
	Who     []jute.ID
	Zxid    int64 // of the transaction that it is to become
	Time    int64 // the leader's wall clock, milliseconds since 1970
	Timeout int32 // CreateSession, milliseconds
	Request jute.Request
}

// Prepare makes a request a transaction, and its changes pending. A refusal is a transaction, too, of Op Failure: it uses up its zxid. The
// transaction aliases the request.
//
// A Reconfig's Data is the new configuration: whether the ensemble can have it is not the tree's to say.
func (a *Ahead) Prepare(k Ask) Txn {
	if k.Zxid <= a.zxid {
		panic(fmt.Sprintf("tree: %#x prepared after %#x", k.Zxid, a.zxid))
	}
	a.zxid = k.Zxid
	q := &k.Request
	x := Txn{Session: k.Session, Cxid: q.Xid, Zxid: k.Zxid, Time: k.Time, Op: q.Op}
	code := jute.OK
	switch q.Op {
	case jute.CreateSession:
		x.Timeout = k.Timeout
		a.door(k.Zxid, k.Session, true)
	case jute.CloseSession:
		x.Paths = a.belongings(k.Session)
		for _, path := range x.Paths {
			a.remove(&k, path)
		}
		a.door(k.Zxid, k.Session, false)
	case jute.Multi:
		code = a.parts(&k, &x)
	case jute.Check:
		if code = a.prepare(&k, q, &x); code == jute.OK {
			code = jute.Unimplemented // ZooKeeper stumbles over one that holds, and does not answer at all
		}
	default:
		code = a.prepare(&k, q, &x)
	}
	if code != jute.OK {
		return Txn{Session: k.Session, Cxid: q.Xid, Zxid: k.Zxid, Time: k.Time, Op: jute.Failure, Err: code}
	}
	return x
}

// parts of a multi, one after the other, each seeing what those before it have made pending. When one fails, none has happened: those before it
// are told 0, those after it RuntimeInconsistency.
func (a *Ahead) parts(k *Ask, x *Txn) jute.Code {
	list := k.Request.Sub
	for i := range list {
		switch list[i].Op {
		case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL, jute.Delete, jute.SetData, jute.Check:
		default:
			return jute.MarshallingError
		}
	}
	if len(list) == 0 {
		return jute.OK
	}
	x.Sub = make([]Txn, len(list))
	a.multi = true
	whole := jute.OK
	for i := range list {
		one := list[i]
		if whole = within(&one); whole != jute.OK {
			a.rollBack()
			break
		}
		x.Sub[i].Op = one.Op
		code := a.prepare(k, &one, &x.Sub[i])
		if code == jute.OK {
			continue
		}
		a.rollBack()
		for j := range x.Sub {
			x.Sub[j] = Txn{Op: jute.Failure}
			switch {
			case j == i:
				x.Sub[j].Err = code
			case j > i:
				x.Sub[j].Err = jute.RuntimeInconsistency
			}
		}
		break
	}
	clear(a.undo)
	a.multi, a.undo = false, a.undo[:0]
	return whole
}

// within a multi the flags alone say what is created (Op.create). A TTL without a time is not a part's failure but that of the whole.
func within(q *jute.Request) jute.Code {
	switch q.Op {
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL:
	default:
		return jute.OK
	}
	switch q.Flags {
	case jute.FlagTTL, jute.FlagTTLSequential:
		if q.Op != jute.CreateTTL {
			return jute.MarshallingError
		}
	case jute.FlagContainer:
		q.Op = jute.CreateContainer
	default:
		q.Op = jute.Create
	}
	return jute.OK
}

// prepare one operation. It makes nothing pending unless it succeeds.
func (a *Ahead) prepare(k *Ask, q *jute.Request, x *Txn) jute.Code {
	switch q.Op {
	case jute.DeleteContainer:
		return a.prepareRemoval(k, q, x)
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL, jute.Delete, jute.SetData, jute.SetACL, jute.Check, jute.Reconfig:
	default:
		return jute.Unimplemented
	}
	if q.Op == jute.Create || q.Op == jute.Create2 || q.Op == jute.CreateContainer || q.Op == jute.CreateTTL {
		if !validMode(q) {
			return jute.BadArguments
		}
	}
	// A request that was on its way when its session closed must not leave an ephemeral node behind that nobody would ever delete.
	if !a.opened(k.Session) {
		return jute.SessionExpired
	}
	switch q.Op {
	case jute.Delete:
		return a.prepareDelete(k, q, x)
	case jute.SetData:
		return a.prepareSetData(k, q, x)
	case jute.SetACL:
		return a.prepareSetACL(k, q, x)
	case jute.Check:
		return a.prepareCheck(k, q, x)
	case jute.Reconfig:
		return a.prepareReconfig(k, q, x)
	}
	return a.prepareCreate(k, q, x)
}

// validMode tells whether the flags and the TTL of a create go together with its operation.
func validMode(q *jute.Request) bool {
	switch q.Flags {
	case jute.FlagPersistent, jute.FlagSequential, jute.FlagContainer, jute.FlagEphemeral, jute.FlagEphemeralSeq:
		return q.Op != jute.CreateTTL
	case jute.FlagTTL, jute.FlagTTLSequential:
		return q.Op == jute.CreateTTL && q.TTL > 0 && q.TTL <= MaxTTL
	}
	return false
}

func (a *Ahead) prepareCreate(k *Ask, q *jute.Request, x *Txn) jute.Code {
	above, ok := parentOf(q.Path)
	if !ok {
		return jute.BadArguments
	}
	list, ok := fixACL(q.ACL, k.Who)
	if !ok {
		return jute.InvalidACL
	}
	parent, ok := a.look(above)
	if !ok {
		return jute.NoNode
	}
	if !Allowed(parent.acl, jute.PermCreate, k.Who) {
		return jute.NoAuth
	}
	path := q.Path
	if q.Flags == jute.FlagSequential || q.Flags == jute.FlagEphemeralSeq || q.Flags == jute.FlagTTLSequential {
		path = sequential(path, parent.cversion)
	}
	if !ValidPath(path) {
		return jute.BadArguments
	}
	if _, exists := a.look(path); exists {
		return jute.NodeExists
	}
	if IsSession(parent.owner) {
		return jute.NoChildrenForEphemerals
	}
	parent.children++
	parent.cversion++
	child := record{path: path, born: true, mtime: k.Time, acl: list}
	switch {
	case q.Op == jute.CreateContainer:
		child.owner = ownerContainer
	case q.Op == jute.CreateTTL:
		child.owner, x.TTL = ownerTTL|q.TTL, q.TTL
	case q.Flags == jute.FlagEphemeral || q.Flags == jute.FlagEphemeralSeq:
		child.owner, x.Ephemeral = k.Session, true
	}
	a.put(k.Zxid, parent)
	a.put(k.Zxid, child)
	x.Path, x.Data, x.ACL, x.ParentCversion = path, q.Data, list, parent.cversion
	return jute.OK
}

func (a *Ahead) prepareDelete(k *Ask, q *jute.Request, x *Txn) jute.Code {
	above, ok := parentOf(q.Path)
	if !ok || special(q.Path) {
		return jute.BadArguments
	}
	parent, ok := a.look(above)
	if !ok {
		return jute.NoNode
	}
	if !Allowed(parent.acl, jute.PermDelete, k.Who) {
		return jute.NoAuth
	}
	node, ok := a.look(q.Path)
	switch {
	case !ok:
		return jute.NoNode
	case q.Version != -1 && q.Version != node.version:
		return jute.BadVersion
	case node.children > 0:
		return jute.NotEmpty
	}
	a.remove(k, q.Path)
	x.Path = q.Path
	return jute.OK
}

// remove makes the removal of a node that can be removed pending.
func (a *Ahead) remove(k *Ask, path string) {
	above, _ := parentOf(path)
	parent, _ := a.look(above)
	parent.children--
	a.put(k.Zxid, parent)
	a.put(k.Zxid, record{path: path, gone: true})
}

// prepareRemoval looks again at what Idle has found: a child may have come meanwhile, or a write.
func (a *Ahead) prepareRemoval(k *Ask, q *jute.Request, x *Txn) jute.Code {
	if k.Session != 0 {
		return jute.BadArguments // no client's to ask for: ZooKeeper reads a path that cannot be
	}
	if _, ok := parentOf(q.Path); !ok || special(q.Path) {
		return jute.BadArguments
	}
	node, ok := a.look(q.Path)
	switch {
	case !ok:
		return jute.NoNode
	case node.children > 0:
		return jute.NotEmpty
	case !idle(node.owner, node.cversion, node.mtime, k.Time):
		return jute.BadVersion
	}
	a.remove(k, q.Path)
	x.Path = q.Path
	return jute.OK
}

// reach a node that an operation names, and that the caller may do perms to.
func (a *Ahead) reach(k *Ask, path string, perms int32) (record, jute.Code) {
	if !ValidPath(path) {
		return record{}, jute.BadArguments
	}
	node, ok := a.look(path)
	switch {
	case !ok:
		return record{}, jute.NoNode
	case !Allowed(node.acl, perms, k.Who):
		return record{}, jute.NoAuth
	}
	return node, jute.OK
}

func (a *Ahead) prepareSetData(k *Ask, q *jute.Request, x *Txn) jute.Code {
	node, code := a.reach(k, q.Path, jute.PermWrite)
	if code != jute.OK {
		return code
	}
	if q.Version != -1 && q.Version != node.version {
		return jute.BadVersion
	}
	node.version++
	node.mtime = k.Time
	a.put(k.Zxid, node)
	x.Path, x.Data, x.Version = q.Path, q.Data, node.version
	return jute.OK
}

func (a *Ahead) prepareSetACL(k *Ask, q *jute.Request, x *Txn) jute.Code {
	if !ValidPath(q.Path) {
		return jute.BadArguments
	}
	list, ok := fixACL(q.ACL, k.Who)
	if !ok {
		return jute.InvalidACL
	}
	node, code := a.reach(k, q.Path, jute.PermAdmin)
	if code != jute.OK {
		return code
	}
	if q.Version != -1 && q.Version != node.aversion {
		return jute.BadVersion
	}
	node.aversion++
	node.acl = list
	a.put(k.Zxid, node)
	x.Path, x.ACL, x.Version = q.Path, list, node.aversion
	return jute.OK
}

func (a *Ahead) prepareCheck(k *Ask, q *jute.Request, x *Txn) jute.Code {
	node, code := a.reach(k, q.Path, jute.PermRead)
	if code != jute.OK {
		return code
	}
	if q.Version != -1 && q.Version != node.version {
		return jute.BadVersion
	}
	x.Path, x.Version = q.Path, node.version
	return jute.OK
}

func (a *Ahead) prepareReconfig(k *Ask, q *jute.Request, x *Txn) jute.Code {
	node, code := a.reach(k, ConfigPath, jute.PermWrite)
	if code != jute.OK {
		return code
	}
	node.version, node.mtime = -1, k.Time
	a.put(k.Zxid, node)
	x.Path, x.Data, x.Version = ConfigPath, q.Data, -1
	return jute.OK
}
