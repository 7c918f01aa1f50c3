package daemon

import "sync/atomic"

// counts of what the host has done since it began.
type counts struct {
	batches, events           atomic.Uint64 // stepped
	syncs, records, snapshots atomic.Uint64 // written
	sent, received, sentBytes atomic.Uint64 // messages, bytes
	dropped, rejected         atomic.Uint64 // messages; connections
	requests, refused         atomic.Uint64 // of clients
	pushed                    atomic.Uint64 // replies to open connections
}

func (c *counts) values() map[string]uint64 {
	return map[string]uint64{
		"batches": c.batches.Load(), "events": c.events.Load(),
		"syncs": c.syncs.Load(), "records": c.records.Load(), "snapshots": c.snapshots.Load(),
		"sent": c.sent.Load(), "received": c.received.Load(), "sent_bytes": c.sentBytes.Load(),
		"dropped": c.dropped.Load(), "rejected": c.rejected.Load(),
		"requests": c.requests.Load(), "refused": c.refused.Load(),
		"pushed": c.pushed.Load(),
	}
}
