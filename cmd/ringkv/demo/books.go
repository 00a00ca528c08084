package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// books are all keys of a run with their values.
type books map[string][]byte

// number returns the number under key, 0 if it is absent. Errors: a value that is none.
func (b books) number(key string) (int64, error) {
	value, ok := b[key]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %q", key, value)
	}
	return n, nil
}

// under returns the keys that begin with prefix, in order.
func (b books) under(prefix string) []string {
	var keys []string
	for key := range b {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// errMoved is returned where the books changed while they were read.
var errMoved = errors.New("the books change while they are read")

// readBooks reads all keys under prefix as of one moment, and says how.
//
// Up to a page of keys is one read-only transaction. More are several; when all have been read, all versions are demanded
// again, and the listing must name the same keys: so at the moment between, every key had the value that was read. If
// something had changed, it begins again, until ctx ends.
func readBooks(ctx context.Context, c *client.Client, prefix string) (books, string, error) {
	for {
		b, how, err := readOnce(ctx, c, prefix)
		if !errors.Is(err, errMoved) || ctx.Err() != nil {
			return b, how, err
		}
	}
}

func readOnce(ctx context.Context, c *client.Client, prefix string) (books, string, error) {
	keys, err := list(ctx, c, prefix)
	if err != nil {
		return nil, "", err
	}
	b, versions := make(books, len(keys)), make(map[string]api.Version, len(keys))
	pages := 0
	for part := range slices.Chunk(keys, page) {
		pages++
		t := client.NewTxn()
		for _, key := range part {
			t.Get(key)
		}
		r, err := c.Transact(ctx, t)
		if err != nil {
			return nil, "", err
		}
		for _, op := range r.Results {
			if op.Exists {
				b[op.Key], versions[op.Key] = op.Value, op.Version
			}
		}
	}
	if err := unchanged(ctx, c, prefix, keys, versions, pages); err != nil {
		return nil, "", err
	}
	if pages <= 1 {
		return b, "one read-only transaction", nil
	}
	return b, fmt.Sprintf("%d read-only transactions, all demanded again after the last", pages), nil
}

// unchanged makes sure that the keys under prefix are still those, at these versions. Errors: errMoved; the client's.
func unchanged(
	ctx context.Context, c *client.Client, prefix string, keys []string, versions map[string]api.Version, pages int,
) error {
	again, err := list(ctx, c, prefix)
	switch {
	case err != nil:
		return err
	case !slices.Equal(keys, again) || len(versions) != len(keys):
		return errMoved
	case pages <= 1:
		return nil
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(versions)), page) {
		t := client.NewTxn()
		for _, key := range part {
			t.IfVersion(key, versions[key])
		}
		_, err := c.Transact(ctx, t)
		if errors.Is(err, client.ErrConditionFailed) {
			return errMoved
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func list(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
	var keys []string
	for item, err := range c.List(ctx, client.ListOptions{Prefix: prefix, KeysOnly: true, PageSize: api.MaxListLimit}) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, item.Key)
	}
	return keys, nil
}
