package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// shortTxn is a transaction as it is written in flags: steps in the order in which they were given.
type shortTxn struct {
	steps []shortStep
}

// shortStep is one condition or operation.
type shortStep struct {
	add  func(t *client.Txn, life []client.Lifetime)
	put  bool // a lifetime may follow
	life []client.Lifetime
}

// txn returns the transaction.
func (s *shortTxn) txn(opts ...client.TxnOption) *client.Txn {
	t := client.NewTxn(opts...)
	for i := range s.steps {
		s.steps[i].add(t, s.steps[i].life)
	}
	return t
}

// flags adds the flags of all steps to cmd.
func (s *shortTxn) flags(cmd *cobra.Command) {
	step := func(name, form, usage string, set func(text string) error) {
		cmd.Flags().Var(&stepFlag{form: form, set: set}, name, usage)
	}
	step("if", "CONDITION", "demand KEY=VALUE, KEY@VERSION, KEY! (exists) or !KEY (does not); repeatable", s.condition)
	step("if-lock", "NAME@TOKEN", "demand that the lock is held with this fencing token", s.lock)
	step("get", "KEY", "read a key", s.onKey((*client.Txn).Get))
	step("delete", "KEY", "remove a key, whether or not it exists", s.onKey((*client.Txn).Delete))
	step("put", "KEY=VALUE", "store a value", s.put((*client.Txn).Put))
	step("add", "KEY=BY[,min=N][,max=N]", "add to a number; the sum must keep within the bounds", s.sum((*client.Txn).Add))
	step("else-get", "KEY", "the same, where a condition is false", s.onKey((*client.Txn).ElseGet))
	step("else-delete", "KEY", "likewise", s.onKey((*client.Txn).ElseDelete))
	step("else-put", "KEY=VALUE", "likewise", s.put((*client.Txn).ElsePut))
	step("else-add", "KEY=BY[,min=N][,max=N]", "likewise", s.sum((*client.Txn).ElseAdd))
	step("ttl", "DURATION", "let the key of the put before it expire, 1ms to 87600h", s.ttl)
	step("keep-ttl", "", "leave the time to live of the key of the put before it as it is", s.keepTTL)
	cmd.Flags().Lookup("keep-ttl").NoOptDefVal = "true"
	cmd.Flags().SortFlags = false
}

// stepFlag is a flag that does something each time it is given.
type stepFlag struct {
	form string
	set  func(text string) error
}

var _ pflag.Value = (*stepFlag)(nil)

func (f *stepFlag) Set(text string) error { return f.set(text) }
func (f *stepFlag) Type() string          { return f.form }
func (f *stepFlag) String() string        { return "" }

func (s *shortTxn) step(add func(t *client.Txn)) {
	s.steps = append(s.steps, shortStep{add: func(t *client.Txn, _ []client.Lifetime) { add(t) }})
}

// condition reads KEY=VALUE, KEY@VERSION, KEY! or !KEY.
func (s *shortTxn) condition(text string) error {
	if key, value, ok := strings.Cut(text, "="); ok {
		s.step(func(t *client.Txn) { t.IfValue(key, []byte(value)) })
		return nil
	}
	if key, ok := strings.CutPrefix(text, "!"); ok {
		s.step(func(t *client.Txn) { t.IfAbsent(key) })
		return nil
	}
	if key, ok := strings.CutSuffix(text, "!"); ok {
		s.step(func(t *client.Txn) { t.IfExists(key) })
		return nil
	}
	key, version, err := numbered(text)
	if err != nil {
		return fmt.Errorf("want KEY=VALUE, KEY@VERSION, KEY! or !KEY: %w", err)
	}
	s.step(func(t *client.Txn) { t.IfVersion(key, api.Version(version)) })
	return nil
}

func (s *shortTxn) lock(text string) error {
	name, token, err := numbered(text)
	if err != nil {
		return fmt.Errorf("want NAME@TOKEN: %w", err)
	}
	s.step(func(t *client.Txn) { t.IfLock(name, api.FencingToken(token)) })
	return nil
}

// numbered reads NAME@NUMBER.
func numbered(text string) (name string, n uint64, err error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", 0, errors.New("no @ in it")
	}
	n, err = strconv.ParseUint(text[at+1:], 10, 64)
	if err != nil || n > uint64(api.MaxVersion) {
		return "", 0, fmt.Errorf("%q is no number under 2^53", text[at+1:])
	}
	return text[:at], n, nil
}

func (s *shortTxn) onKey(op func(t *client.Txn, key string) *client.Txn) func(string) error {
	return func(key string) error {
		s.step(func(t *client.Txn) { op(t, key) })
		return nil
	}
}

func (s *shortTxn) put(op func(*client.Txn, string, []byte, ...client.Lifetime) *client.Txn) func(string) error {
	return func(text string) error {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want KEY=VALUE")
		}
		s.steps = append(s.steps, shortStep{put: true, add: func(t *client.Txn, life []client.Lifetime) {
			op(t, key, []byte(value), life...)
		}})
		return nil
	}
}

func (s *shortTxn) sum(op func(*client.Txn, string, int64, ...client.Bound) *client.Txn) func(string) error {
	return func(text string) error {
		key, terms, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want KEY=BY[,min=N][,max=N]")
		}
		first, rest, _ := strings.Cut(terms, ",")
		by, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no number in 64 bits", first)
		}
		bounds, err := parseBounds(rest)
		if err != nil {
			return err
		}
		s.step(func(t *client.Txn) { op(t, key, by, bounds...) })
		return nil
	}
}

// parseBounds reads min=N and max=N, separated by a comma, or nothing.
func parseBounds(text string) ([]client.Bound, error) {
	if text == "" {
		return nil, nil
	}
	var bounds []client.Bound
	for part := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(part, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil:
			return nil, fmt.Errorf("bound %q: want min=N or max=N", part)
		case name == "min":
			bounds = append(bounds, client.AtLeast(n))
		case name == "max":
			bounds = append(bounds, client.AtMost(n))
		default:
			return nil, fmt.Errorf("bound %q: want min=N or max=N", part)
		}
	}
	return bounds, nil
}

func (s *shortTxn) ttl(text string) error {
	ttl, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if ttl < api.MinTTL || ttl > api.MaxTTL {
		return fmt.Errorf("want %v to %v", api.MinTTL, api.MaxTTL)
	}
	return s.lifetime(client.TTL(ttl))
}

func (s *shortTxn) keepTTL(text string) error {
	if text != "true" {
		return errors.New("it takes no value")
	}
	return s.lifetime(client.KeepTTL())
}

// lifetime gives the last step l.
func (s *shortTxn) lifetime(l client.Lifetime) error {
	if len(s.steps) == 0 || !s.steps[len(s.steps)-1].put {
		return errors.New("it must follow the put that it is for")
	}
	last := &s.steps[len(s.steps)-1]
	if len(last.life) > 0 {
		return errors.New("the put before it has a time to live already")
	}
	last.life = []client.Lifetime{l}
	return nil
}
