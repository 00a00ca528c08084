// Package service runs a node's transactions: it gives the pure machines of package txn their clock, goroutines and
// messages. It coordinates what clients of this node ask for, recovers what others have abandoned, tells groups what is
// finished, and, where this node leads the metadata group, sweeps up after incarnations that are dead.
//
// It decides nothing: every decision is a machine's, and every machine may be lost at any moment.
package service
