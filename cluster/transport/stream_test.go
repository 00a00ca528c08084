package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

func connected(n *node) bool { return n.Peers()[0].Connected }

// An idle stream lives, for hours.
func TestIdleStreamLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		synctest.Wait()
		time.Sleep(3 * time.Hour)
		if !connected(a) || net.dialCount() != 1 || len(a.log.all())+len(b.log.all()) != 0 {
			t.Fatalf("%+v, %d dials, log %v %v", a.Peers()[0], net.dialCount(), a.log.all(), b.log.all())
		}
	})
}

// A link on which nothing passes any more, in either or both directions, is noticed in about 3 s, and the call in
// flight ends as lost.
func TestSilentLinkIsNoticed(t *testing.T) {
	for name, drop := range map[string]func(l *link){
		"both ways":            func(l *link) { l.forward.drop.Store(true); l.backward.drop.Store(true) },
		"dialer to acceptor":   func(l *link) { l.forward.drop.Store(true) },
		"acceptor to dialer":   func(l *link) { l.backward.drop.Store(true) },
		"writes do not return": func(l *link) { l.forward.stall(); l.backward.stall() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork()
				a, _ := pair(t, net, func(_, b *transport.Config) { b.Handler = handlerFunc(waitForEnd) })
				lost := call(t.Context(), a, 2, nil)
				synctest.Wait()
				time.Sleep(10 * time.Second)
				before := time.Now()
				drop(net.latest(t, "b"))
				o := <-lost
				if took := time.Since(before); took > 3300*time.Millisecond {
					t.Errorf("noticed after %v", took)
				}
				if !errors.Is(o.err, transport.ErrConnLost) {
					t.Errorf("got %v", o.err)
				}
			})
		})
	}
}

// A node that was away is reached soon after it is back; meanwhile calls are refused at once, and one line is logged.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		synctest.Wait()
		_ = b.Close()
		synctest.Wait()
		time.Sleep(time.Minute)
		dials := net.dialCount()
		if dials < 60 || dials > 250 {
			t.Errorf("%d dials in a minute", dials)
		}
		before := time.Now()
		_, err := a.Call(t.Context(), 2, 1, nil)
		if !errors.Is(err, transport.ErrUnreachable) || !transport.Unsent(err) || time.Since(before) != 0 {
			t.Errorf("while it is away: %v after %v", err, time.Since(before))
		}
		start(t, net.config(2, "b"))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if _, err := a.Call(t.Context(), 2, 1, nil); err != nil {
			t.Errorf("when it is back: %v", err)
		}
		if lines := a.log.all(); len(lines) != 1 {
			t.Errorf("logged %d lines: %v", len(lines), lines)
		}
		if got := fmt.Sprint(a.peers); got != "[true false true]" {
			t.Errorf("OnPeer said %v", got)
		}
	})
}

// A node that is heard from is dialed at once, without waiting for the end of a long pause.
func TestHeardPeerIsDialedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		cfg := net.config(1, "a")
		cfg.BackoffMin, cfg.BackoffMax = 50*time.Millisecond, time.Hour
		a := start(t, cfg)
		a.SetPeers(map[ring.NodeID]string{2: "b"})
		time.Sleep(24 * time.Hour) // the pause has grown
		b := start(t, net.config(2, "b"))
		b.SetPeers(map[ring.NodeID]string{1: "a"})
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if !connected(a) {
			t.Fatalf("%+v", a.Peers()[0])
		}
	})
}

// A stream between nodes that do not belong together is refused, with a reason that both sides log once.
func TestRefusals(t *testing.T) {
	identity := func(cluster string, id ring.NodeID) func() transport.Identity {
		return func() transport.Identity { return transport.Identity{Cluster: cluster, Node: id} }
	}
	for name, tc := range map[string]struct {
		acceptor func() transport.Identity
		reason   string
		lines    int // that each side logs
	}{
		"another cluster":  {identity("c2", 2), "cluster is", 1},
		"another node":     {identity("c1", 3), "this is node 3, not node 2", 1},
		"the node itself":  {identity("c1", 1), "this is node 1, not node 2", 1},
		"not admitted yet": {identity("", 0), "belongs to no cluster", 0}, // it is about to be
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, newNetwork(), func(_, b *transport.Config) { b.Identity = tc.acceptor })
				time.Sleep(time.Minute)
				if connected(a) || !strings.Contains(a.Peers()[0].LastError, tc.reason) {
					t.Errorf("dialer: %+v", a.Peers()[0])
				}
				for side, lines := range map[string][]string{"dialer": a.log.all(), "acceptor": b.log.all()} {
					if len(lines) != tc.lines || tc.lines > 0 && !strings.Contains(lines[0], tc.reason) {
						t.Errorf("%s logged %d lines: %v", side, len(lines), lines)
					}
				}
			})
		})
	}
}

