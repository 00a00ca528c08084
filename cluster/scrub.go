package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// A pass reads so many bytes a second, or as many as let it end within half the interval, if that is more.
const scrubRate = 8 << 20

// scrubber is what the node knows of the health of its disk.
type scrubber struct {
	suspects chan ring.PartitionID // read as corrupt

	mu       sync.Mutex
	passes   uint64
	lastEnd  time.Time
	refilled uint64
	damaged  map[ring.PartitionID]bool // found, and not whole again
	tables   bool                      // files are damaged though all partitions are whole
}

func newScrubber() *scrubber {
	return &scrubber{suspects: make(chan ring.PartitionID, 16), damaged: make(map[ring.PartitionID]bool)}
}

// ScrubStats is what scrubbing has found since the start.
type ScrubStats struct {
	Passes   uint64
	LastEnd  time.Time // zero before the first
	Refilled uint64    // replicas that were replaced because of damage
	Damaged  int       // replicas that are damaged now; files beside them count as one
}

func (s *scrubber) stats() ScrubStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := ScrubStats{Passes: s.passes, LastEnd: s.lastEnd, Refilled: s.refilled, Damaged: len(s.damaged)}
	if s.tables {
		st.Damaged++
	}
	return st
}

func (s *scrubber) note(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// suspect has a partition looked at soon if err says that it is damaged.
func (n *Node) suspect(p ring.PartitionID, err error) {
	if !errors.Is(err, storage.ErrCorrupt) {
		return
	}
	select {
	case n.scrubber.suspects <- p:
	default: // enough to do; the damage is found again
	}
}

// scrub reads everything that this node has in its state machines again and again, slowly, and has what is damaged
// refilled from the others; what a read finds damaged at once.
func (n *Node) scrub() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case p := <-n.scrubber.suspects:
			n.repair([]ring.PartitionID{p})
		case <-n.nextScrub():
			n.scrubAll()
		}
	}
}

// nextScrub is when the next pass is due: about an interval from now, not at all nodes at the same time; never if it is
// turned off.
func (n *Node) nextScrub() <-chan time.Time {
	every := n.cfg.ScrubInterval
	if every <= 0 {
		return nil
	}
	return time.After(every*9/10 + rand.N(every/5+1))
}

func (n *Node) scrubAll() {
	pace := n.newPace()
	tables := n.tables.Scrub(n.ctx, pace.wait)
	if n.ctx.Err() != nil {
		return
	}
	if tables != nil {
		n.logger.Error("a file of the storage is damaged; looking for what is in it", "err", tables)
		pace = nil
	}
	n.repair(n.findDamaged(pace))
	if tables != nil {
		n.replaceTables()
	}
	if n.ctx.Err() == nil {
		n.scrubber.note(func() { n.scrubber.passes, n.scrubber.lastEnd = n.scrubber.passes+1, time.Now() })
	}
}

// findDamaged verifies all partitions and returns those that are not whole.
func (n *Node) findDamaged(pace *pace) []ring.PartitionID {
	v := n.engine.View()
	all, err := storage.Partitions(v)
	v.Close()
	if err != nil {
		n.logger.Error("list partitions", "err", err)
		return nil
	}
	var damaged []ring.PartitionID
	for _, p := range all {
		if n.ctx.Err() != nil {
			return nil
		}
		if err := n.verify(p, pace); errors.Is(err, storage.ErrCorrupt) {
			damaged = append(damaged, p)
		}
	}
	return damaged
}

// verify reads a partition and checks it. One that is being filled or dropped contradicts itself for a while.
func (n *Node) verify(p ring.PartitionID, pace *pace) (err error) {
	v := n.engine.UncachedView()
	defer v.Close()
	_, filling, err := storage.PendingInstall(v, p)
	dropping, err2 := storage.PendingDrop(v, p)
	if err := errors.Join(err, err2); err != nil || filling || dropping {
		return err
	}
	defer func() {
		// Badger trusts what it finds in a block; what it finds in a damaged one may lead it anywhere.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: reading partition %d ended in: %v", storage.ErrCorrupt, p, r)
		}
	}()
	return storage.Verify(pacedReader{v, pace}, p)
}

// repair refills what is damaged, one after the other.
func (n *Node) repair(damaged []ring.PartitionID) {
	for _, p := range damaged {
		err := n.verify(p, nil)
		if !errors.Is(err, storage.ErrCorrupt) {
			n.scrubber.note(func() { delete(n.scrubber.damaged, p) })
			continue
		}
		n.logger.Error("a replica is damaged on disk; refilling it from its group's leader", "partition", p, "err", err)
		n.scrubber.note(func() { n.scrubber.damaged[p] = true })
		if err = n.refill(n.ctx, p); err == nil {
			err = n.verify(p, nil)
		}
		if n.ctx.Err() != nil {
			return
		}
		if err != nil {
			n.logger.Error("a replica stays damaged; if this goes on, stop the node, empty its data directory and start it with --join: it is refilled from the others",
				"partition", p, "data_dir", n.cfg.DataDir, "err", err)
			continue
		}
		n.scrubber.note(func() {
			delete(n.scrubber.damaged, p)
			n.scrubber.refilled++
		})
	}
}

// replaceTables has the engine write all tables anew, now that everything in them is whole, or hidden by what is.
func (n *Node) replaceTables() {
	done := make(chan struct{})
	select {
	case n.compactions <- done:
		<-done
	case <-n.ctx.Done():
		return
	}
	err := n.tables.Scrub(n.ctx, nil)
	if n.ctx.Err() != nil {
		return
	}
	left := n.findDamaged(nil)
	n.scrubber.note(func() { n.scrubber.tables = err != nil || len(left) > 0 })
	if err != nil || len(left) > 0 {
		n.logger.Error("the storage stays damaged: stop the node, empty its data directory and start it with --join: it is refilled from the others",
			"data_dir", n.cfg.DataDir, "partitions", slices.Clone(left), "err", err)
		return
	}
	n.logger.Info("the storage is whole again")
}

// pace makes a pass take its time.
type pace struct {
	ctx   context.Context
	rate  int // bytes a second
	ahead int // bytes read since the last rest
}

// restEvery is how many bytes are read between two rests.
const restEvery = 1 << 20

func (n *Node) newPace() *pace {
	rate := int64(scrubRate)
	if secs := int64(n.cfg.ScrubInterval / (2 * time.Second)); secs > 0 {
		rate = max(rate, 2*n.engine.DiskBytes()/secs) // tables and partitions: everything twice
	} else {
		rate = 1 << 40
	}
	return &pace{ctx: n.ctx, rate: int(rate)}
}

// wait counts bytes that were read and rests if they were many. Error: why the node stops.
func (p *pace) wait(bytes int) error {
	if p == nil {
		return nil
	}
	if p.ahead += bytes; p.ahead < restEvery {
		return nil
	}
	rest := time.Duration(float64(p.ahead) / float64(p.rate) * float64(time.Second))
	p.ahead = 0
	select {
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-time.After(rest):
		return nil
	}
}

// pacedReader is a Reader that takes its time.
type pacedReader struct {
	storage.Reader
	pace *pace
}

func (r pacedReader) Get(key []byte) ([]byte, error) {
	value, err := r.Reader.Get(key)
	if err == nil {
		err = r.pace.wait(len(key) + len(value))
	}
	return value, err
}

func (r pacedReader) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	return r.Reader.Scan(start, end, keysOnly, func(key, value []byte) (bool, error) {
		if err := r.pace.wait(len(key) + len(value)); err != nil {
			return false, err
		}
		return fn(key, value)
	})
}
