// Package sim runs a whole cluster in one goroutine under one seed: the workers, replicas, logs and state machines of
// the real node over disks, a network and a clock that exist only here. It decides from the seed what happens next,
// breaks whatever may break, and then judges what the clients saw and what the disks hold.
//
// It owns no rule of the cluster and must not repeat one: what it runs is package worker and the machines of package txn,
// and what it judges is only what package storage and the API promise. The same Config gives the same run, event by event; see DESIGN.md.
package sim
