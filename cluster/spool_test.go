package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/writeback"
)

const testPartition = 7

// filledEngine is an engine with a partition of about 4 MiB.
func filledEngine(t *testing.T) *writeback.Engine {
	t.Helper()
	tables, err := badgerdb.Open(badgerdb.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	e := writeback.New(tables)
	t.Cleanup(func() { _ = e.Close() })
	v := e.View()
	part, err := storage.OpenPartition(v, testPartition)
	v.Close()
	if err != nil {
		t.Fatal(err)
	}
	b := e.Batch()
	for i := range 64 {
		put := storage.Command{Kind: storage.KindPut, Key: fmt.Appendf(nil, "k%d", i), Value: make([]byte, 64<<10)}
		if _, err := part.Apply(b, uint64(i+1), 1, storage.AppendCommand(nil, &put)); err != nil {
			t.Fatal(err)
		}
	}
	if err := part.Flush(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return e
}

// A transfer may be given up at any moment, while its data is being read: by a receiver that says no, or by our own
// stopping. The view must outlive the reading.
func TestSnapshotIsGivenUpWhileItIsRead(t *testing.T) {
	e := filledEngine(t)
	for _, read := range []int64{0, 1, 100, 300 << 10, 1 << 20} {
		n := &Node{}
		body, scanned := n.scan(worker.Snapshot{Group: testPartition, View: e.View()})
		if _, err := io.CopyN(io.Discard, body, read); err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
		<-scanned
		n.tasks.Wait()
	}
}

func TestSpool(t *testing.T) {
	e := filledEngine(t)
	s := &spools{dir: t.TempDir(), disk: &disk{}}
	n := &Node{}
	body, _ := n.scan(worker.Snapshot{Group: testPartition, View: e.View()})
	sp, err := s.receive(testPartition, body)
	n.tasks.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(sp.Name()); err != nil {
		t.Errorf("open again: %v", err)
	}
	cutTo(t, sp.path, 1<<20)
	if _, err := s.open(sp.Name()); err == nil {
		t.Error("a spool that was cut opens")
	}
	if err := s.clear(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left after clear: %v, %v", left, err)
	}
}

// A stream that breaks leaves no spool.
func TestSpoolOfABrokenStream(t *testing.T) {
	s := &spools{dir: t.TempDir(), disk: &disk{}}
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(make([]byte, 1000))
		w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if _, err := s.receive(testPartition, r); err == nil {
		t.Error("received a broken stream")
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A disk that fills up ends the receiving; the metadata group's snapshot is small and needed.
func TestSpoolOnAFullDisk(t *testing.T) {
	s := &spools{dir: t.TempDir(), disk: &disk{}}
	s.disk.room.Store(uint32(worker.Low))
	if _, err := s.receive(testPartition, strings.NewReader("x")); !errors.Is(err, ErrDiskFull) {
		t.Errorf("received: %v", err)
	}
	if _, err := s.receive(storage.MetaPartition, strings.NewReader("x")); err == nil || errors.Is(err, ErrDiskFull) {
		t.Errorf("the metadata group's snapshot, damaged: %v", err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func cutTo(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}
