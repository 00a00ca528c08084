package sim

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/txn"
)

// Config is one run. The zero value of everything but Seed means the default.
type Config struct {
	Seed        uint64
	Nodes       int              // members at the most at a time, from 3 on; default 3 to 5, drawn from the seed
	Partitions  int              // a power of two; default 2, 4 or 8
	Clients     int              // default 5
	Keys        int              // that they use, default 6
	TxnClients  int              // that do transactions, default 8; negative: none, and nothing about transactions happens
	Protocol    storage.Protocol // of all transactions; default all of them, mixed
	LockClients int              // that take locks and write what these guard; default none. They need TxnClients
	Mortal      bool             // some of what plain clients put has a TTL
	Chaos       time.Duration    // virtual time under faults, default 12 s
	Calm        time.Duration    // virtual time in which the cluster must settle afterwards, default 120 s
	Pace        time.Duration    // between two faults, about; default 100 to 900 ms, drawn from the seed
	Direct      bool             // nodes commit to their disks at once, without memory before them
	Sabotage    Sabotage
	Log         io.Writer // gets a line for every noted event; default none
}

// Sabotage breaks the system on purpose, from outside, to test that the checks convict. The zero value breaks nothing.
type Sabotage struct {
	// FS stands between a node's log and its disk.
	FS func(raftlog.FS) raftlog.FS
	// Engine stands between a worker and its engine, Below between the memory of that and the disk.
	Engine, Below func(storage.Engine) storage.Engine
	// Restart damages what a node finds on its disk when it starts again.
	Restart func(*Disk) error
	// Command changes a command on its way into a leader's worker.
	Command func(rng *mathrand.Rand, data []byte) []byte
	// Snapshot changes a snapshot on its way.
	Snapshot func(rng *mathrand.Rand, data []byte) []byte
	// Revive lets reads find what has expired and is not purged yet.
	Revive bool
	// TrustLeader serves reads wherever a node believes that it leads, without asking the group.
	TrustLeader bool
	// Suspect changes what a node believes of a transaction that it is about to recover.
	Suspect func(*storage.OpenTxn)
	// Answer changes what a coordinator tells its client.
	Answer func(*txn.Answer) *txn.Answer
	// Grace is how long a coordinator that cannot decide alone hopes to hear more, instead of the usual time.
	Grace time.Duration
	// Send stands between a coordinator, recoverer or sweeper and the groups.
	Send func(rng *mathrand.Rand, s *txn.Send) Tampering
	// DirtyReads lets reads pass exclusive locks; CheckVersions only the second look of read-only transactions, and OnePass
	// leaves that out. GuessNo and GuessAbsent let a status query conclude from a NO that is not sealed, and from no record.
	DirtyReads, CheckVersions, OnePass, GuessNo, GuessAbsent bool
	// ForgetDecided moves a coordinator's mark when it has answered its client, not when all groups have acknowledged.
	ForgetDecided bool
	// Token changes the fencing token that a client is told.
	Token func(storage.Version) storage.Version
	// Clock is what a node takes for its monotonic clock.
	Clock func(node int, now time.Duration) time.Duration
	// Unguarded writes what locks guard without asking for the lock. AskOnce never asks another leader about a wish for a lock.
	// ForgetLines lets new leaders forget who waits for locks.
	Unguarded, AskOnce, ForgetLines bool
	// Repeat submits every write that was answered as unknown once more, as careless clients do.
	Repeat bool
}

// Tampering is what becomes of a command that is handed out. The zero value lets it pass.
type Tampering struct {
	Reply *storage.TxnReply // made up: it is taken, and nothing is sent
	Then  *txn.Send         // sent after the answer
	Delay time.Duration
}

// Report is what became of a run.
type Report struct {
	Seed  uint64
	Trace uint64 // hash of everything that happened, in order
	Stats Stats
	// Err is nil if every promise was kept.
	Err error
}

// Stats counts what a run went through, so that a test can tell that its faults happened.
type Stats struct {
	Events    int           // that happened
	Virtual   time.Duration // that passed
	Acked     int           // requests answered with a result
	Unknown   int           // writes whose outcome the client never learned
	Failed    int           // requests that certainly had no effect
	Reads     int           // answered
	Vanished  int           // of them, those that found nothing where the client knew of something: deleted, or expired
	Expired   int           // keys whose time was over
	Powercuts int           // nodes that lost what was not synced
	Kills     int           // nodes that lost only their memory
	Forgotten int           // batches that engines lost with the power
	Flights   int           // layers that engines began to write down
	Unwritten int           // commits that were in memory only when a process ended
	Grounded  int           // flights that a process's end kept from the disk
	DiskFails int           // failed syncs and commits
	Filled    int           // disks that were full, more or less, for a while
	Pauses    int           // nodes that stood still
	Cuts      int           // network partitions
	Joins     int           // nodes admitted
	Wipes     int           // disks emptied
	Leaders   int           // changes of who leads
	Sent      int           // snapshots delivered
	Installs  int           // snapshots begun to be installed
	Torn      int           // installs that a crash interrupted
	Removed   int           // replicas removed as strays
	Epoch     int           // of the cluster's description at the end
	TxnStats
	LockStats
}

// LockStats are those of locks.
type LockStats struct {
	LocksTaken     int // wishes that were granted
	InLine         int // pairs of them of which one waited before the other came, and was served first or saw its wait end
	LocksHeld      int // wishes that ended with somebody else's holding
	LockFailures   int // wishes that nobody answered, or that hung up
	HangUps        int // clients that went away while they waited
	Cancelled      int // wishes that a leader gave up for dead
	Renewals       int // acknowledged
	Released       int // acknowledged
	Abandoned      int // left to their TTL
	LocksLost      int // renewals that came too late
	ClientPauses   int // holders that stood still for longer than the TTL
	GuardedWrites  int // acknowledged
	GuardedRefused int // as the lock was lost
}

