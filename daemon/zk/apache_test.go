package zk

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
	"assize/daemon/clienttest"
	"assize/history"
)

// TestApache: the same client against ZooKeeper itself, and its answers to four-letter words in the formats that ours have.
func TestApache(t *testing.T) {
	address := clienttest.Apache(t)
	c := connect(t, address, cluster.Options{Timeout: long})
	speak(t, c)
	for i, read := range []string{"", "sync", "quorum-sync"} {
		c := connect(t, address, cluster.Options{Timeout: long, Read: read})
		a, err := c.Do(t.Context(), one(history.Read, "a"))
		if err != nil || !reflect.DeepEqual(a.Txn[0].Out, []int{6}) || a.Version == 0 {
			t.Errorf("a %q read: %+v, %v", read, a, err)
		}
		if a, err = c.Do(t.Context(), one(history.Scan, "s")); err != nil || !reflect.DeepEqual(a.Txn[0].Out, []int{7, 12}) {
			t.Errorf("a %q scan: %+v, %v", read, a, err)
		}
		if _, err = c.Do(t.Context(), one(history.Write, fmt.Sprint("new", i), 1)); err != nil {
			t.Errorf("a write after it: %v", err)
		}
	}
	likeApache(t, address)
	if _, err := Status(t.Context(), address); err == nil {
		t.Error("it has told the vitals of a node of ours")
	}
}

// TestApachesRefusal: what no ACL allows is not done, and known not to be.
func TestApachesRefusal(t *testing.T) {
	address := clienttest.Apache(t)
	c := connect(t, address, cluster.Options{Timeout: long})
	acl := []zookeeper.ACL{{Perms: zookeeper.PermRead, Scheme: "world", ID: "anyone"}}
	if _, err := c.session.Conn.Create("/r-closed", []byte("1"), 0, acl); err != nil {
		t.Fatal(err)
	}
	for _, txn := range []history.Txn{one(history.Write, "closed", 2), one(history.CAS, "closed", 1, 2)} {
		if _, err := c.Do(t.Context(), txn); !errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: %v", txn[0].F, err)
		}
	}
	if a, err := c.Do(t.Context(), one(history.Read, "closed")); err != nil || !reflect.DeepEqual(a.Txn[0].Out, []int{1}) {
		t.Errorf("read: %+v, %v", a, err)
	}
}
