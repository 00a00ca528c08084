package systemtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

const (
	lockNames = 3
	lockTTL   = time.Second
	lockFor   = 15 * time.Second
)

// ward is what the clients of locks do and hear.
type ward struct {
	f                                 *fleet
	taken, wrote, refused, lost, errs atomic.Int64
	slept                             atomic.Int64 // holders that stood still
	seq                               atomic.Int64
	wrong                             chan error // cap 1: the first thing that must not be

	mu   sync.Mutex
	top  map[string]api.FencingToken         // the largest that anybody was told
	seen map[string]map[api.Version]sighting // guarded keys, by version
}

// sighting is a guarded write.
type sighting struct {
	token api.FencingToken
	seq   int64
}

func newWard(f *fleet) *ward {
	return &ward{
		f: f, wrong: make(chan error, 1),
		top: make(map[string]api.FencingToken), seen: make(map[string]map[api.Version]sighting),
	}
}

func (w *ward) accuse(format string, args ...any) {
	select {
	case w.wrong <- fmt.Errorf(format, args...):
	default:
	}
}

// TestLocks has clients contend for a few locks and write what these guard, while nodes are killed, nodes stand still for
// longer than an election, and holders stand still for longer than their TTL: tokens grow, writes are fenced, nobody who waits is forgotten.
func TestLocks(t *testing.T) {
	f, c := startCluster(t, 3)
	w := newWard(f)
	ctx, cancel := context.WithTimeout(t.Context(), lockFor)
	defer cancel()
	var wg sync.WaitGroup
	for id := range 9 {
		wg.Go(func() { w.work(ctx, id) })
	}
	for i := range 2 {
		wg.Go(func() { w.sleepers(ctx, i) })
	}
	for i := 0; ctx.Err() == nil; i++ {
		w.disturb(i)
	}
	wg.Wait()
	f.ready(0, 1, 2)
	w.finalReads(t, c)
	w.check()
	select {
	case err := <-w.wrong:
		t.Error(err)
	default:
	}
	t.Logf("%d locks taken, %d holders slept, %d guarded writes, %d refused, %d locks lost, %d other errors",
		w.taken.Load(), w.slept.Load(), w.wrote.Load(), w.refused.Load(), w.lost.Load(), w.errs.Load())
	if w.taken.Load() < 5 || w.wrote.Load() < 1 || w.refused.Load() < 1 || w.slept.Load() < 1 {
		t.Errorf("too little happened to show anything")
	}
}

// disturb kills a node, or lets one stand still until others lead.
func (w *ward) disturb(i int) {
	n := i % 3
	w.f.pause(time.Second)
	if i%2 == 0 {
		w.f.nodes[n].kill()
		w.f.start(n)
	} else {
		w.f.nodes[n].signal(syscall.SIGSTOP)
		w.f.pause(4 * time.Second)
		w.f.nodes[n].signal(syscall.SIGCONT)
	}
	w.f.ready(n)
}

// work takes locks and writes under them. At times it does not give one back: then its TTL ends it.
func (w *ward) work(ctx context.Context, id int) {
	c := w.f.client()
	defer c.Close()
	rng := rand.New(rand.NewPCG(uint64(id), 11))
	for ctx.Err() == nil {
		name := fmt.Sprintf("ward/%d", rng.IntN(lockNames))
		// Whoever waits is served before this time is over, or is lost: the holders are brief.
		wait, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		before := w.newest(name)
		l, err := c.Lock(wait, name, client.LockTTL(lockTTL))
		cancel()
		switch {
		case errors.Is(err, client.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
			w.errs.Add(1) // no leader was found for a while: nothing was promised
			continue
		case err != nil:
			w.accuse("lock %s was not had in a minute: %w", name, err)
			return
		}
		w.took(name, l.Token(), before)
		for range rng.IntN(4) {
			w.write(c, name, l.Token())
		}
		w.unlock(l)
	}
}

func (w *ward) unlock(l *client.Lock) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Unlock(ctx); errors.Is(err, api.ErrLockLost) {
		w.lost.Add(1)
	} else if err != nil {
		w.errs.Add(1)
	}
}

func (w *ward) newest(name string) api.FencingToken {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.top[name]
}

// took notes a token; before is the largest that was told when it was asked for.
func (w *ward) took(name string, token, before api.FencingToken) {
	w.taken.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if token <= before {
		w.accuse("lock %s: token %d, asked for after token %d was told", name, token, before)
	}
	w.top[name] = max(w.top[name], token)
}

