package machine

// Op names what one step of a Command does to the store.
type Op uint8

const (
	OpRange  Op = iota + 1 // Key .. End at Revision (0: now); Limit; KeysOnly, CountOnly in Flags
	OpPut                  // Key = Value
	OpDelete               // Key .. End
)

// Target of a Compare.
type Target uint8

const (
	TargetVersion Target = iota // as in etcd: a missing key has version, create and mod revision 0; its value equals nothing
	TargetCreate
	TargetMod
	TargetValue
)

// Relation of a Compare: what is stored REL what is given.
type Relation uint8

const (
	Equal Relation = iota
	Greater
	Less
	NotEqual
)

// Compare is one condition of a transaction.
type Compare struct {
	Key, End []byte // End as in Operation
	Target   Target
	Relation Relation
	Value    []byte
	Number   int64
}

// Operation is one step of a transaction. End nil: the one key; End "\x00": all keys from Key on; else the half-open interval.
type Operation struct {
	Op       Op
	Key, End []byte
	Value    []byte
	Revision int64
	Limit    int64
	KeysOnly bool
	Count    bool // only the count
	Previous bool // return what was there before (put, delete)
	Keep     bool // put the value that is there; refuse the transaction where the key is missing
	Exists   bool // put; refuse the transaction where the key is missing
}

// CommandKind says what a client asks for.
type CommandKind uint8

const (
	CommandTxn      CommandKind = iota + 1 // Compare, Then, Else
	CommandChanges                         // what changed in Key..End from Revision on, at most Limit events; answered locally
	CommandTransfer                        // hand leadership to Node (0: to the most advanced); must reach the leader
	CommandJoin                            // add voter Node
	CommandLeave                           // remove voter Node
)

// Command is the body of a Request. A CommandTxn without OpPut and OpDelete is a read: it is not logged.
type Command struct {
	Kind    CommandKind
	Local   bool // a read from this node's own state, without asking anyone
	Compare []Compare
	Then    []Operation
	Else    []Operation
	// The rest is for kinds other than CommandTxn.
	Key, End []byte
	Revision int64
	Limit    int64
	Node     int
	Address  []byte // of a joining node: opaque to the machine, kept in the configuration
}

// Outcome of a Request.
type Outcome uint8

const (
	Done      Outcome = iota + 1 // it took effect once
	Refused                      // it had no effect and never will: Reason
	Unknown                      // it may or may not take effect
	Compacted                    // the revision asked for is gone; no effect
	Future                       // the revision asked for has not come yet; no effect
)

// KeyValue is one key with etcd's counters.
type KeyValue struct {
	Key, Value []byte
	Create     int64 // revision
	Mod        int64 // revision
	Version    int64 // writes since its creation
}

// Response to one Operation.
type Response struct {
	Op       Op
	Pairs    []KeyValue // of a range
	Count    int64      // of a range: matches, before Limit; of a delete: keys deleted
	More     bool       // Limit cut the range
	Previous []KeyValue
}

// Change is one event of the store's history: a put, or a delete where Deleted (Pair has then only Key and Mod).
type Change struct {
	Pair     KeyValue
	Deleted  bool
	Previous *KeyValue
}

// Result is the body of a Reply.
type Result struct {
	Outcome   Outcome
	Reason    string
	Succeeded bool  // Compare held
	Revision  int64 // of the store when it was executed
	Oldest    int64 // with Compacted: the least revision that can still be asked for
	Term      uint64
	Index     uint64 // log index of a write; applied index of a read
	Responses []Response
	Changes   []Change
}
