package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/api/client"
)

// binary is the ringkv that the tests run, built by TestMain, with the race detector if they have it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ringkv-systemtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ringkv")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/ringkv/ringkv/cmd/ringkv")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build ringkv: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// process is one node.
type process struct {
	name               string
	dir                string
	http, peer, gossip string
	join               string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	log    lockedBuffer
}

// fleet is some nodes of one cluster.
type fleet struct {
	t     *testing.T
	extra []string // further flags of serve
	nodes []*process
}

// newFleet lays out n nodes on free loopback ports. None runs yet; they are ended with the test.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t}
	ports := freePorts(t, 3*n)
	for i := range n {
		p := &process{
			name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(t.TempDir(), "data"),
			http: ports[3*i], peer: ports[3*i+1], gossip: ports[3*i+2],
		}
		if i > 0 {
			p.join = f.nodes[0].gossip
		}
		f.nodes = append(f.nodes, p)
	}
	t.Cleanup(f.end)
	return f
}

// freePorts finds n addresses of which no two are the same: all are held until the last is found.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs[i] = ln.Addr().String()
	}
	return addrs
}

// end kills what still runs and shows the nodes' words if the test failed.
func (f *fleet) end() {
	for _, p := range f.nodes {
		p.kill()
		if f.t.Failed() {
			f.t.Logf("log of %s:\n%s", p.name, tail(p.log.String(), 60))
		}
		if s := p.log.String(); strings.Contains(s, "DATA RACE") || strings.Contains(s, "panic:") {
			f.t.Errorf("%s raced or panicked:\n%s", p.name, s)
		}
	}
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// start runs a node; it need not be ready when start returns.
func (f *fleet) start(i int) {
	f.t.Helper()
	p := f.nodes[i]
	args := []string{"serve", "--name", p.name, "--data-dir", p.dir, "--http", p.http, "--peer", p.peer, "--gossip", p.gossip}
	if p.join != "" {
		args = append(args, "--join", p.join)
	}
	cmd := exec.Command(binary, append(args, f.extra...)...)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		f.t.Fatalf("start %s: %v", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
}

// signal sends a signal to a running node.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends a node with SIGKILL and returns when it is gone.
func (p *process) kill() { p.endBy(syscall.SIGKILL) }

// stop ends a node as an operator would and reports whether it went in time.
func (p *process) stop() error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New(p.name + " did not stop within 20 s of SIGTERM")
	}
}

func (p *process) endBy(s syscall.Signal) {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return
	}
	p.signal(s)
	<-exited
}

// patience is how long a fleet is waited for: far longer than it takes, as the machine may be busy with much else.
const patience = 4 * time.Minute

// ready waits until the nodes say so.
func (f *fleet) ready(nodes ...int) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for _, i := range nodes {
		var last string
		for {
			ok, reason := f.nodes[i].isReady()
			if ok {
				break
			}
			last = reason
			if time.Now().After(deadline) {
				f.t.Fatalf("%s is not ready: %s", f.nodes[i].name, last)
			}
			f.pause(50 * time.Millisecond)
		}
	}
}

func (p *process) isReady() (ok bool, reason string) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + p.http + "/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode == http.StatusOK, b.String()
}

// pause lets real processes do something in real time.
func (f *fleet) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.t.Context().Done():
	}
}

// client is an SDK client that knows all nodes.
func (f *fleet) client() *client.Client {
	f.t.Helper()
	var nodes []string
	for _, p := range f.nodes {
		nodes = append(nodes, p.http)
	}
	c, err := client.New(client.Config{Nodes: nodes})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// settled waits until the cluster counts n active nodes that share the replicas and leaders as the placement says.
func (f *fleet) settled(c *client.Client, n int) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		state, ok := describe(f.t.Context(), c, n)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("cluster does not settle on %d nodes: %s", n, state)
		}
		f.pause(100 * time.Millisecond)
	}
}

func describe(ctx context.Context, c *client.Client, n int) (string, bool) {
	cl, err := c.Cluster(ctx)
	if err != nil {
		return err.Error(), false
	}
	active, leaders := 0, 0
	for _, node := range cl.Nodes {
		if node.State != "active" || !node.Alive {
			continue
		}
		active++
		if low := cl.Partitions / n; node.Leaders >= low && node.Leaders <= low+1 {
			leaders += node.Leaders
		}
	}
	return fmt.Sprintf("%+v", cl.Nodes), active == n && leaders == cl.Partitions
}

// lockedBuffer is a growing buffer that several goroutines may use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
