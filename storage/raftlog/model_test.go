package raftlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// model is what a log holds, said as simply as possible. A model is never changed once it is made.
type model map[raftlog.GroupID]modelGroup

type modelGroup struct {
	state    raftlog.State
	hasState bool
	index    uint64 // of the compaction mark
	term     uint64
	entries  []raftlog.Entry
}

func (g modelGroup) last() uint64 { return g.index + uint64(len(g.entries)) }

func (g modelGroup) lastTerm() uint64 {
	if len(g.entries) == 0 {
		return g.term
	}
	return g.entries[len(g.entries)-1].Term
}

// observe reads everything that a log answers.
func observe(l *raftlog.Log) (model, error) {
	m := model{}
	for _, id := range l.Groups() {
		g := modelGroup{index: l.FirstIndex(id) - 1}
		g.state, g.hasState = l.State(id)
		var err error
		if g.term, err = l.Term(id, g.index); err != nil {
			return nil, err
		}
		if g.entries, err = l.Entries(id, g.index+1, l.LastIndex(id)+1, 1<<40); err != nil {
			return nil, err
		}
		m[id] = g
	}
	return m, nil
}

// diff tells how two models differ; empty if they do not.
func (m model) diff(o model) string {
	if !slices.Equal(slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Keys(o))) {
		return fmt.Sprintf("groups %v and %v", slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Keys(o)))
	}
	for id, a := range m {
		b := o[id]
		if a.state != b.state || a.hasState != b.hasState || a.index != b.index || a.term != b.term ||
			!slices.EqualFunc(a.entries, b.entries, sameEntry) {
			return fmt.Sprintf("group %d: %v and %v", id, a, b)
		}
	}
	return ""
}

func sameEntry(a, b raftlog.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}

// String leaves out the data.
func (g modelGroup) String() string {
	s := fmt.Sprintf("%+v %v mark (%d,%d)", g.state, g.hasState, g.index, g.term)
	for _, e := range g.entries {
		s += fmt.Sprintf(" %d/%d/%d:%d", e.Index, e.Term, e.Type, len(e.Data))
	}
	return s
}

// machine drives a log on a forgetful disk beside its model.
type machine struct {
	t        *rapid.T
	fs       *memfs.FS
	opt      raftlog.Options
	log      *raftlog.Log
	now      model
	possible []model // what a crash may leave: the last synced one, and every one after it
}

func (m *machine) open() {
	var err error
	if m.log, err = raftlog.Open(m.fs, dir, m.opt); err != nil {
		m.t.Fatalf("open: %v", err)
	}
	found, err := observe(m.log)
	if err != nil {
		m.t.Fatal(err)
	}
	if !slices.ContainsFunc(m.possible, func(p model) bool { return p.diff(found) == "" }) {
		m.t.Fatalf("after a crash: not one of the %d possible logs; against the synced one: %s",
			len(m.possible), m.possible[0].diff(found))
	}
	m.now, m.possible = found, []model{found}
}

// Write writes one to four random valid operations, synced or not.
func (m *machine) Write(t *rapid.T) {
	b, next := m.batch(t)
	sync := rapid.Bool().Draw(t, "sync")
	if err := m.log.Write(b, sync); err != nil {
		t.Fatal(err)
	}
	m.wrote(next, sync)
}

func (m *machine) wrote(next model, sync bool) {
	m.now = next
	if sync {
		m.possible = nil
	}
	m.possible = append(m.possible, next)
}

// Reclaim changes nothing that can be read.
func (m *machine) Reclaim(t *rapid.T) {
	limit := rapid.SampledFrom([]int{1, 500, 5000, 1 << 20}).Draw(t, "limit")
	more := true
	for n := 0; more; n++ {
		var err error
		if more, err = m.log.Reclaim(limit); err != nil {
			t.Fatal(err)
		}
		if n > 10_000 {
			t.Fatal("reclaim does not come to an end")
		}
	}
}

// Crash cuts the power and opens again.
func (m *machine) Crash(t *rapid.T) {
	m.cut(t)
	m.open()
}

func (m *machine) cut(t *rapid.T) {
	m.fs.Fail = nil
	m.fs.Crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "crash"), 0)))
}

// CrashTwice cuts the power again somewhere in the recovery.
func (m *machine) CrashTwice(t *rapid.T) {
	m.cut(t)
	m.fs.Fail = failAfter(rapid.IntRange(0, 12).Draw(t, "calls"))
	if l, err := raftlog.Open(m.fs, dir, m.opt); err == nil {
		m.log = l
	} else if !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	m.Crash(t)
}

// Kill ends the process without losing anything.
func (m *machine) Kill(t *rapid.T) {
	m.fs.Kill()
	m.possible = []model{m.now}
	m.open()
}

// Reopen closes properly; nothing is lost even by a crash after that.
func (m *machine) Reopen(t *rapid.T) {
	if err := m.log.Close(); err != nil {
		t.Fatal(err)
	}
	m.possible = []model{m.now}
	m.cut(t)
	m.open()
}