// write writes what a lock guards, in two places, and looks at what was there.
func (w *ward) write(c *client.Client, name string, token api.FencingToken) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	mine := sighting{token, w.seq.Add(1)}
	value := fmt.Appendf(nil, "%d/%d", mine.token, mine.seq)
	tx := client.NewTxn().IfLock(name, token)
	for _, key := range guardedBy(name) {
		tx.Get(key).Put(key, value)
	}
	before := w.newest(name)
	res, err := c.Transact(ctx, tx)
	var failed *client.TxnFailedError
	switch {
	case errors.As(err, &failed):
		w.refused.Add(1)
	case err != nil:
		w.errs.Add(1)
	case token < before:
		w.accuse("lock %s: a write with token %d, sent after token %d was told, took effect", name, token, before)
	default:
		w.wrote.Add(1)
		for i, key := range guardedBy(name) {
			if was := res.Results[2*i]; was.Exists {
				w.sighted(key, was.Version, string(was.Value))
			}
			w.sighted(key, res.Results[2*i+1].Version, string(value))
		}
	}
}

func guardedBy(name string) []string { return []string{name + "/a", name + "/b"} }

func (w *ward) sighted(key string, v api.Version, value string) {
	var s sighting
	if _, err := fmt.Sscanf(value, "%d/%d", &s.token, &s.seq); err != nil {
		w.accuse("key %s holds %q: %w", key, value, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[key] == nil {
		w.seen[key] = make(map[api.Version]sighting)
	}
	if old, ok := w.seen[key][v]; ok && old != s {
		w.accuse("key %s has two contents at version %d: %v and %v", key, v, old, s)
	}
	w.seen[key][v] = s
}

// finalReads looks at what is left, whoever wrote it.
func (w *ward) finalReads(t *testing.T, c *client.Client) {
	t.Helper()
	for i := range lockNames {
		for _, key := range guardedBy(fmt.Sprintf("ward/%d", i)) {
			item, err := c.Get(t.Context(), key)
			switch {
			case err == nil:
				w.sighted(key, item.Version, string(item.Value))
			case !errors.Is(err, client.ErrNotFound):
				t.Errorf("read %s at the end: %v", key, err)
			}
		}
	}
}

// check demands that no older token's write stands behind a newer one's.
func (w *ward) check() {
	for key, seen := range w.seen {
		for v, s := range seen {
			for later, o := range seen {
				if v < later && s.token > o.token {
					w.accuse("key %s: token %d writes version %d, behind token %d", key, o.token, later, s.token)
				}
			}
		}
	}
}

// sleepers run a holder in a process of its own by `ringkv lock`, stop all of it for longer than the TTL, and let it go on:
// its command is ended, and its late write under its token has no effect.
func (w *ward) sleepers(ctx context.Context, i int) {
	c := w.f.client()
	defer c.Close()
	name := fmt.Sprintf("ward/%d", i)
	for ctx.Err() == nil {
		if err := w.sleeper(c, name); err != nil {
			w.accuse("sleeper on %s: %w", name, err)
			return
		}
		w.f.pause(500 * time.Millisecond)
	}
}

func (w *ward) sleeper(c *client.Client, name string) error {
	before := w.newest(name)
	var nodes []string
	for _, p := range w.f.nodes {
		nodes = append(nodes, p.http)
	}
	cmd := exec.Command(binary, "lock", name, "--ttl", lockTTL.String(), "--", "sh", "-c", "echo $RINGKV_LOCK_TOKEN; exec sleep 300")
	cmd.Env = append(os.Environ(), "RINGKV_NODES="+strings.Join(nodes, ","))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line == "" { // it did not get the lock while nobody led
		w.errs.Add(1)
		_ = cmd.Wait()
		return nil
	}
	number, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	token := api.FencingToken(number)
	if err != nil {
		return fmt.Errorf("it told %q: %w", line, err)
	}
	w.took(name, token, before)
	w.write(c, name, token)
	w.slept.Add(1)
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	after := w.successor(c, name, token)
	_ = cmd.Process.Signal(syscall.SIGCONT)
	w.write(c, name, token)
	ended := cmd.Wait()
	var code *exec.ExitError
	switch {
	case after != nil:
		return after
	case !errors.As(ended, &code) || code.ExitCode() != 7:
		return fmt.Errorf("a holder that slept ended with %w, want exit code 7", ended)
	}
	return nil
}

// successor takes the lock from a holder that sleeps.
func (w *ward) successor(c *client.Client, name string, token api.FencingToken) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	l, err := c.Lock(ctx, name, client.LockTTL(lockTTL))
	for err != nil && ctx.Err() == nil {
		l, err = c.Lock(ctx, name, client.LockTTL(lockTTL))
	}
	if err != nil {
		return fmt.Errorf("the lock of one who sleeps was not had in a minute: %w", err)
	}
	w.took(name, l.Token(), token)
	w.write(c, name, l.Token())
	w.unlock(l)
	return nil
}
