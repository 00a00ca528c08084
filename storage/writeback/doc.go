// Package writeback is storage.Engine in front of another one: it keeps commits in memory and writes them behind, many as
// one. What is overwritten or deleted soon costs the engine below one write instead of many, and a commit waits for no disk.
//
// It must not make anything durable that was not committed, and loses with its process what was not synced: only who can
// repeat that, as a replica does from the raft log, may stand on it. DESIGN.md says how it works.
package writeback
