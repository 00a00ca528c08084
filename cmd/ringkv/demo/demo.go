// Package demo plays a business on a cluster: several clients carry out transactions on the same keys at the same time,
// and at the end the books are read as of one moment and audited.
//
// It owns the three businesses (bank, shop, delivery), what each of them promises never to break, and the figures of a
// run. It must not know a cluster but through package client. All keys of a run lie under a prefix of its own, and go
// when it ends unless they are to be kept.
//
// Nodes may be killed meanwhile, as long as each partition keeps a majority: every transaction is sent with an
// idempotency key, so that a lost answer is asked for again and no transaction is done twice. What nobody could tell in
// time counts as unknown, and the audit allows for both ends of it.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api/client"
)

// Config is the shape of a run. Zero fields take their defaults.
type Config struct {
	Business string             // one of Businesses
	Clients  int                // how many work at a time; default 8, at most 1000
	Size     int                // accounts, products and customers, or parcels: fewer are in each other's way more often; default 20, 2 to 500
	Duration time.Duration      // how long they work; default 10 s
	Count    int64              // how many transactions they try instead, in all; 0: by Duration
	Keep     bool               // leave the keys in place
	Options  []client.TxnOption // of every transaction, besides ExactlyOnce

	// Progress, if set, is called every 200 ms while the clients work: with the done part of the work, from 0 to 1, and
	// what was counted so far.
	Progress func(part float64, now Tally)
}

// Businesses are the names of what can be played.
func Businesses() []string { return []string{"bank", "shop", "delivery"} }

func (cfg Config) withDefaults() Config {
	if cfg.Clients == 0 {
		cfg.Clients = 8
	}
	if cfg.Size == 0 {
		cfg.Size = 20
	}
	if cfg.Duration == 0 {
		cfg.Duration = 10 * time.Second
	}
	if cfg.Progress == nil {
		cfg.Progress = func(float64, Tally) {}
	}
	return cfg
}

func (cfg *Config) validate() error {
	const mostClients, mostSize = 1000, 500
	switch {
	case cfg.Clients < 1 || cfg.Clients > mostClients:
		return fmt.Errorf("%d clients: want 1 to %d", cfg.Clients, mostClients)
	case cfg.Size < 2 || cfg.Size > mostSize:
		return fmt.Errorf("size %d: want 2 to %d", cfg.Size, mostSize)
	case cfg.Duration < 0 || cfg.Count < 0:
		return errors.New("duration or count is negative")
	}
	return nil
}

// business is what is played. One player calls step at a time, several players call it at once.
type business interface {
	// open returns what the keys hold at first, by key.
	open() map[string][]byte
	// step carries out one transaction.
	step(ctx context.Context, p *player) error
	// audit judges the books: every key under the prefix with its value, and what the players were told.
	audit(books books, players []*player) []Check
}

func newBusiness(cfg *Config, prefix string) (business, error) {
	switch cfg.Business {
	case "bank":
		return newBank(prefix, cfg.Size), nil
	case "shop":
		return newShop(prefix, cfg.Size), nil
	case "delivery":
		return newDelivery(prefix, cfg.Size), nil
	default:
		return nil, fmt.Errorf("no business %q: want %s", cfg.Business, strings.Join(Businesses(), ", "))
	}
}

// Check is one promise and whether it was kept.
type Check struct {
	Name   string `json:"name"`
	Kept   bool   `json:"kept"`
	Detail string `json:"detail"`
}

// kept returns a check that passes if broken is empty.
func kept(name, detail string, broken []string) Check {
	if len(broken) == 0 {
		return Check{Name: name, Kept: true, Detail: detail}
	}
	const most = 3
	text := strings.Join(broken[:min(len(broken), most)], "; ")
	if len(broken) > most {
		text += fmt.Sprintf("; and %d more", len(broken)-most)
	}
	return Check{Name: name, Detail: text}
}

// ErrBroken is returned, with the report, when a promise was broken.
var ErrBroken = errors.New("a promise was broken")

// Run plays cfg on c's cluster. The error is ErrBroken beside the report, or why there is none.
func Run(ctx context.Context, c *client.Client, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	const letters = 10
	prefix := "demo/" + strings.ToLower(rand.Text()[:letters]) + "/"
	b, err := newBusiness(&cfg, prefix)
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, client: c, prefix: prefix, business: b}
	report, err := r.play(ctx)
	if cfg.Keep {
		return report, err
	}
	return report, errors.Join(err, r.cleanUp(ctx))
}

// Report is what a run came to.
type Report struct {
	Business string  `json:"business"`
	Prefix   string  `json:"prefix"` // of all its keys
	Clients  int     `json:"clients"`
	Size     int     `json:"size"`
	Seconds  float64 `json:"seconds"` // that the clients worked
	Tally
	PerSecond float64 `json:"committed_per_second"`
	P50Ms     float64 `json:"p50_ms"` // of committed transactions, from the first try to the answer
	P99Ms     float64 `json:"p99_ms"`
	MaxMs     float64 `json:"max_ms"`
	Keys      int     `json:"keys"`       // that were read at the end
	ReadIn    string  `json:"checked_by"` // how
	Checks    []Check `json:"checks"`
}

// broken returns ErrBroken with the names of the promises that were not kept, nil if all were.
func (r *Report) broken() error {
	var names []string
	for _, c := range r.Checks {
		if !c.Kept {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrBroken, strings.Join(names, ", "))
}
