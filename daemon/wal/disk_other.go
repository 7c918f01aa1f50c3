//go:build !linux

package wal

import "os"

// preallocate leaves it to the file to grow.
func preallocate(*os.File, int64) error { return nil }

func datasync(f *os.File) error { return f.Sync() }
