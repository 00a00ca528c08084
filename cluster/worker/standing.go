package worker

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Board is where a worker writes up what others may know of its replicas at any time, amid a turn too. It must not block.
type Board interface {
	// Stand tells what has changed. It is called before anything leaves that a replica sends in a later term or a new
	// configuration, or that tells what is committed; and again once the engine shows what was applied.
	Stand(changed []Standing)
	// Leave tells that a replica is gone.
	Leave(p ring.PartitionID)
}

// Standing is what is published of a replica. Clock and Locks are a leader's.
type Standing struct {
	readindex.Standing
	Clock Clock               // of the partition
	Locks *storage.LockShadow // on its keys

	conf *raftpb.ConfState // where the voters are from
}

// stand notes where a replica stands, if that is news.
func (w *Worker) stand(g *group) {
	if w.cfg.Board == nil {
		return
	}
	s := Standing{Standing: readindex.Standing{Group: g.id, Replica: g.rep.ID(), Term: g.rep.Term(), Leading: g.rep.Leading()}}
	if s.Leading {
		s.Serving, s.Commit, s.Applied = g.rep.Serving(), g.rep.Told(), g.rep.AppliedIndex()
		s.Clock, s.Locks, s.conf = g.clock.Clock, g.part.LockShadow(), g.rep.Conf()
		s.Voters, s.Outgoing = s.conf.GetVoters(), s.conf.GetVotersOutgoing()
	}
	if s.same(&g.stood) {
		return
	}
	g.stood = s
	w.stood = append(w.stood, s)
}

// same compares all but the voters, which are conf's.
func (s *Standing) same(o *Standing) bool {
	return s.Term == o.Term && s.Commit == o.Commit && s.Applied == o.Applied && s.Leading == o.Leading && s.Serving == o.Serving &&
		s.Replica == o.Replica && s.Clock == o.Clock && s.Locks == o.Locks && s.conf == o.conf
}

func (w *Worker) publish() {
	if len(w.stood) > 0 {
		w.cfg.Board.Stand(w.stood)
		clear(w.stood)
		w.stood = w.stood[:0]
	}
}

// Reading tells that somebody reads what this node leads, of which it need not know otherwise.
func (w *Worker) Reading() { w.purger.asked = w.ticks }
