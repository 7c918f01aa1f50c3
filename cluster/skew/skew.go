// Package skew falsifies the clocks of any one process of this machine, static or dynamic, without its help and without touching the clocks of
// the host or of its neighbours: it replaces what the process reads its clocks by, the vDSO, in that process alone.
package skew