func (s *LockStats) add(o *LockStats) {
	s.LocksTaken += o.LocksTaken
	s.InLine += o.InLine
	s.LocksHeld += o.LocksHeld
	s.LockFailures += o.LockFailures
	s.HangUps += o.HangUps
	s.Cancelled += o.Cancelled
	s.Renewals += o.Renewals
	s.Released += o.Released
	s.Abandoned += o.Abandoned
	s.LocksLost += o.LocksLost
	s.ClientPauses += o.ClientPauses
	s.GuardedWrites += o.GuardedWrites
	s.GuardedRefused += o.GuardedRefused
}

// TxnStats are those of transactions.
type TxnStats struct {
	Transactions int           // begun
	TxnCommitted int           // requests that were answered so
	TxnElse      int           // of these, by the else branch
	TxnNothing   int           // requests refused by a condition or a bound
	TxnAborted   int           // requests that certainly had no effect
	TxnUnknown   int           // requests whose client never learned the outcome
	Snapshots    int           // read-only transactions over several groups that needed no lock
	Conflicts    int           // NO by conflict
	Ordered      int           // transactions answered in their second attempt or later
	Restarts     int           // requests run anew as another transaction
	Replays      int           // answers of idempotency tokens given again
	Recoveries   int           // begun
	Courtesies   int           // recoveries not begun, as the coordinator still ran
	Ballots      int           // commands of 3pc recoveries
	Sweeps       int           // of dead incarnations, ended
	Statuses     int           // queries answered
	CoordKills   int           // nodes that crashed right after some send of a coordinator
	Ghosts       int           // commands that came once more, much later
	SlowestFree  time.Duration // the longest that a lock was seen after the faults
}

func (s *TxnStats) add(o *TxnStats) {
	s.Transactions += o.Transactions
	s.TxnCommitted += o.TxnCommitted
	s.TxnElse += o.TxnElse
	s.TxnNothing += o.TxnNothing
	s.TxnAborted += o.TxnAborted
	s.TxnUnknown += o.TxnUnknown
	s.Snapshots += o.Snapshots
	s.Conflicts += o.Conflicts
	s.Ordered += o.Ordered
	s.Restarts += o.Restarts
	s.Replays += o.Replays
	s.Recoveries += o.Recoveries
	s.Courtesies += o.Courtesies
	s.Ballots += o.Ballots
	s.Sweeps += o.Sweeps
	s.Statuses += o.Statuses
	s.CoordKills += o.CoordKills
	s.Ghosts += o.Ghosts
	s.SlowestFree = max(s.SlowestFree, o.SlowestFree)
}

// Add is the sum of two.
func (s Stats) Add(o Stats) Stats {
	s.Events += o.Events
	s.Acked += o.Acked
	s.Unknown += o.Unknown
	s.Failed += o.Failed
	s.Reads += o.Reads
	s.Vanished += o.Vanished
	s.Expired += o.Expired
	s.Powercuts += o.Powercuts
	s.Kills += o.Kills
	s.Forgotten += o.Forgotten
	s.Flights += o.Flights
	s.Unwritten += o.Unwritten
	s.Grounded += o.Grounded
	s.DiskFails += o.DiskFails
	s.Filled += o.Filled
	s.Pauses += o.Pauses
	s.Cuts += o.Cuts
	s.Joins += o.Joins
	s.Wipes += o.Wipes
	s.Leaders += o.Leaders
	s.Sent += o.Sent
	s.Installs += o.Installs
	s.Torn += o.Torn
	s.Removed += o.Removed
	s.Epoch += o.Epoch
	s.Virtual += o.Virtual
	s.TxnStats.add(&o.TxnStats)
	s.LockStats.add(&o.LockStats)
	return s
}

// Run plays one cluster's life and judges it. It replaces crypto/rand.Reader, from which raft draws its election
// timeouts, until it returns: nothing else may use that meanwhile, so runs are not parallel within a process.
func Run(cfg Config) (rep Report) {
	w := newWorld(cfg)
	defer replaceRandom(cfg.Seed)()
	w.play()
	w.stats.Events, w.stats.Virtual = w.events, w.now
	rep = Report{Seed: cfg.Seed, Trace: w.trace, Stats: w.stats}
	if w.violation != nil {
		rep.Err = fmt.Errorf("seed %d, at %v: %w", cfg.Seed, w.now, w.violation)
	}
	return rep
}

// replaceRandom makes crypto/rand deterministic and returns how to undo that.
func replaceRandom(seed uint64) (restore func()) {
	old := rand.Reader
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.Reader = mathrand.NewChaCha8(key)
	return func() { rand.Reader = old }
}

// play is the whole life: form, chaos, calm, judgement.
func (w *world) play() {
	w.form()
	w.startClients()
	w.startTxnClients()
	w.startLockers()
	w.startFaults()
	w.run(w.cfg.Chaos)
	if w.violation == nil {
		w.calmDown()
	}
	if w.violation == nil {
		w.judge()
	}
}

func (w *world) logger(n *node) *slog.Logger {
	if w.cfg.Log == nil {
		return slog.New(alarms{w: w})
	}
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Duration("at", w.now)
		}
		return a
	}}
	return slog.New(alarms{w, slog.NewTextHandler(w.cfg.Log, opts)}).With("node", n.name)
}
