package raftlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// script runs the commands of a file in testdata/recovery; see the methods for what they are.
type script struct {
	t   *testing.T
	fs  *memfs.FS
	log *raftlog.Log
}

func TestRecoveryScripts(t *testing.T) {
	paths := must(filepath.Glob("testdata/recovery/*.txt"))
	if len(paths) == 0 {
		t.Fatal("no scripts")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s := &script{t: t, fs: memfs.New()}
			s.run(path, string(must(os.ReadFile(path))))
		})
	}
}

// step is a command of a script: "name arg arg=value", input, "----", the answer that is due, an empty line.
type step struct {
	name  string
	args  map[string]string
	input string
}

// run plays a script in the format of datadriven.
func (s *script) run(path, text string) {
	commands := map[string]func(step) string{
		"open": s.open, "write": s.write, "reclaim": s.reclaim, "kill": s.kill, "crash": s.crash,
		"close": s.close, "show": s.show, "files": s.files, "damage": s.damage, "remove": s.remove,
	}
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		for strings.HasPrefix(block, "#") {
			_, block, _ = strings.Cut(block, "\n")
		}
		command, due, _ := strings.Cut(block, "\n----\n")
		d := parseStep(command)
		if commands[d.name] == nil {
			s.t.Fatalf("%s: unknown command %q", path, command)
		}
		if got := strings.TrimSpace(commands[d.name](d)); got != due {
			s.t.Fatalf("%s: %s\nanswered:\n%s\ndue:\n%s", path, command, got, due)
		}
	}
}

func parseStep(command string) step {
	line, input, _ := strings.Cut(command, "\n")
	fields := strings.Fields(line)
	d := step{name: fields[0], args: map[string]string{}, input: input}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		d.args[name] = value
	}
	return d
}

func (d step) has(name string) bool { _, ok := d.args[name]; return ok }

func (d step) number(name string, otherwise int) int {
	if !d.has(name) {
		return otherwise
	}
	return must(strconv.Atoi(d.args[name]))
}

// open [must-exist]: opens the log, or says why not.
func (s *script) open(d step) string {
	opt := small
	opt.MustExist = d.has("must-exist")
	var err error
	if s.log, err = raftlog.Open(s.fs, dir, opt); err != nil {
		return err.Error()
	}
	return s.show(d)
}

// write [nosync]: one batch; the input's lines are "append group index count term size", "state group replica term
// vote", "reset group index term", "compact group index", "remove group".
func (s *script) write(d step) string {
	var b raftlog.Batch
	for line := range strings.Lines(d.input) {
		var op string
		var g raftlog.GroupID
		var a, n, term, size uint64
		_, _ = fmt.Sscan(line, &op, &g, &a, &n, &term, &size) // as many as there are
		switch op {
		case "append":
			b.Append(g, run(a, term, int(n), int(size)))
		case "state":
			b.SetState(g, raftlog.State{Replica: a, Term: n, Vote: term})
		case "reset":
			b.Reset(g, a, n)
		case "compact":
			b.Compact(g, a)
		case "remove":
			b.Remove(g)
		default:
			s.t.Fatalf("operation %q", line)
		}
	}
	if s.log == nil {
		s.t.Fatalf("the log is not open")
	}
	if err := s.log.Write(&b, !d.has("nosync")); err != nil {
		return err.Error()
	}
	return "ok"
}

// reclaim: one step.
func (s *script) reclaim(d step) string {
	more, err := s.log.Reclaim(d.number("limit", 1<<20))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("more: %v", more)
}

// kill: the process ends; the page cache stays.
func (s *script) kill(step) string {
	s.fs.Kill()
	return "ok"
}

// crash seed=N: the power goes.
func (s *script) crash(d step) string {
	s.fs.Crash(rand.New(rand.NewPCG(uint64(d.number("seed", 0)), 0)))
	return "ok"
}

func (s *script) close(step) string {
	if err := s.log.Close(); err != nil {
		return err.Error()
	}
	return "ok"
}

// show: what the log answers.
func (s *script) show(step) string {
	m, err := observe(s.log)
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, g := range s.log.Groups() {
		fmt.Fprintf(&out, "%d: mark %d/%d", g, m[g].index, m[g].term)
		if n := len(m[g].entries); n > 0 {
			fmt.Fprintf(&out, ", entries %d to %d/%d", m[g].index+1, m[g].last(), m[g].lastTerm())
		}
		if st := m[g].state; m[g].hasState {
			fmt.Fprintf(&out, ", replica %d term %d vote %d", st.Replica, st.Term, st.Vote)
		}
		out.WriteByte('\n')
	}
	if out.Len() == 0 {
		return "empty"
	}
	return out.String()
}

// files: the segments and where their records start.
func (s *script) files(step) string {
	var out strings.Builder
	for _, name := range must(s.fs.List(dir)) {
		fmt.Fprintf(&out, "%s: %v\n", name, records(s.fs.Content(dir+"/"+name)))
	}
	return out.String()
}

// damage segment=N [record=N] [at=N] [bytes=N] (flip|zero|cut): to bytes from the start of the record, counted from 1,
// or of the file: flips a bit of each, zeroes them, or ends the file there.
func (s *script) damage(d step) string {
	path := segmentPath(d.number("segment", 1))
	content := s.fs.Content(path)
	off := d.number("at", 0)
	if n := d.number("record", 0); n > 0 {
		off += records(content)[n-1]
	}
	piece := content[off : off+d.number("bytes", 1)]
	switch {
	case d.has("flip"):
		for i := range piece {
			piece[i] ^= 1
		}
	case d.has("zero"):
		clear(piece)
	case d.has("cut"):
		content = content[:off]
	}
	s.fs.Replace(path, content)
	return "ok"
}

// remove segment=N: the file is gone for good.
func (s *script) remove(d step) string {
	path := segmentPath(d.number("segment", 1))
	if err := s.fs.Remove(path); err != nil {
		return err.Error()
	}
	return errText(s.fs.SyncDir(dir))
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// A log that ends before a record which it had on disk is refused, each time anew: the refusal writes nothing.
func TestMinRecord(t *testing.T) {
	fs := newFS()
	l := open(t, fs, small)
	write(t, l, func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 1, Term: 1}) })
	before := fs.Clone()
	write(t, l, func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 1, Term: 1, Vote: 2}) })
	opt := small
	opt.MinRecord = l.Durable()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, fs, opt).Close(); err != nil {
		t.Errorf("the whole log: %v", err)
	}
	for range 3 {
		_, err := raftlog.Open(before, dir, opt)
		var corrupt *raftlog.CorruptError
		if !errors.As(err, &corrupt) || corrupt.File != segmentPath(1) {
			t.Fatalf("a log without its last record: %v", err)
		}
	}
	if _, err := raftlog.Open(newFS(), dir, opt); !errors.Is(err, raftlog.ErrNoLog) {
		t.Errorf("no log: %v", err)
	}
}
