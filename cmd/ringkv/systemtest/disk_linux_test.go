package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

const (
	mib         = 1 << 20
	diskBytes   = 640 * mib
	diskReserve = 256 * mib // the least that --min-free-bytes allows
)

// smallDisks gives every node of f a file system of its own, of diskBytes. It takes root's privileges: where they are
// missing the test is skipped, but never in CI, which is to have them.
func (f *fleet) smallDisks() {
	f.t.Helper()
	f.extra = append(f.extra, "--min-free-bytes", fmt.Sprint(diskReserve))
	for _, p := range f.nodes {
		dir := f.t.TempDir()
		err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes))
		switch {
		case err != nil && os.Getenv("CI") != "":
			f.t.Fatalf("mount a tmpfs: %v: full disks cannot be tested here, and in CI they must be: run as root with CAP_SYS_ADMIN", err)
		case err != nil:
			f.t.Skipf("NOT TESTED: full disks: mount a tmpfs: %v: run as root with CAP_SYS_ADMIN", err)
		}
		f.t.Cleanup(func() {
			p.kill()
			if err := syscall.Unmount(dir, 0); err != nil {
				f.t.Errorf("unmount %s: %v", dir, err)
			}
		})
		p.dir = filepath.Join(dir, "data")
	}
}

// fill leaves a node's disk with so many bytes free, by a file beside its data directory.
func (f *fleet) fill(p *process, free int64) {
	f.t.Helper()
	mount := filepath.Dir(p.dir)
	ballast, err := os.OpenFile(filepath.Join(mount, "ballast"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer ballast.Close()
	info, err := ballast.Stat()
	if err != nil {
		f.t.Fatal(err)
	}
	size := info.Size()
	if more := f.available(mount) - free; more < 0 {
		size = max(0, size+more)
		if err := ballast.Truncate(size); err != nil {
			f.t.Fatal(err)
		}
		return
	}
	// In ever smaller steps: the node writes meanwhile.
	for step := int64(256 * mib); step >= 4096; {
		if f.available(mount)-step < free && free > 0 {
			step /= 2
			continue
		}
		switch err := syscall.Fallocate(int(ballast.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		default:
			f.t.Fatalf("fill the disk of %s: %v", p.name, err)
		}
	}
}

func (f *fleet) available(dir string) int64 {
	f.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		f.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fullness waits until a node says that it is as full as that.
func (f *fleet) fullness(p *process, want string) {
	f.t.Helper()
	f.within(90*time.Second, p.name+" to notice", func() bool {
		return strings.Contains(p.metrics(), "\nringkv_disk_fullness "+want+"\n")
	})
}

func (p *process) metrics() string {
	resp, err := http.Get("http://" + p.http + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return b.String()
}

func (f *fleet) within(d time.Duration, what string, ok func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(d)
	for !ok() {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited in vain for %s", what)
		}
		f.pause(20 * time.Millisecond)
	}
}

// TestFullDisks fills the disks of one node, then of all: the cluster goes on with what there is room for, nobody
// stops, and with space again all is as before.
func TestFullDisks(t *testing.T) {
	f := newFleet(t, 3)
	f.smallDisks()
	f.start(0)
	f.ready(0)
	f.start(1)
	f.start(2)
	f.ready(0, 1, 2)
	c := f.client()
	t.Cleanup(func() { _ = c.Close() })
	f.settled(c, 3)
	fill(t, c, 100)

	f.fill(f.nodes[2], 20*mib)
	f.fullness(f.nodes[2], "3")
	fill(t, c, 100)
	check(t, c, 100)
	own := f.direct(2)
	if _, err := own.Get(t.Context(), "fill/1", client.Stale()); err != nil {
		t.Errorf("stale read at a full node: %v", err)
	}

	for _, p := range f.nodes {
		f.fill(p, diskReserve/2-16*mib)
	}
	for _, p := range f.nodes {
		f.fullness(p, "2")
	}
	if _, err := c.Put(t.Context(), "fill/1", []byte("more")); !errors.Is(err, api.ErrDiskFull) {
		t.Errorf("put on full disks: %v", err)
	}
	check(t, c, 100)
	if err := c.Delete(t.Context(), "fill/1"); err != nil {
		t.Errorf("delete on full disks: %v", err)
	}

	for _, p := range f.nodes {
		f.fill(p, diskBytes)
		f.fullness(p, "0")
	}
	f.within(20*time.Second, "puts with space again", func() bool {
		_, err := c.Put(t.Context(), "fill/0", []byte("value 0"))
		return err == nil
	})
	fill(t, c, 100)
	f.settled(c, 3)
	check(t, c, 100)
}

// direct is a client of one node only, which does not try again.
func (f *fleet) direct(i int) *client.Client {
	f.t.Helper()
	c, err := client.New(client.Config{Nodes: []string{f.nodes[i].http}, Direct: true, MaxAttempts: 1})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestDeletesFreeSpace fills a node with values until it takes no more, and deletes them: without any help it has space
// again and takes new ones.
func TestDeletesFreeSpace(t *testing.T) {
	f := newFleet(t, 1)
	f.smallDisks()
	f.start(0)
	f.ready(0)
	c := f.client()
	t.Cleanup(func() { _ = c.Close() })
	value := bytes.Repeat([]byte{'x'}, mib)
	n := 0
	for refused := 0; refused < 20; { // in a row: what was overwritten or is in the log twice gives way for a while
		_, err := c.Put(t.Context(), fmt.Sprintf("large/%d", n), value)
		switch {
		case errors.Is(err, api.ErrDiskFull):
			refused++
			f.pause(500 * time.Millisecond)
		case err != nil || n > diskBytes/mib:
			t.Fatalf("put %d: %v", n, err)
		default:
			n++
			refused = 0
		}
	}
	t.Logf("full after %d values", n)
	for i := range n {
		if err := c.Delete(t.Context(), fmt.Sprintf("large/%d", i)); err != nil {
			t.Fatalf("delete %d: %v", i, err)
		}
	}
	begun := time.Now()
	f.fullness(f.nodes[0], "0")
	t.Logf("space again after %v", time.Since(begun))
	// What gives space back takes some for moments, so the disk may be low once more; but not for long.
	_, err := c.Put(t.Context(), "large/0", value)
	for end := begun.Add(time.Minute); errors.Is(err, api.ErrDiskFull) && time.Now().Before(end); {
		f.pause(500 * time.Millisecond)
		_, err = c.Put(t.Context(), "large/0", value)
	}
	if err != nil {
		t.Errorf("put with space again: %v", err)
	}
}

// TestNoSpaceLeft takes the last byte of a lone node's disk while it writes at full speed. Whether it goes on reading or
// gives up, it says why, it is not killed by a fault in memory, and no acknowledged write is lost. It does not start
// before there is space, and says so.
func TestNoSpaceLeft(t *testing.T) {
	for round := range 3 {
		t.Run(fmt.Sprint(round), testNoSpaceLeft)
	}
}

func testNoSpaceLeft(t *testing.T) {
	f := newFleet(t, 1)
	f.smallDisks()
	f.start(0)
	f.ready(0)
	p := f.nodes[0]
	w := newAscent(f)
	w.until(t, 500)
	f.fill(p, 0)
	f.pause(2 * time.Second)
	w.stop()
	if log := p.log.String(); strings.Contains(log, "SIGBUS") || strings.Contains(log, "fault") {
		t.Fatal("killed by a fault in memory")
	}
	select {
	case <-p.exited:
		t.Log("it gave up")
		if !strings.Contains(p.log.String(), "free some space under") {
			t.Error("without saying what to do")
		}
	default:
		t.Log("it goes on")
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}

	f.start(0)
	f.within(20*time.Second, "the start on a full disk to be refused", func() bool {
		return strings.Contains(p.log.String(), "free some space there, then start it again")
	})
	<-p.exited
	f.fill(p, diskBytes)
	f.start(0)
	f.ready(0)
	w.check(t)
	if log := p.log.String(); strings.Contains(log, "SIGBUS") {
		t.Fatal("killed by a fault in memory")
	}
}

// ascent is clients that write rising numbers, each to a key of its own.
type ascent struct {
	f      *fleet
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	acked map[string]int // by key, the last number that was acknowledged
	sent  map[string]int
	total int
}

func newAscent(f *fleet) *ascent {
	ctx, cancel := context.WithCancel(context.Background())
	a := &ascent{f: f, cancel: cancel, acked: make(map[string]int), sent: make(map[string]int)}
	f.t.Cleanup(a.stop)
	for i := range 8 {
		a.wg.Go(func() { a.write(ctx, fmt.Sprintf("ascent/%d", i)) })
	}
	return a
}

func (a *ascent) stop() {
	a.cancel()
	a.wg.Wait()
}

// padding makes the log and the engine take new pages often.
var padding = strings.Repeat("x", 2000)

func (a *ascent) write(ctx context.Context, key string) {
	c := a.f.client()
	defer c.Close()
	for i := 1; ctx.Err() == nil; i++ {
		a.mu.Lock()
		a.sent[key] = i
		a.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := c.Put(ctx, key, fmt.Appendf(nil, "%d %s", i, padding))
		cancel()
		if err != nil {
			continue
		}
		a.mu.Lock()
		a.acked[key] = i
		a.total++
		a.mu.Unlock()
	}
}

// until waits until so many writes were acknowledged.
func (a *ascent) until(t *testing.T, writes int) {
	t.Helper()
	a.f.within(30*time.Second, "writes", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.total >= writes
	})
}

// check reads every key: it has the last number acknowledged, or a later one that was sent.
func (a *ascent) check(t *testing.T) {
	t.Helper()
	c := a.f.client()
	defer c.Close()
	for key, acked := range a.acked {
		item, err := c.Get(t.Context(), key)
		var got int
		if err == nil {
			_, err = fmt.Sscan(string(item.Value), &got)
		}
		if err != nil || got < acked || got > a.sent[key] {
			t.Errorf("%s is %d, acknowledged %d, sent %d, %v", key, got, acked, a.sent[key], err)
		}
	}
	t.Logf("%d writes acknowledged", a.total)
}
