// Package jute is the ZooKeeper client protocol: what clients and servers say to each other, and its encoding, which ZooKeeper calls jute. It is
// what front ends, clients and the replicated data tree share.
//
// A frame on the wire is an int32 length and a payload; this package knows payloads. Integers are big-endian; a string or a buffer is an int32 length
// (-1: none) and its bytes; a list is an int32 count and its items. The records are those of zookeeper.jute of Apache ZooKeeper 3.8.
//
// What Decode functions return aliases nothing that they were given. They never panic, and it is no greater than 64 times
// their input, whatever lengths that claims. Bytes behind the last field are ignored, as ZooKeeper does.
package jute

// Op is the kind of a request.
type Op int32

// The operations, with the numbers of zookeeper.jute's ZooDefs.OpCode.
const (
	Notify          Op = 0
	Create          Op = 1
	Delete          Op = 2
	Exists          Op = 3
	GetData         Op = 4
	SetData         Op = 5
	GetACL          Op = 6
	SetACL          Op = 7
	GetChildren     Op = 8
	Sync            Op = 9
	Ping            Op = 11
	GetChildren2    Op = 12
	Check           Op = 13 // in a Multi only
	Multi           Op = 14
	Create2         Op = 15
	Reconfig        Op = 16
	CheckWatches    Op = 17
	RemoveWatches   Op = 18
	CreateContainer Op = 19
	DeleteContainer Op = 20 // of the leader's own
	CreateTTL       Op = 21
	MultiRead       Op = 22
	Auth            Op = 100
	SetWatches      Op = 101
	SASL            Op = 102
	GetEphemerals   Op = 103
	CountChildren   Op = 104 // getAllChildrenNumber
	SetWatches2     Op = 105
	AddWatch        Op = 106
	WhoAmI          Op = 107
	CreateSession   Op = -10 // of the servers' own
	CloseSession    Op = -11
	Failure         Op = -1 // in the result of a Multi, and a transaction that only uses up its zxid
)

// Special Xids.
const (
	XidNotification int32 = -1
	XidPing         int32 = -2
	XidAuth         int32 = -4
	XidSetWatches   int32 = -8
)

// Code is the outcome of a request; 0 is success.
type Code int32

// The codes of org.apache.zookeeper.KeeperException.Code.
const (
	OK                      Code = 0
	SystemError             Code = -1
	RuntimeInconsistency    Code = -2
	DataInconsistency       Code = -3
	ConnectionLoss          Code = -4 // a client's own
	MarshallingError        Code = -5
	Unimplemented           Code = -6
	OperationTimeout        Code = -7
	BadArguments            Code = -8
	NewConfigNoQuorum       Code = -13
	ReconfigInProgress      Code = -14
	APIError                Code = -100
	NoNode                  Code = -101
	NoAuth                  Code = -102
	BadVersion              Code = -103
	NoChildrenForEphemerals Code = -108
	NodeExists              Code = -110
	NotEmpty                Code = -111
	SessionExpired          Code = -112
	InvalidCallback         Code = -113
	InvalidACL              Code = -114
	AuthFailed              Code = -115
	SessionMoved            Code = -118
	NotReadOnly             Code = -119
	EphemeralOnLocalSession Code = -120
	NoWatcher               Code = -121
	RequestTimeout          Code = -122
	ReconfigDisabled        Code = -123
	SASLRequired            Code = -124 // SESSIONCLOSEDREQUIRESASLAUTH
	QuotaExceeded           Code = -125
	Throttled               Code = -127
)

// Permissions of an ACL.
const (
	PermRead   int32 = 1
	PermWrite  int32 = 2
	PermCreate int32 = 4
	PermDelete int32 = 8
	PermAdmin  int32 = 16
	PermAll    int32 = 31
)

// Flags of a create.
const (
	FlagPersistent    int32 = 0
	FlagEphemeral     int32 = 1
	FlagSequential    int32 = 2
	FlagEphemeralSeq  int32 = 3
	FlagContainer     int32 = 4
	FlagTTL           int32 = 5
	FlagTTLSequential int32 = 6
)

