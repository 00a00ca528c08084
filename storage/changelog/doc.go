// Package changelog keeps what the partitions of a node changed lately, for watchers: one log of files for all of them, of a
// bounded size, of which the oldest part goes when new changes come.
//
// It must never be in the way of a write, so it has no say in whether one succeeds: it does not sync, and where it cannot
// write it forgets. It guarantees that what it gives out has no gap: where something was lost, or may have been, it says so.
// DESIGN.md tells why this is no part of the replicated state.
package changelog
