package gossip_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/cluster/gossip"
	"github.com/ringkv/ringkv/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds how long a test waits for an event that must come.
const patience = 20 * time.Second

// member is a Gossip under test.
type member struct {
	*gossip.Gossip
	changed chan struct{} // a token after every OnChange
	log     *logRecorder

	mu   sync.Mutex
	meta gossip.Meta
}

func cluster(n byte) (id [16]byte) {
	id[0] = n
	return id
}

func metaOf(n byte, clusterID [16]byte) gossip.Meta {
	return gossip.Meta{
		Cluster: clusterID, UUID: [16]byte{15: n}, Node: ring.NodeID(n), Epoch: 1,
		HTTP: fmt.Sprintf("127.0.0.1:%d", 8080+int(n)), Peer: fmt.Sprintf("127.0.0.1:%d", 7000+int(n)), Name: fmt.Sprintf("n%d", n),
	}
}

// start starts a member with quick timing. bind is "" for any free port.
func start(t *testing.T, meta gossip.Meta, bind string, join ...string) *member {
	t.Helper()
	m := &member{changed: make(chan struct{}, 1), log: &logRecorder{wrote: make(chan struct{}, 1)}, meta: meta}
	if bind == "" {
		bind = "127.0.0.1:0"
	}
	var err error
	m.Gossip, err = gossip.Start(gossip.Config{
		Bind: bind,
		Join: join,
		Meta: func() gossip.Meta {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.meta
		},
		OnChange: func() {
			select {
			case m.changed <- struct{}{}:
			default:
			}
		},
		Logger:          slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		ProbeInterval:   100 * time.Millisecond,
		GossipInterval:  20 * time.Millisecond,
		SyncInterval:    200 * time.Millisecond,
		ForgetDeadAfter: 100 * time.Millisecond,
		RejoinMin:       20 * time.Millisecond,
		RejoinMax:       200 * time.Millisecond,
		StreamTimeout:   2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.stop(t) })
	return m
}

// stop is a crash: nobody is told.
func (m *member) stop(t *testing.T) {
	if err := m.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// await waits until the list of members, as written by names, is want.
func (m *member) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		if m.names() == want {
			return
		}
		select {
		case <-m.changed:
		case <-timeout:
			t.Fatalf("members %q, want %q", m.names(), want)
		}
	}
}

// names lists the members, the dead ones with a minus, in their order.
func (m *member) names() string {
	var names []string
	for _, other := range m.Members() {
		name := other.Name
		if !other.Alive {
			name = "-" + name
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

type logRecorder struct {
	wrote chan struct{} // a token after every line
	mu    sync.Mutex
	lines []string
}

func (l *logRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits for a line that holds text.
func (l *logRecorder) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for l.with(text) == 0 {
		select {
		case <-l.wrote:
		case <-timeout:
			t.Fatalf("no line with %q", text)
		}
	}
}

// with counts the lines that hold text.
func (l *logRecorder) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// Three nodes meet through one; all learn everything about all.
func TestMembersFindEachOther(t *testing.T) {
	c1 := cluster(1)
	a := start(t, metaOf(1, c1), "")
	b := start(t, metaOf(2, c1), "", a.Addr())
	c := start(t, metaOf(3, c1), "", a.Addr())
	for _, m := range []*member{a, b, c} {
		m.await(t, "n1 n2 n3")
	}
	for _, got := range c.Members() {
		if want := metaOf(got.UUID[15], c1); got.Meta != want || got.Since.IsZero() {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got := c.Members()[0].Addr; got != a.Addr() {
		t.Errorf("n1 is said to be at %s, not %s", got, a.Addr())
	}
}

// A name to bind or to join is resolved; it does not mean every interface.
func TestNamesAreResolved(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "localhost:0")
	host, port, err := net.SplitHostPort(a.Addr())
	if err != nil || !net.ParseIP(host).IsLoopback() {
		t.Fatalf("bound to %s, %v", a.Addr(), err)
	}
	b := start(t, metaOf(2, cluster(1)), "localhost:0", net.JoinHostPort("localhost", port))
	a.await(t, "n1 n2")
	b.await(t, "n1 n2")
}

// A node whose seed starts after it finds it.
func TestStartInAnyOrder(t *testing.T) {
	probe := start(t, metaOf(9, cluster(9)), "")
	free := probe.Addr()
	probe.stop(t)
	a := start(t, metaOf(1, cluster(1)), "", free)
	b := start(t, metaOf(2, cluster(1)), free)
	a.await(t, "n1 n2")
	b.await(t, "n1 n2")
}

// A node that was killed is noticed; one that comes back at its address is found by those who remember it, although
// it looks for nobody itself and memberlist has long forgotten it.
func TestLostMemberIsFoundAgain(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(1)), "", a.Addr())
	c := start(t, metaOf(3, cluster(1)), "", a.Addr())
	a.await(t, "n1 n2 n3")
	c.await(t, "n1 n2 n3")
	addr := b.Addr()
	b.stop(t)
	a.await(t, "n1 -n2 n3")
	c.await(t, "n1 -n2 n3")
	b = start(t, metaOf(2, cluster(1)), addr)
	for _, m := range []*member{a, b, c} {
		m.await(t, "n1 n2 n3")
	}
}

// All others are dead for longer than memberlist remembers them, as after a partition; then they are back.
func TestEveryoneLostIsFoundAgain(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(1)), "", a.Addr())
	c := start(t, metaOf(3, cluster(1)), "", a.Addr())
	a.await(t, "n1 n2 n3")
	addrB, addrC := b.Addr(), c.Addr()
	b.stop(t)
	c.stop(t)
	a.await(t, "n1 -n2 -n3")
	b = start(t, metaOf(2, cluster(1)), addrB)
	c = start(t, metaOf(3, cluster(1)), addrC)
	for _, m := range []*member{a, b, c} {
		m.await(t, "n1 n2 n3")
	}
}

