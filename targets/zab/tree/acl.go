package tree

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"assize/machine/jute"
)

// Schemes of identities.
const (
	schemeWorld  = "world"
	schemeAuth   = "auth"
	schemeDigest = "digest"
	schemeIP     = "ip"
	schemeSuper  = "super"

	anyone = "anyone"
)

// open is the list that lets anyone do anything. Nodes with it share this one.
var open = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: schemeWorld, ID: anyone}}}

// readable lets anyone read.
var readable = []jute.ACL{{Perms: jute.PermRead, ID: jute.ID{Scheme: schemeWorld, ID: anyone}}}

// shared is the one copy of a common list, or the list.
func shared(list []jute.ACL) []jute.ACL {
	if len(list) == 1 && list[0] == open[0] {
		return open
	}
	return list
}

// Digest is the identity of whoever knows "user:password".
func Digest(userPassword string) jute.ID {
	user, _, _ := strings.Cut(userPassword, ":")
	sum := sha1.Sum([]byte(userPassword))
	return jute.ID{Scheme: schemeDigest, ID: user + ":" + base64.StdEncoding.EncodeToString(sum[:])}
}

// Authenticate gives the identities that a connection earns by an Auth request, besides those it has. super is the superuser's digest
// as Digest makes it; empty: there is none. ok is false where the scheme is unknown, or there is nothing to digest: the connection is to be told AuthFailed,
// and closed. Scheme ip earns what the connection has already.
func Authenticate(scheme string, auth []byte, super string) (earned []jute.ID, ok bool) {
	switch scheme {
	case schemeDigest:
		if auth == nil {
			return nil, false
		}
		id := Digest(string(auth))
		if super != "" && id.ID == super {
			earned = append(earned, jute.ID{Scheme: schemeSuper})
		}
		return append(earned, id), true
	case schemeIP:
		return nil, true
	}
	return nil, false
}

// IP is the identity of a connection from an address without port.
func IP(address string) jute.ID { return jute.ID{Scheme: schemeIP, ID: address} }

// Allowed tells whether one of the identities may do one of perms under the list. An empty list allows all.
func Allowed(list []jute.ACL, perms int32, who []jute.ID) bool {
	if len(list) == 0 {
		return true
	}
	for i := range who {
		if who[i].Scheme == schemeSuper {
			return true
		}
	}
	for i := range list {
		a := &list[i]
		if a.Perms&perms != 0 && matches(&a.ID, who) {
			return true
		}
	}
	return false
}

func matches(id *jute.ID, who []jute.ID) bool {
	switch id.Scheme {
	case schemeWorld:
		return id.ID == anyone
	case schemeDigest:
		return slices.Contains(who, *id)
	case schemeIP:
		net, bits, ok := parseNet(id.ID)
		if !ok {
			return false
		}
		for i := range who {
			if who[i].Scheme != schemeIP {
				continue
			}
			if address, ok := parseIP(who[i].ID); ok && (address^net)>>(32-bits) == 0 {
				return true
			}
		}
	}
	return false
}

// parseIP reads an IPv4 address. ZooKeeper's provider knows no other; an address of IPv6 matches nothing.
func parseIP(s string) (address uint64, ok bool) {
	for i := range 4 {
		part, rest, more := strings.Cut(s, ".")
		v, err := strconv.Atoi(part)
		if err != nil || v < 0 || v > 255 || more != (i < 3) {
			return 0, false
		}
		address, s = address<<8|uint64(v), rest
	}
	return address, true
}

// parseNet reads an address with an optional /bits.
func parseNet(s string) (address uint64, bits int, ok bool) {
	part, width, more := strings.Cut(s, "/")
	bits = 32
	if more {
		var err error
		if bits, err = strconv.Atoi(width); err != nil || bits < 0 || bits > 32 {
			return 0, 0, false
		}
	}
	address, ok = parseIP(part)
	return address, bits, ok
}

// fixACL is ZooKeeper's fixupACL: the list without its duplicates, each id of a known scheme and well formed, auth replaced by what the caller has
// authenticated as. ok is false where the list is not to be had.
func fixACL(list []jute.ACL, who []jute.ID) (fixed []jute.ACL, ok bool) {
	if len(list) == 1 && list[0] == open[0] {
		return open, true
	}
	for i := range list {
		a := &list[i]
		if slices.Contains(list[:i], *a) {
			continue
		}
		switch a.ID.Scheme {
		case schemeWorld:
			ok = a.ID.ID == anyone
		case schemeAuth:
			ok = false
			for _, id := range who {
				if id.Scheme == schemeDigest { // an address is no authentication, and nobody can be given super
					fixed, ok = append(fixed, jute.ACL{Perms: a.Perms, ID: id}), true
				}
			}
			if ok {
				continue
			}
		case schemeDigest:
			ok = validDigest(a.ID.ID)
		case schemeIP:
			_, _, ok = parseNet(a.ID.ID)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
		fixed = append(fixed, *a)
	}
	return fixed, len(fixed) > 0
}

// validDigest: two parts, as Java's split counts them, which drops empty ones at the end.
func validDigest(id string) bool {
	return strings.Count(strings.TrimRight(id, ":"), ":") == 1
}

// masked hides the digests in a list from someone who may read but not administer it.
func masked(list []jute.ACL) []jute.ACL {
	hidden := slices.Clone(list)
	for i := range hidden {
		id := &hidden[i].ID
		if user, _, found := strings.Cut(id.ID, ":"); found && id.Scheme == schemeDigest {
			id.ID = user + ":x"
		}
	}
	return hidden
}
