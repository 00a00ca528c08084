package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/ring"
)

// The hello: an HTTP upgrade whose headers name both ends.
const (
	streamPath     = "/peer/v1/stream"
	streamProtocol = "ringkv-peer/1"

	headerCluster = "Ringkv-Cluster"
	headerFrom    = "Ringkv-From"
	headerTo      = "Ringkv-To"
	headerRun     = "Ringkv-Run"

	readBuffer = 64 << 10 // bytes; holds several usual frames
	maxReason  = 512      // bytes of a refusal that are read
)

// refusedError is returned by connect when the other node answered but refused.
type refusedError struct {
	reason string
	soon   bool // it is not a member yet, but about to be one
	twin   bool // it has a stream of another process with our identity
}

func (e *refusedError) Error() string { return "refused: " + e.reason }

// dialStream connects to addr and says hello. The returned reader holds what came behind the answer.
func (t *Transport) dialStream(ctx context.Context, to ring.NodeID, addr string) (*liveConn, *bufio.Reader, error) {
	self := t.cfg.Identity()
	if self.Cluster == "" || self.Node == 0 {
		return nil, nil, errNotAdmitted
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.DialTimeout)
	defer cancel()
	conn, err := t.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	live := newLiveConn(conn, t.cfg.ReadTimeout, &t.counters)
	r := bufio.NewReaderSize(live, readBuffer)
	err = t.hello(conn, r, self, to, addr)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return live, r, nil
}

func (t *Transport) hello(w io.Writer, r *bufio.Reader, self Identity, to ring.NodeID, addr string) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+streamPath, nil)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", streamProtocol)
	req.Header.Set(headerCluster, self.Cluster)
	req.Header.Set(headerFrom, formatNode(self.Node))
	req.Header.Set(headerTo, formatNode(to))
	req.Header.Set(headerRun, t.cfg.Run)
	if err := req.Write(w); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	reason, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	_ = resp.Body.Close()
	return &refusedError{
		reason: fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(reason))),
		soon:   resp.StatusCode == http.StatusServiceUnavailable,
		twin:   resp.StatusCode == http.StatusLocked,
	}
}

// acceptStream answers a hello and, unless it refuses, serves the stream until it ends.
func (t *Transport) acceptStream(w http.ResponseWriter, r *http.Request) {
	from, status, reason := t.checkHello(r.Header)
	if reason != "" {
		t.logRefusal(from, status, reason)
		w.Header().Set("Upgrade", streamProtocol)
		http.Error(w, reason, status)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no stream on this connection", http.StatusBadRequest)
		return
	}
	defer conn.Close()
	if buffered.Reader.Buffered() > 0 { // a dialer waits for the answer before it sends
		return
	}
	if err := t.welcome(conn); err != nil {
		return
	}
	t.serveInbound(from, r.Header.Get(headerRun), conn)
}

func (t *Transport) welcome(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(t.cfg.DialTimeout)); err != nil {
		return err
	}
	_, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+streamProtocol+"\r\n\r\n")
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// checkHello returns who says hello, and why it is refused; an empty reason means welcome.
func (t *Transport) checkHello(h http.Header) (from ring.NodeID, status int, reason string) {
	from, okFrom := parseNode(h.Get(headerFrom))
	to, okTo := parseNode(h.Get(headerTo))
	self := t.cfg.Identity()
	cluster := h.Get(headerCluster)
	switch {
	case h.Get("Upgrade") != streamProtocol:
		return from, http.StatusUpgradeRequired, "this node speaks " + streamProtocol
	case !okFrom || !okTo:
		return from, http.StatusBadRequest, "malformed node number"
	case self.Cluster == "" || self.Node == 0:
		return from, http.StatusServiceUnavailable, "this node belongs to no cluster yet"
	case cluster != self.Cluster:
		return from, http.StatusConflict, fmt.Sprintf("cluster is %q here, not %q", self.Cluster, cut(cluster))
	case to != self.Node:
		return from, http.StatusConflict, fmt.Sprintf("this is node %d, not node %d", self.Node, to)
	case from == self.Node:
		return from, http.StatusConflict, fmt.Sprintf("node %d is this node itself", from)
	}
	if addr, ok := t.twinOf(from, h.Get(headerRun)); ok {
		return from, http.StatusLocked, fmt.Sprintf("another process runs as node %d and is connected from %s", from, addr)
	}
	return from, 0, ""
}

// twinOf returns where a live stream of another process of a node comes from. Its dialer pings, so one whose process is
// gone ends by itself, at the latest after ReadTimeout.
func (t *Transport) twinOf(from ring.NodeID, run string) (addr string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.inbound[from]
	if old == nil || old.run == run || old.ctx.Err() != nil {
		return "", false
	}
	return old.conn.RemoteAddr().String(), true
}

// refusal is what was logged about a hello; the same is not logged again until that node was welcome once.
type refusal struct {
	from   ring.NodeID
	reason string
}

// maxRefusals bounds what is remembered; refusals beyond it are not logged.
const maxRefusals = 256

func (t *Transport) logRefusal(from ring.NodeID, status int, reason string) {
	if status == http.StatusServiceUnavailable {
		return // it comes again when this node is a member
	}
	t.mu.Lock()
	key := refusal{from, reason}
	_, known := t.refusals[key]
	fresh := !known && len(t.refusals) < maxRefusals
	if fresh {
		t.refusals[key] = struct{}{}
	}
	t.mu.Unlock()
	if fresh {
		t.cfg.Logger.Warn("refused a peer's stream", "node", from, "reason", reason)
	}
}

func formatNode(id ring.NodeID) string {
	return strconv.FormatUint(uint64(id), 10)
}

func parseNode(s string) (ring.NodeID, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return ring.NodeID(n), err == nil && n > 0
}

// cut shortens what a stranger sent, for a message.
func cut(s string) string {
	return s[:min(len(s), 128)]
}
