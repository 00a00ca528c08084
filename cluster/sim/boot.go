package sim

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// form makes this node a cluster of one and starts it.
func (n *node) form(s *meta.State) error {
	l, err := raftlog.Open(n.disk.FS, LogDir, LogOptions())
	if err != nil {
		return err
	}
	if err := n.openEngine(); err != nil {
		return err
	}
	if err := errors.Join(worker.Form(l, n.engine, s), n.engine.Close(), l.Close()); err != nil {
		return err
	}
	n.start()
	return nil
}

func (n *node) open() (err error) {
	defer recovered(&err)
	w := n.w
	if damage := w.cfg.Sabotage.Restart; damage != nil {
		if err := damage(n.disk); err != nil {
			return err
		}
	}
	n.disk.FS.Fail = n.fsFails
	if err := n.openEngine(); err != nil {
		return err
	}
	if err := n.openLog(); err != nil {
		return err
	}
	wk, err := worker.Open(worker.Config{
		Node: n.id, Log: n.log, Engine: interrupting(n.engine, n), Outbox: &outbox{n: n, life: n.life}, Board: board{n},
		OpenSpool: n.disk.openSpool, OnLead: n.onLead, OnStuck: n.onStuck, Logger: w.logger(n),
		ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, KeepEntries: keepEntries, Linger: n.linger(),
	}, n.clock())
	n.worker = wk
	return err
}

// openLog opens the log as a node does. Where the log is sabotaged its own check would convict at once, and say nothing of
// the judge.
func (n *node) openLog() (err error) {
	var fs raftlog.FS = probedFS{n.disk.FS, n}
	opts := LogOptions()
	sabotage := &n.w.cfg.Sabotage
	if sabotage.FS != nil {
		fs = sabotage.FS(fs)
	} else if sabotage.Restart == nil {
		v := n.engine.View()
		defer v.Close()
		if opts.MinRecord, err = storage.LogMark(v); err != nil {
			return err
		}
	}
	n.log, err = raftlog.Open(fs, LogDir, opts)
	return err
}

// recovered turns a panic, of raft's mostly, into an error: an invariant broke.
func recovered(err *error) {
	r := recover()
	if _, off := r.(powerLoss); off {
		*err = errPowerLoss
		return
	}
	if r != nil {
		*err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
	}
}
