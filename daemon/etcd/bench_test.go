package etcd

import (
	"fmt"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// BenchmarkFront is the most that the front end lets through: client and server in one process, no consensus, no disk.
func BenchmarkFront(b *testing.B) {
	for _, connections := range []int{1, 50} {
		for _, op := range []string{"put", "get"} {
			b.Run(fmt.Sprintf("%s/%d", op, connections), func(b *testing.B) {
				address := serve(b, newMemory(0))
				var left atomic.Int64
				left.Store(int64(b.N))
				ended := make(chan error, connections)
				value := make([]byte, 100)
				b.ReportAllocs()
				for range connections {
					kv := pb.NewKVClient(raw(b, address))
					go func() {
						var err error
						for err == nil && left.Add(-1) >= 0 {
							if op == "put" {
								_, err = kv.Put(b.Context(), &pb.PutRequest{Key: []byte("key"), Value: value})
							} else {
								_, err = kv.Range(b.Context(), &pb.RangeRequest{Key: []byte("key")})
							}
						}
						ended <- err
					}()
				}
				for range connections {
					if err := <-ended; err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
