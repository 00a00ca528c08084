package worker

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// Every group of a new cluster begins at this index, as if it had been restored from a snapshot: a member that is
// added later can only begin with a snapshot and so learns the configuration, which is in no entry.
const (
	firstIndex = 10
	firstTerm  = 1
)

// Form writes the first node of a new cluster into an empty log and an empty engine: one replica of every partition
// and of the metadata group, each its group's only member. It is durable when Form returns; the engine is before the log,
// as in an install. It may be repeated on emptied storage, not on a part of it.
func Form(log *raftlog.Log, engine storage.Engine, s *meta.State) error {
	value, err := s.Encode()
	if err != nil {
		return err
	}
	var lb raftlog.Batch
	if err := formGroup(&lb, engine, storage.MetaPartition, s.MetaVoters[0], value); err != nil {
		return err
	}
	for p, ids := range s.Placement {
		if err := formGroup(&lb, engine, storage.PartitionID(p), ids[0], nil); err != nil {
			return err
		}
	}
	if err := engine.Sync(); err != nil {
		return fmt.Errorf("form groups: %w", err)
	}
	if err := log.Write(&lb, true); err != nil {
		return fmt.Errorf("form groups: %w", err)
	}
	return nil
}

func formGroup(lb *raftlog.Batch, engine storage.Engine, p storage.PartitionID, id replica.ID, state []byte) error {
	v := engine.View()
	part, err := storage.OpenPartition(v, p)
	v.Close()
	if err != nil {
		return err
	}
	b := engine.Batch()
	defer b.Discard()
	if err := formPartition(b, part, id, state); err != nil {
		return fmt.Errorf("form group %d: %w", p, err)
	}
	if err := b.Commit(); err != nil {
		return fmt.Errorf("form group %d: %w", p, err)
	}
	lb.Reset(p, firstIndex, firstTerm)
	lb.SetState(p, raftlog.State{Replica: uint64(id), Term: firstTerm, Commit: firstIndex})
	return nil
}

func formPartition(b storage.Batch, part *storage.Partition, id replica.ID, state []byte) error {
	if state != nil {
		put := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: []byte(meta.Key), Value: state})
		if _, err := part.Apply(b, firstIndex-1, firstTerm, put); err != nil {
			return err
		}
	}
	conf := replica.EncodeConf(&raftpb.ConfState{Voters: []uint64{uint64(id)}})
	if err := part.SetConf(firstIndex, firstTerm, conf); err != nil {
		return err
	}
	return part.Flush(b)
}