// A node that belongs to no cluster dials nobody, and does as soon as it is admitted.
func TestStreamBeginsWithAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		var admitted atomic.Bool
		cfg := net.config(1, "a")
		cfg.Identity = func() transport.Identity {
			if !admitted.Load() {
				return transport.Identity{}
			}
			return transport.Identity{Cluster: "c1", Node: 1}
		}
		a := start(t, cfg)
		start(t, net.config(2, "b"))
		a.SetPeers(map[ring.NodeID]string{2: "b"})
		synctest.Wait()
		if n := net.dialCount(); n != 0 {
			t.Fatalf("%d dials before", n)
		}
		admitted.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if !connected(a) {
			t.Fatalf("%+v", a.Peers()[0])
		}
	})
}

// helloTo connects to b as node 1 would and returns the answer and the connection.
func helloTo(t *testing.T, net *network, change func(h http.Header)) (*http.Response, io.ReadWriteCloser) {
	t.Helper()
	conn, err := net.dial(t.Context(), "", "b")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://b/peer/v1/stream", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "ringkv-peer/1",
		"Ringkv-Cluster": "c1", "Ringkv-From": "1", "Ringkv-To": "2",
	} {
		req.Header.Set(k, v)
	}
	change(req.Header)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, conn
}

func TestMalformedHello(t *testing.T) {
	for name, tc := range map[string]struct {
		header, value string
		status        int
	}{
		"no upgrade":         {"Upgrade", "", http.StatusUpgradeRequired},
		"another version":    {"Upgrade", "ringkv-peer/2", http.StatusUpgradeRequired},
		"no sender":          {"Ringkv-From", "", http.StatusBadRequest},
		"sender 0":           {"Ringkv-From", "0", http.StatusBadRequest},
		"sender no number":   {"Ringkv-From", "-1", http.StatusBadRequest},
		"target over 32 bit": {"Ringkv-To", "4294967296", http.StatusBadRequest},
		"from itself":        {"Ringkv-From", "2", http.StatusConflict},
		"no cluster":         {"Ringkv-Cluster", "", http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork()
				start(t, net.config(2, "b"))
				resp, conn := helloTo(t, net, func(h http.Header) { h.Set(tc.header, tc.value) })
				defer conn.Close()
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != tc.status || len(body) == 0 {
					t.Fatalf("got %d %q, want %d", resp.StatusCode, body, tc.status)
				}
			})
		})
	}
}

// Bytes that are no frames end the stream, whatever they are, and nothing else.
func TestGarbageEndsTheStream(t *testing.T) {
	frame := func(payload []byte) []byte {
		f := append(wire.BeginFrame(nil), payload...)
		wire.SealFrame(f)
		return f
	}
	broken := frame(wire.AppendEmpty(nil, wire.KindPing))
	broken[8] ^= 1
	for name, garbage := range map[string][]byte{
		"text":              []byte("GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
		"bad checksum":      broken,
		"too long a frame":  {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"cut envelope":      frame([]byte{1, 2}),
		"malformed raft":    frame([]byte{byte(wire.KindRaft), 1, 0, 0, 0, 1}),
		"malformed request": frame([]byte{byte(wire.KindRequest), 1, 0, 0, 0, 0x80}),
		"malformed leaders": frame([]byte{byte(wire.KindLeaders), 1, 0, 0, 0, 9}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork()
				b := start(t, net.config(2, "b"))
				resp, conn := helloTo(t, net, func(http.Header) {})
				if resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("hello: %s", resp.Status)
				}
				_, _ = conn.Write(garbage)
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Errorf("the stream did not end but: %v", err)
				}
				_ = conn.Close()
				a := start(t, net.config(1, "a"))
				a.SetPeers(map[ring.NodeID]string{2: "b"})
				if _, err := a.Call(t.Context(), 2, 1, nil); err != nil {
					t.Errorf("a good stream afterwards: %v", err)
				}
				if len(b.received()) != 0 {
					t.Errorf("received %v", b.received())
				}
			})
		})
	}
}

