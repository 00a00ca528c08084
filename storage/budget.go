package storage

const (
	// sweepBytes is about what one purge or sweep adds to a batch; the next one goes on.
	sweepBytes = 1 << 20
	// removeBytes is the same for what an entry removes of finished transactions beside its own work.
	removeBytes = 64 << 10
)

// budget bounds what one entry removes, in records and in what that adds to the batch: Batch.Size is the same on every
// engine, so that all replicas stop at the same place. The last removal may pass it.
type budget struct {
	b    Batch
	left int // records
	stop int // Batch.Size
}

func newBudget(b Batch, records, bytes int) *budget {
	return &budget{b: b, left: records, stop: b.Size() + bytes}
}

// spent tells whether nothing more may be removed.
func (g *budget) spent() bool { return g.left <= 0 || g.b.Size() >= g.stop }
