// Package gossip finds the other nodes of the cluster and spreads who is alive, where everyone is, and how new the
// metadata is. It is the only package that knows memberlist.
//
// Everything it says is a hint. It may be late, wrong or missing, and nobody may decide ownership or membership by
// it: that is the metadata group's. DESIGN.md says what is nevertheless promised.
package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrMetaTooLarge is returned when a Meta does not fit the 512 bytes that gossip carries for a node.
var ErrMetaTooLarge = errors.New("gossip: metadata too large")

// updateWait bounds how long telling others of a new Meta holds up the owned goroutine.
const updateWait = 100 * time.Millisecond

// Member is what is known of a node.
type Member struct {
	Meta
	Addr  string    // gossip address, ip:port
	Alive bool      // as far as is known; this node itself is
	Since time.Time // when Alive last changed here
}

// Gossip is this node's part in the gossip. All methods may be called from any goroutine.
type Gossip struct {
	cfg    Config
	list   *memberlist.Memberlist
	addr   string // where others reach this node
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	changed chan struct{} // holds a token when OnChange is due
	update  chan struct{} // holds a token when others must be told of a new Meta

	mu      sync.Mutex // guards what follows; taken by memberlist's callbacks, so never held when calling it
	self    Meta
	encoded []byte // self on the wire
	members map[string]Member
	refused map[[16]byte]bool // clusters whose refusal was logged
}

// Start binds, and begins to look for the others. It does not wait until it has found any.
func Start(cfg Config) (*Gossip, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	g := &Gossip{
		cfg:     cfg,
		changed: make(chan struct{}, 1),
		update:  make(chan struct{}, 1),
		members: make(map[string]Member),
		refused: make(map[[16]byte]bool),
	}
	if err := g.loadMeta(); err != nil {
		return nil, err
	}
	ml, err := g.listConfig()
	if err != nil {
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if g.list, err = memberlist.Create(ml); err != nil {
		g.cancel()
		return nil, fmt.Errorf("gossip on %s: %w", cfg.Bind, err)
	}
	g.addr = g.list.LocalNode().Address()
	g.wg.Go(g.notify)
	g.wg.Go(g.rejoin)
	return g, nil
}

// listConfig translates the Config for memberlist.
func (g *Gossip) listConfig() (*memberlist.Config, error) {
	host, port, err := splitAddr(g.cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("gossip: bind address: %w", err)
	}
	ml := memberlist.DefaultLANConfig()
	ml.Name = g.self.name()
	if ml.BindAddr, err = resolveBind(host); err != nil {
		return nil, fmt.Errorf("gossip: bind address: %w", err)
	}
	ml.BindPort = port
	ml.AdvertisePort = port
	if g.cfg.Advertise != "" {
		ml.AdvertiseAddr, ml.AdvertisePort, err = resolveAdvertise(g.cfg.Advertise, port)
		if err != nil {
			return nil, fmt.Errorf("gossip: advertised address: %w", err)
		}
	}
	ml.TCPTimeout = g.cfg.StreamTimeout
	ml.ProbeInterval, ml.ProbeTimeout = g.cfg.ProbeInterval, g.cfg.ProbeInterval/2
	ml.GossipInterval = g.cfg.GossipInterval
	ml.PushPullInterval = g.cfg.SyncInterval
	ml.GossipToTheDeadTime = g.cfg.ForgetDeadAfter
	ml.DeadNodeReclaimTime = g.cfg.ProbeInterval // a node that comes back on another address, as containers do
	ml.EnableCompression = false                 // the messages are small; it would cost more than it saves
	ml.Delegate = delegate{g}
	ml.Events = events{g}
	ml.Alive = admission{g}
	ml.Merge = admission{g}
	ml.Logger = newLogger(g.cfg.Logger)
	return ml, nil
}

// Addr is the address that others reach this node's gossip at.
func (g *Gossip) Addr() string {
	return g.addr
}

// Members returns all nodes of the cluster heard of, this one included, by UUID. Dead ones stay for a day.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		if !g.foreignTo(m.Meta) { // met before this node belonged to a cluster
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	return list
}

// UpdateMeta asks Config.Meta again and tells the others, in the background. On ErrMetaTooLarge the old one stays.
func (g *Gossip) UpdateMeta() error {
	if err := g.loadMeta(); err != nil {
		return err
	}
	signal(g.update)
	signal(g.changed)
	return nil
}

// loadMeta asks for this node's Meta and keeps it if it can be sent.
func (g *Gossip) loadMeta() error {
	m := g.cfg.Meta()
	b, err := m.append(nil)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case m.UUID == [16]byte{}:
		return errors.New("gossip: a node needs a UUID")
	case g.encoded != nil && m.UUID != g.self.UUID:
		return errors.New("gossip: a node cannot change its UUID")
	}
	g.self, g.encoded = m, b
	return nil
}

// Leave tells the others that this node goes on purpose, and waits until it is said or timeout is over. From then on
// nobody is looked for and OnChange is not called; Close must follow.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.cancel() // memberlist forgets this node itself in time, and does not bear being asked for it then
	return g.list.Leave(timeout)
}

// Close stops without a word: the others find out by themselves. It returns after the owned goroutines have ended.
func (g *Gossip) Close() error {
	g.cancel()
	err := g.list.Shutdown()
	g.wg.Wait()
	return err
}

// notify does what memberlist's callbacks may not do themselves, as they run under its locks.
func (g *Gossip) notify() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.changed:
			g.cfg.OnChange()
		case <-g.update:
			// The update is queued in any case. The error says that it was not sent in that time.
			_ = g.list.UpdateNode(updateWait)
		}
	}
}

// signal puts a token into c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: %w", p, err)
	}
	return host, int(n), nil
}

// resolveAdvertise turns host or host:port into what memberlist wants, an IP address and a port.
func resolveAdvertise(addr string, port int) (string, int, error) {
	host := addr
	if h, p, err := splitAddr(addr); err == nil {
		host, port = h, p
	}
	ip, err := resolve(host)
	return ip, port, err
}

// resolveBind turns the host to bind into an IP address. memberlist would take a name for "every interface".
func resolveBind(host string) (string, error) {
	if host == "" {
		return "0.0.0.0", nil
	}
	return resolve(host)
}

// resolve returns host if it is an IP address, else its first address, an IPv4 one if there is one.
func resolve(host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return "", err
	}
	for _, ip := range ips {
		if ip.To4() != nil {
			return ip.String(), nil
		}
	}
	return ips[0].String(), nil
}