// A later version may send kinds of envelopes that this one does not know.
func TestUnknownEnvelopeIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		b := start(t, net.config(2, "b"))
		_, conn := helloTo(t, net, func(http.Header) {})
		f := append(wire.BeginFrame(nil), 99, 1, 0, 0, 0, 7)
		f = wire.AppendRaftEnvelope(f, 5, heartbeat(1))
		wire.SealFrame(f)
		if _, err := conn.Write(f); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.received(); len(got) != 1 || got[0][0].Group != 5 {
			t.Errorf("received %v", got)
		}
		_ = conn.Close()
	})
}

// A node that dials again takes the place of its old stream, which may be a dead one.
func TestNewerStreamReplacesTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		b := start(t, net.config(2, "b"))
		_, first := helloTo(t, net, func(http.Header) {})
		_, second := helloTo(t, net, func(http.Header) {})
		if _, err := io.Copy(io.Discard, first); err != nil {
			t.Errorf("the first stream did not end but: %v", err)
		}
		f := wire.AppendRaftEnvelope(wire.BeginFrame(nil), 5, heartbeat(1))
		wire.SealFrame(f)
		if _, err := second.Write(f); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(b.received()) != 1 {
			t.Error("the second stream does not work")
		}
		_ = first.Close()
		_ = second.Close()
	})
}

// A second process of a node is refused while the first one's stream lives, without disturbing it, and is told so; it is
// let in as soon as the first is gone, noticed or not.
func TestTwinIsRefused(t *testing.T) {
	for name, leave := range map[string]func(first *node, l *link, gone *atomic.Bool){
		"first stops": func(first *node, _ *link, _ *atomic.Bool) { _ = first.Close() },
		"first vanishes": func(_ *node, l *link, gone *atomic.Bool) {
			gone.Store(true)
			l.forward.drop.Store(true)
			l.backward.drop.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nw := newNetwork()
				var gone atomic.Bool
				first, b := pair(t, nw, func(a, _ *transport.Config) {
					a.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if gone.Load() {
							return nil, errors.New("no route")
						}
						return nw.dial(ctx, network, addr)
					}
				})
				synctest.Wait()
				lk := nw.latest(t, "b")
				var told atomic.Int64
				cfg := nw.config(1, "a2")
				cfg.OnTwin = func(id ring.NodeID) { told.Add(int64(id)) }
				second := start(t, cfg)
				second.SetPeers(map[ring.NodeID]string{2: "b"})
				time.Sleep(time.Minute)
				if !connected(first) || connected(second) || told.Load() == 0 || told.Load()%2 != 0 {
					t.Fatalf("first %+v, second %+v, told %d", first.Peers()[0], second.Peers()[0], told.Load())
				}
				if got := b.log.all(); len(got) != 1 || !strings.Contains(got[0], "another process runs as node 1") {
					t.Errorf("logged %q", got)
				}
				leave(first, lk, &gone)
				time.Sleep(5 * time.Second)
				if !connected(second) {
					t.Errorf("still refused: %+v", second.Peers()[0])
				}
			})
		})
	}
}

func TestSetPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, _ := pair(t, net, func(_, b *transport.Config) { b.Handler = handlerFunc(waitForEnd) })
		c := start(t, net.config(3, "c"))
		cut := call(t.Context(), a, 2, nil)
		synctest.Wait()
		a.SetPeers(map[ring.NodeID]string{2: "b", 3: "c"})
		synctest.Wait()
		if n := net.dialCount(); n != 2 {
			t.Fatalf("%d dials: the stream that is kept was made again", n)
		}
		a.SetPeers(map[ring.NodeID]string{3: "c"})
		synctest.Wait()
		if o := ended(t, cut); !errors.Is(o.err, transport.ErrConnLost) {
			t.Errorf("call to a removed node: %v", o.err)
		}
		if _, err := a.Call(t.Context(), 2, 1, nil); !errors.Is(err, transport.ErrUnreachable) {
			t.Errorf("later call to it: %v", err)
		}
		_ = c.Close()
		start(t, net.config(3, "c2"))
		a.SetPeers(map[ring.NodeID]string{3: "c2"})
		if _, err := a.Call(t.Context(), 3, 1, nil); err != nil {
			t.Errorf("call to a node that moved: %v", err)
		}
		list := a.Peers()
		if len(list) != 1 || list[0].ID != 3 || list[0].Addr != "c2" || !list[0].Connected {
			t.Errorf("peers %+v", list)
		}
	})
}
