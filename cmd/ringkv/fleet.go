package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
)

const (
	// restartPause is between the death of a node and its next start.
	restartPause = 1500 * time.Millisecond
	// probePause is between two looks whether a node is up.
	probePause = 50 * time.Millisecond
	// killAfter is how long a node that was told to stop may take.
	killAfter = stopGrace + 5*time.Second
)

// nodeSpec is one node of a fleet.
type nodeSpec struct {
	name               string
	dir                string
	http, peer, gossip string // host:port
	join               []string
	extra              []string // further flags of serve
}

// args is the command line of the node. A node whose directory holds something already knows its cluster; others told
// it is harmless.
func (s *nodeSpec) args() []string {
	args := []string{
		"serve", "--name", s.name, "--data-dir", s.dir, "--http", s.http, "--peer", s.peer, "--gossip", s.gossip,
	}
	if len(s.join) > 0 {
		args = append(args, "--join", strings.Join(s.join, ","))
	}
	return append(args, s.extra...)
}

// fleet runs nodes as processes of this binary. It owns them: all are stopped, and have ended, when wait returns, and
// on Linux they are also stopped if this process is killed.
type fleet struct {
	specs   []nodeSpec
	console *console
	env     []string // for the nodes
	restart bool     // start a node again when it dies

	tasks sync.WaitGroup

	mu   sync.Mutex // guards what follows
	pids []int      // by index into specs; 0 while a node is down
	died chan error // without restart: one for each node that ended
}

func newFleet(specs []nodeSpec, c *console, env []string, restart bool) *fleet {
	return &fleet{
		specs: specs, console: c, env: withoutSettings(env), restart: restart,
		pids: make([]int, len(specs)), died: make(chan error, len(specs)),
	}
}

// withoutSettings drops the variables that would configure a node behind the fleet's back.
func withoutSettings(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, envPrefix) {
			kept = append(kept, v)
		}
	}
	return kept
}

// start starts all nodes: the first, and when that is alive the others. They run until ctx ends. The error is why the
// nodes did not all become ready before readyCtx ended.
func (f *fleet) start(ctx, readyCtx context.Context) error {
	f.launch(ctx, 0)
	if err := f.await(readyCtx, f.specs[:1], api.PathHealth); err != nil {
		return err
	}
	for i := 1; i < len(f.specs); i++ {
		f.launch(ctx, i)
	}
	return f.await(readyCtx, f.specs, api.PathReady)
}

// launch starts the goroutine that keeps node i running.
func (f *fleet) launch(ctx context.Context, i int) {
	f.tasks.Go(func() {
		// The kernel ties a child's parent-death signal to the thread that started it: that thread must live on.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			err := f.run(ctx, i)
			if ctx.Err() != nil {
				return
			}
			if !f.restart {
				f.report(fmt.Errorf("node %s ended: %w", f.specs[i].name, orEarly(err)))
				return
			}
			f.console.say(f.specs[i].name, fmt.Sprintf("node ended: %v; starting it again", orEarly(err)))
			if !sleep(ctx, restartPause) {
				return
			}
		}
	})
}

// run runs node i once, until it ends or ctx does.
func (f *fleet) run(ctx context.Context, i int) error {
	spec := &f.specs[i]
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out := f.console.writer(spec.name)
	defer out.flush()
	cmd := exec.CommandContext(ctx, self, spec.args()...)
	cmd.Args[0] = "ringkv"
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, out, out
	cmd.SysProcAttr = childAttr()
	cmd.Cancel = func() error { return cmd.Process.Signal(stopSignal()) }
	cmd.WaitDelay = killAfter
	if err := cmd.Start(); err != nil {
		return err
	}
	f.setPID(i, cmd.Process.Pid)
	defer f.setPID(i, 0)
	f.console.say(spec.name, fmt.Sprintf("node has pid %d", cmd.Process.Pid))
	return cmd.Wait()
}

func (f *fleet) setPID(i, pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pids[i] = pid
}

// currentPIDs returns the process ids in order of the specs, 0 for a node that is down.
func (f *fleet) currentPIDs() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.pids...)
}

func (f *fleet) report(err error) {
	select {
	case f.died <- err:
	default:
	}
}

// wait returns when all nodes have ended.
func (f *fleet) wait() { f.tasks.Wait() }

// await returns when every node of specs answers path with 200.
func (f *fleet) await(ctx context.Context, specs []nodeSpec, path string) error {
	for _, s := range specs {
		for {
			err := probe(ctx, s.http, path)
			if err == nil {
				break
			}
			select {
			case died := <-f.died:
				return died
			default:
			}
			if !sleep(ctx, probePause) {
				return fmt.Errorf("node %s at %s is not up: %w", s.name, s.http, err)
			}
		}
	}
	return nil
}

// sleep waits for d. It reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func orEarly(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// localSpecs lays out n nodes on loopback under dir, at the ports from each base on. The first node forms the cluster
// if none of the directories holds anything yet.
func localSpecs(n int, dir string, httpPort, peerPort, gossipPort int) []nodeSpec {
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	specs := make([]nodeSpec, n)
	for i := range specs {
		name := "n" + strconv.Itoa(i+1)
		specs[i] = nodeSpec{
			name: name, dir: filepath.Join(dir, name),
			http: at(httpPort + i), peer: at(peerPort + i), gossip: at(gossipPort + i),
		}
	}
	fresh := true
	for _, s := range specs {
		fresh = fresh && isEmptyDir(s.dir)
	}
	for i := range specs {
		for j := range specs {
			if i != j && (i > 0 || !fresh) {
				specs[i].join = append(specs[i].join, specs[j].gossip)
			}
		}
	}
	return specs
}

// isEmptyDir reports whether dir holds nothing, or does not exist.
func isEmptyDir(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer func() { _ = f.Close() }()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// checkPorts fails if an address of specs is taken, and says which and what to do.
func checkPorts(ctx context.Context, specs []nodeSpec) error {
	var lc net.ListenConfig
	for _, s := range specs {
		for _, l := range []struct{ flag, what, addr string }{
			{"--http-port", "HTTP", s.http}, {"--peer-port", "peer", s.peer}, {"--gossip-port", "gossip", s.gossip},
		} {
			ln, err := lc.Listen(ctx, "tcp", l.addr)
			if err != nil {
				return fmt.Errorf("%s is taken, which node %s needs for %s: %w. Choose other ports with %s",
					l.addr, s.name, l.what, err, l.flag)
			}
			_ = ln.Close()
		}
	}
	return nil
}
