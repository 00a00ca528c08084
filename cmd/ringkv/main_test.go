package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"ringkv":  func() { os.Exit(testApp().main(os.Args[1:])) },
		"waitout": func() { os.Exit(waitOut(os.Args[1:])) },
	})
}

// leakChecked fails the test binary if its tests leave goroutines.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// testApp is the real app over a node that keeps its keys in memory.
func testApp() *app {
	return &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ(), start: startFake}
}

// fakeNode is a node without a cluster. One whose data directory's path has "dies" in it ends as soon as it is up.
type fakeNode struct {
	server *http.Server
	done   chan struct{}
	hangs  bool
}

func startFake(ctx context.Context, cfg serveConfig, log *slog.Logger) (node, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.HTTP)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, err
	}
	log.Debug("told", "config", fmt.Sprintf("%+v", cfg))
	n := &fakeNode{server: &http.Server{Handler: clienttest.NewHandler(cfg.HTTP)}, done: make(chan struct{})}
	go func() { _ = n.server.Serve(ln) }()
	n.hangs = strings.Contains(cfg.DataDir, "hangs")
	if strings.Contains(cfg.DataDir, "dies") {
		close(n.done)
	}
	return n, nil
}

func (n *fakeNode) Done() <-chan struct{} { return n.done }
func (n *fakeNode) Err() error            { return errors.New("the disk is on fire") }

// Stop implements node. A node with "hangs" in its path stops only when it must.
func (n *fakeNode) Stop(ctx context.Context) error {
	if n.hangs {
		<-ctx.Done()
	}
	return n.server.Shutdown(ctx)
}

// waitOut implements "waitout FILE TEXT": it waits until the growing FILE holds TEXT.
func waitOut(args []string) int {
	deadline := time.Now().Add(20 * time.Second)
	for {
		b, err := os.ReadFile(args[0])
		if err == nil && strings.Contains(string(b), args[1]) {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "%q never came:\n%s\n", args[1], b)
			return 1
		}
		time.Sleep(5 * time.Millisecond) // another process's file tells no event
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run":    scriptRun,
			"exits":  scriptExits,
			"answer": scriptAnswer,
			"same":   scriptSame,
			"poison": scriptPoison,
		},
	})
}

type clusterKey struct{}

// setUpScript gives each script a cluster of two nodes, $NODE1 and $NODE2; an address that nobody listens at; and for
// servers of its own $FREE1 to $FREE3, behind each of which the next port is free too.
func setUpScript(e *testscript.Env) error {
	cluster := clienttest.New(2)
	e.Defer(cluster.Close)
	e.Values[clusterKey{}] = cluster
	e.Setenv("NODE1", cluster.Nodes[0].Addr())
	e.Setenv("NODE2", cluster.Nodes[1].Addr())
	for _, name := range []string{"NOBODY", "FREE1", "FREE2", "FREE3"} {
		port := freePair()
		e.Setenv(name, at(port))
		e.Setenv(name+"_PORT", strconv.Itoa(port))
	}
	return nil
}

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePair returns a port such that it and the next one are free. It lies below those that the kernel gives away.
func freePair() int {
	for {
		port := 12_000 + 2*rand.IntN(8_000)
		first, err := net.Listen("tcp", at(port))
		if err != nil {
			continue
		}
		second, err := net.Listen("tcp", at(port+1))
		_ = first.Close()
		if err == nil {
			_ = second.Close()
			return port
		}
	}
}

// scriptRun implements "run [<FILE] ARG…": ringkv with these arguments, in this process, must succeed.
func scriptRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("use exits")
	}
	scriptExits(ts, false, append([]string{"0"}, args...))
}

// scriptExits implements "exits CODE [<FILE] ARG…": ringkv with these arguments must end with that exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE [<FILE] ARG…")
	}
	want, args := args[0], args[1:]
	stdin := ""
	if len(args) > 0 && strings.HasPrefix(args[0], "<") {
		stdin, args = ts.ReadFile(args[0][1:]), args[1:]
	}
	a := &app{stdin: strings.NewReader(stdin), stdout: ts.Stdout(), stderr: ts.Stderr(), start: startFake}
	for _, name := range []string{
		"RINGKV_NODES", "RINGKV_HTTP", "RINGKV_WEIGHT", "RINGKV_CONFIG", "RINGKV_WIEGHT", "RINGKV_SERVICE_HOST",
		"RINGKV_CLUSTER",
	} {
		a.env = append(a.env, name+"="+ts.Getenv(name))
	}
	if code := strconv.Itoa(a.main(args)); code != want {
		ts.Fatalf("exit code %s, want %s", code, want)
	}
}

// scriptAnswer implements "answer NODE CODE [OUTCOME]": all requests to the node get this problem from now on; "answer
// NODE cut" hangs up instead, "answer NODE never" lets them wait, and "answer NODE foreign" is some other server's answer.
func scriptAnswer(ts *testscript.TestScript, _ bool, args []string) {
	cluster := ts.Value(clusterKey{}).(*clienttest.Cluster)
	n := cluster.Nodes[args[0][0]-'1']
	switch args[1] {
	case "cut":
		n.Intercept(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
		return
	case "never":
		n.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see a client that hangs up
			<-r.Context().Done()
			return true
		})
		return
	case "foreign":
		n.Intercept(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true })
		return
	}
	err := api.Code(args[1]).Sentinel()
	if err == nil {
		ts.Fatalf("no code %q", args[1])
	}
	n.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		clienttest.WriteProblem(w, r, err)
		return true
	})
}

// scriptSame implements "same FILE FILE": equal byte for byte.
func scriptSame(ts *testscript.TestScript, _ bool, args []string) {
	if a, b := ts.ReadFile(args[0]), ts.ReadFile(args[1]); a != b {
		ts.Fatalf("%q is not %q", a, b)
	}
}

// scriptPoison implements "poison PART": once, at the 50th transaction that the cluster is asked for, the first key
// with PART in its name gets a value that it should not have.
func scriptPoison(ts *testscript.TestScript, _ bool, args []string) {
	cluster := ts.Value(clusterKey{}).(*clienttest.Cluster)
	c, err := client.New(client.Config{Nodes: cluster.Addrs(), Direct: true})
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	var n atomic.Int64
	for _, node := range cluster.Nodes {
		node.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && n.Add(1) == 50 {
				for item := range c.List(context.Background(), client.ListOptions{KeysOnly: true}) {
					if strings.Contains(item.Key, args[0]) {
						_, _ = c.Put(context.Background(), item.Key, []byte("123456"))
						break
					}
				}
			}
			return false
		})
	}
}
