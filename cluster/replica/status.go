package replica

import "go.etcd.io/raft/v3"

// Status is a replica as operators see it.
type Status struct {
	Role   string // leader, follower, candidate or learner
	Term   uint64
	Commit uint64
	Lag    uint64 // entries: a leader's slowest member, else what is committed here but not applied
}

// Status describes the replica.
func (r *Replica) Status() Status {
	b := r.raw.BasicStatus()
	s := Status{Role: "follower", Term: b.GetTerm(), Commit: b.GetCommit()}
	s.Lag = s.Commit - min(s.Commit, r.applied)
	switch b.RaftState {
	case raft.StateLeader:
		s.Role = "leader"
		last := r.lastIndex()
		r.Members(func(_ ID, m Member) { s.Lag = max(s.Lag, last-min(last, m.Match)) })
	case raft.StateCandidate, raft.StatePreCandidate:
		s.Role = "candidate"
	default:
		for _, l := range r.conf.GetLearners() {
			if ID(l) == r.id {
				s.Role = "learner"
			}
		}
	}
	return s
}