// Event types of a notification, and the one state in which servers send them.
const (
	EventCreated         int32 = 1
	EventDeleted         int32 = 2
	EventDataChanged     int32 = 3
	EventChildrenChanged int32 = 4

	StateConnected int32 = 3
)

// Modes of AddWatch, and types of watches for CheckWatches and RemoveWatches.
const (
	WatchPersistent int32 = 0
	WatchRecursive  int32 = 1

	WatcherChildren int32 = 1
	WatcherData     int32 = 2
	WatcherAny      int32 = 3
)

// Stat of a node: 68 bytes. Times are milliseconds since 1970.
type Stat struct {
	Czxid, Mzxid                int64
	Ctime, Mtime                int64
	Version, Cversion, Aversion int32
	EphemeralOwner              int64 // session; 0: not ephemeral
	DataLength, NumChildren     int32
	Pzxid                       int64
}

// ID is somebody, as a scheme knows him: world, auth, digest, ip, super.
type ID struct{ Scheme, ID string }

// ACL gives somebody permissions.
type ACL struct {
	Perms int32
	ID    ID
}

// ConnectRequest is the first frame of a client. Some clients leave the last byte away.
type ConnectRequest struct {
	Protocol    int32
	LastZxid    int64 // the greatest that the client has seen
	Timeout     int32 // of the session, milliseconds
	Session     int64 // 0: a new one
	Password    []byte
	ReadOnly    bool
	HasReadOnly bool // the last byte is there; the answer has one then, too
}

// ConnectResponse answers it. Session 0 and Timeout 0: the session has expired, or the password is wrong.
type ConnectResponse struct {
	Protocol    int32
	Timeout     int32
	Session     int64
	Password    []byte // 16 bytes
	ReadOnly    bool
	HasReadOnly bool
}

// Request is any request after the first. Which fields count depends on Op.
type Request struct {
	Xid int32
	Op  Op

	Path    string
	Data    []byte
	Version int32
	ACL     []ACL
	Flags   int32
	TTL     int64 // CreateTTL, milliseconds
	Watch   bool
	Mode    int32 // AddWatch's mode; CheckWatches' and RemoveWatches' type
	Scheme  string
	Auth    []byte
	Sub     []Request // Multi and MultiRead; their Xid is 0, and ZooKeeper ignores their Watch
	Watches Watches   // SetWatches and SetWatches2
	Body    []byte    // of an operation that this package has no fields for, as it came
}

// Watches are those that a client sets anew when it has reconnected.
type Watches struct {
	RelativeZxid                              int64
	Data, Exist, Child, Persistent, Recursive []string
}

// Response to a Request. Which fields count depends on the request's Op; with Err only the header is sent. (A Multi that fails at one of its parts says
// so in Sub only, and OK in the header: see Encode.)
type Response struct {
	Xid  int32
	Zxid int64
	Err  Code

	Path     string // Create, Create2, CreateContainer, CreateTTL, Sync
	Stat     Stat   // all that return one
	Data     []byte
	ACL      []ACL
	Children []string // GetChildren(2), GetEphemerals
	Count    int32    // CountChildren
	IDs      []ID     // WhoAmI
	Sub      []Result // Multi and MultiRead
}

// Result is one operation's part of a Multi's or MultiRead's response. Op is the kind of body that follows on the wire: Create (a path), Create2 (a path
// and a Stat), SetData (a Stat), GetData, GetChildren, Delete and Check (nothing); Failure: an error. A Create2 within a Multi is answered as a Create by
// ZooKeeper 3.8 (ZOOKEEPER-4026), and go-zookeeper takes nothing else. In a Multi that has failed all are Failures: OK before the one that has failed,
// RuntimeInconsistency after it.
type Result struct {
	Op       Op
	Err      Code
	Path     string
	Stat     Stat
	Data     []byte
	Children []string
}

// Event is a notification.
type Event struct {
	Type, State int32
	Path        string
}
