package jute

import "strconv"

var opNames = map[Op]string{
	Notify:          "notification",
	Create:          "create",
	Delete:          "delete",
	Exists:          "exists",
	GetData:         "getData",
	SetData:         "setData",
	GetACL:          "getACL",
	SetACL:          "setACL",
	GetChildren:     "getChildren",
	Sync:            "sync",
	Ping:            "ping",
	GetChildren2:    "getChildren2",
	Check:           "check",
	Multi:           "multi",
	Create2:         "create2",
	Reconfig:        "reconfig",
	CheckWatches:    "checkWatches",
	RemoveWatches:   "removeWatches",
	CreateContainer: "createContainer",
	DeleteContainer: "deleteContainer",
	CreateTTL:       "createTTL",
	MultiRead:       "multiRead",
	Auth:            "auth",
	SetWatches:      "setWatches",
	SASL:            "sasl",
	GetEphemerals:   "getEphemerals",
	CountChildren:   "getAllChildrenNumber",
	SetWatches2:     "setWatches2",
	AddWatch:        "addWatch",
	WhoAmI:          "whoAmI",
	CreateSession:   "createSession",
	CloseSession:    "closeSession",
	Failure:         "error",
}

// String is ZooKeeper's name of o, that of ZooDefs.OpCode.
func (o Op) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return "op " + strconv.Itoa(int(o))
}

// Writes says whether o is decided by the leader and, as a rule, uses up a zxid, whatever comes of it. Sync does not: it goes to the leader, but changes
// nothing.
func (o Op) Writes() bool {
	switch o {
	case Create, Create2, CreateContainer, CreateTTL, Delete, DeleteContainer, SetData, SetACL, Check, Multi, Reconfig, CreateSession, CloseSession:
		return true
	}
	return false
}

var codeNames = map[Code]string{
	OK:                      "ok",
	SystemError:             "SystemError",
	RuntimeInconsistency:    "RuntimeInconsistency",
	DataInconsistency:       "DataInconsistency",
	ConnectionLoss:          "ConnectionLoss",
	MarshallingError:        "MarshallingError",
	Unimplemented:           "Unimplemented",
	OperationTimeout:        "OperationTimeout",
	BadArguments:            "BadArguments",
	NewConfigNoQuorum:       "NewConfigNoQuorum",
	ReconfigInProgress:      "ReconfigInProgress",
	APIError:                "APIError",
	NoNode:                  "NoNode",
	NoAuth:                  "NoAuth",
	BadVersion:              "BadVersion",
	NoChildrenForEphemerals: "NoChildrenForEphemerals",
	NodeExists:              "NodeExists",
	NotEmpty:                "NotEmpty",
	SessionExpired:          "SessionExpired",
	InvalidCallback:         "InvalidCallback",
	InvalidACL:              "InvalidACL",
	AuthFailed:              "AuthFailed",
	SessionMoved:            "SessionMoved",
	NotReadOnly:             "NotReadOnly",
	EphemeralOnLocalSession: "EphemeralOnLocalSession",
	NoWatcher:               "NoWatcher",
	RequestTimeout:          "RequestTimeout",
	ReconfigDisabled:        "ReconfigDisabled",
	SASLRequired:            "SessionClosedRequireSaslAuth",
	QuotaExceeded:           "QuotaExceeded",
	Throttled:               "ThrottledOp",
}

// String is ZooKeeper's name of c, that of its KeeperException without the word Exception.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "code " + strconv.Itoa(int(c))
}
