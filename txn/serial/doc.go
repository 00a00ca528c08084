// Package serial judges histories of transactions: are they strictly serializable, and if not, what went wrong?
//
// A history is what clients asked and heard. Its transactions append unique numbers to lists and read whole lists. Such a
// read tells which appends came before it and in which order, so a graph of who must precede whom follows from the reads
// alone, and a cycle in it is a proof that no serial order exists. The verdict names the anomaly in Adya's words and
// explains every edge of a short cycle. The other way round: no cycle, no complaint, means that a serial order exists
// that also agrees with real time. DESIGN.md has the argument.
//
// Check and CheckFinal are pure functions. A Recorder collects a history from running clients; it is the only part that
// may be used from several goroutines. The package knows nothing of the system that it judges.
package serial
