// Package txn is the atomic-commit core: what a coordinator and a recoverer do, as pure state machines over the
// participants' replies. It has no I/O, clock, randomness or goroutine; package txn/service gives it those.
//
// The protocol is the project's commit protocol; its rules (R…) and invariants (I…) are named where they are kept.
// DESIGN.md has the states, the diagram and the costs.
package txn