func TestMemberComesBackElsewhere(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(1)), "", a.Addr())
	a.await(t, "n1 n2")
	old := b.Addr()
	b.stop(t)
	b = start(t, metaOf(2, cluster(1)), "", a.Addr())
	timeout := time.After(patience)
	for {
		if m := a.Members()[1]; m.Alive && m.Addr == b.Addr() && m.Addr != old {
			return
		}
		select {
		case <-a.changed:
		case <-timeout:
			t.Fatalf("members %+v", a.Members())
		}
	}
}

func TestLeave(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(1)), "", a.Addr())
	a.await(t, "n1 n2")
	b.await(t, "n1 n2")
	if err := b.Leave(5 * time.Second); err != nil {
		t.Error(err)
	}
	b.stop(t)
	a.await(t, "n1 -n2")
}

func TestMetaSpreads(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(1)), "", a.Addr())
	b.await(t, "n1 n2")
	a.mu.Lock()
	a.meta.Epoch, a.meta.Name = 77, "renamed"
	a.mu.Unlock()
	if err := a.UpdateMeta(); err != nil {
		t.Fatal(err)
	}
	b.await(t, "renamed n2")
	if got := b.Members()[0]; got.Epoch != 77 {
		t.Errorf("epoch %d", got.Epoch)
	}
	a.await(t, "renamed n2")
}

// Members of another cluster are kept apart, both ways, with one line in the log; a node of no cluster may meet all.
func TestForeignClusterIsRefused(t *testing.T) {
	a := start(t, metaOf(1, cluster(1)), "")
	b := start(t, metaOf(2, cluster(2)), "", a.Addr())
	fresh := start(t, metaOf(3, cluster(0)), "", a.Addr(), b.Addr())
	a.await(t, "n1 n3")
	b.await(t, "n2 n3")
	fresh.await(t, "n1 n2 n3")
	for _, m := range []*member{a, b} {
		m.log.await(t, "refused the gossip of another cluster")
	}
	fresh.mu.Lock()
	fresh.meta.Cluster = cluster(2)
	fresh.mu.Unlock()
	if err := fresh.UpdateMeta(); err != nil {
		t.Fatal(err)
	}
	fresh.await(t, "n2 n3") // it now belongs to one of them, and forgets the other
	a.log.await(t, "name=n2")
	b.log.await(t, "name=n1")
	for _, m := range []*member{a, b} {
		if n := m.log.with("refused the gossip of another cluster"); n != 1 {
			t.Errorf("the refusal was logged %d times", n)
		}
	}
}

func TestMetaIsBounded(t *testing.T) {
	meta := metaOf(1, cluster(1))
	m := start(t, meta, "")
	m.mu.Lock()
	m.meta.Name = strings.Repeat("x", 512)
	m.mu.Unlock()
	if err := m.UpdateMeta(); !errors.Is(err, gossip.ErrMetaTooLarge) {
		t.Errorf("UpdateMeta: %v", err)
	}
	if got := m.Members()[0].Meta; got != meta {
		t.Errorf("the old metadata did not stay: %+v", got)
	}
	meta.HTTP = strings.Repeat("h", 512)
	_, err := gossip.Start(gossip.Config{Bind: "127.0.0.1:0", Meta: func() gossip.Meta { return meta }})
	if !errors.Is(err, gossip.ErrMetaTooLarge) {
		t.Errorf("Start: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	meta := func() gossip.Meta { return metaOf(1, cluster(1)) }
	for name, cfg := range map[string]gossip.Config{
		"no Meta":        {Bind: "127.0.0.1:0"},
		"no port":        {Bind: "127.0.0.1", Meta: meta},
		"no such port":   {Bind: "127.0.0.1:65536", Meta: meta},
		"no UUID":        {Bind: "127.0.0.1:0", Meta: func() gossip.Meta { return gossip.Meta{} }},
		"crossed bounds": {Bind: "127.0.0.1:0", Meta: meta, RejoinMin: time.Minute},
	} {
		if g, err := gossip.Start(cfg); err == nil {
			t.Errorf("%s: started at %s", name, g.Addr())
			_ = g.Close()
		}
	}
}