// Fault makes a call to the disk fail during a write or a reclaim; then the log refuses everything, and what was
// acknowledged before is there after the crash.
func (m *machine) Fault(t *rapid.T) {
	b, next := m.batch(t)
	m.fs.Fail = failAfter(rapid.IntRange(0, 6).Draw(t, "calls"))
	err := m.log.Write(b, true)
	if err == nil {
		m.wrote(next, true)
		_, err = m.log.Reclaim(1000)
	} else {
		m.possible = append(m.possible, next)
	}
	if err != nil {
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		m.refuses(t)
	}
	m.Crash(t)
}

func (m *machine) refuses(t *rapid.T) {
	m.fs.Fail = nil
	b := &raftlog.Batch{}
	if err := m.log.Write(b, true); !errors.Is(err, raftlog.ErrFailed) {
		t.Fatalf("write after a failure: %v", err)
	}
	if _, err := m.log.Entries(1, 1, 2, 1); !errors.Is(err, raftlog.ErrFailed) {
		t.Fatalf("read after a failure: %v", err)
	}
}

// Check compares what the log answers with the model.
func (m *machine) Check(t *rapid.T) {
	found, err := observe(m.log)
	if err != nil {
		t.Fatal(err)
	}
	if d := m.now.diff(found); d != "" {
		t.Fatal(d)
	}
}

var errInjected = errors.New("injected fault")

// failAfter fails every call after the first n.
func failAfter(n int) func(memfs.Op, string) error {
	return func(memfs.Op, string) error {
		if n--; n < 0 {
			return errInjected
		}
		return nil
	}
}

// batch draws operations and tells what they lead to.
func (m *machine) batch(t *rapid.T) (*raftlog.Batch, model) {
	b, next := &raftlog.Batch{}, maps.Clone(m.now)
	for range rapid.IntRange(1, 4).Draw(t, "operations") {
		id := raftlog.GroupID(rapid.IntRange(1, 3).Draw(t, "group"))
		g := next[id]
		switch rapid.IntRange(0, 9).Draw(t, "operation") {
		default:
			drawAppend(t, b, id, &g)
		case 5, 6:
			drawState(t, b, id, &g)
		case 7:
			g.index, g.term, g.entries = g.last()+uint64(rapid.IntRange(0, 9).Draw(t, "ahead")), g.lastTerm(), nil
			b.Reset(id, g.index, g.term)
		case 8:
			drawCompact(t, b, id, &g)
		case 9:
			g.index, g.term, g.entries = 0, 0, nil
			b.Remove(id)
		}
		if delete(next, id); g.hasState || g.index > 0 || len(g.entries) > 0 {
			next[id] = g
		}
	}
	return b, next
}

func drawAppend(t *rapid.T, b *raftlog.Batch, id raftlog.GroupID, g *modelGroup) {
	back := rapid.IntRange(0, min(3, len(g.entries))).Draw(t, "back")
	g.entries = slices.Clone(g.entries[:len(g.entries)-back])
	first, term := g.last()+1, g.lastTerm()+uint64(rapid.IntRange(0, 1).Draw(t, "term"))
	for range rapid.IntRange(1, 4).Draw(t, "entries") {
		size := rapid.SampledFrom([]int{0, 1, 40, 500, 3000}).Draw(t, "size")
		g.entries = append(g.entries, raftlog.Entry{
			Index: g.last() + 1, Term: term, Type: rapid.Byte().Draw(t, "type"),
			Data: bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, size),
		})
	}
	b.Append(id, g.entries[first-g.index-1:])
}

func drawState(t *rapid.T, b *raftlog.Batch, id raftlog.GroupID, g *modelGroup) {
	s := g.state
	s.Commit = rapid.Uint64().Draw(t, "commit")
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0:
		s.Term, s.Vote = s.Term+1, uint64(rapid.IntRange(0, 3).Draw(t, "vote"))
	case 1:
		s.Removed = true
	case 2:
		s = raftlog.State{Replica: s.Replica + 1}
	}
	g.state, g.hasState = s, true
	b.SetState(id, s)
}

func drawCompact(t *rapid.T, b *raftlog.Batch, id raftlog.GroupID, g *modelGroup) {
	index := uint64(rapid.IntRange(int(g.index), int(g.last())).Draw(t, "index"))
	b.Compact(id, index)
	if index > g.index {
		n := index - g.index
		g.index, g.term, g.entries = index, g.entries[n-1].Term, g.entries[n:]
	}
}

// Whatever is written, moved, cut off, killed and failed: what was acknowledged is there, and what was not is there
// as a whole or not at all, in order.
func TestLogAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, fs: memfs.New(), now: model{}, possible: []model{{}}}
		m.opt = raftlog.Options{ID: 1, SegmentBytes: rapid.SampledFrom([]int64{4096, 9999, 1 << 16}).Draw(t, "segment")}
		m.open()
		t.Repeat(map[string]func(*rapid.T){
			"write": m.Write, "write2": m.Write, "write3": m.Write, "write4": m.Write,
			"reclaim": m.Reclaim, "crash": m.Crash, "crashTwice": m.CrashTwice,
			"kill": m.Kill, "reopen": m.Reopen, "fault": m.Fault, "": m.Check,
		})
	})
}
