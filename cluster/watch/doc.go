// Package watch tells watchers what changes under a prefix: the Hub of a node follows the history of every partition, once
// for all its watchers, and each Watcher is a bounded queue behind it with a cursor to go on from at any node.
//
// It guarantees that no change behind a cursor is skipped or told twice, over any number of resumes, and that the versions
// of a key ascend. It promises no order between partitions. It does no I/O of its own: Cluster is how it reads histories,
// wherever they are. It must not hold writers up: it reads behind them, and gives a slow watcher up. DESIGN.md has the rest.
package watch
