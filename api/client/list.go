package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"

	"github.com/ringkv/ringkv/api"
)

// ListOptions selects what List gives. The zero value selects every key.
type ListOptions struct {
	Prefix   string // only keys that begin with it
	Start    string // only keys from here on, inclusive; "" for no bound
	End      string // only keys before this one; "" for no bound
	Limit    int    // at most so many items; 0 for no bound
	PageSize int    // items asked for at a time, 1 to 1000; default 500
	KeysOnly bool   // leave out values
}

// List gives the selected items in byte order of their keys, over all partitions. It fetches page by page: every write
// acknowledged before a page is asked for is seen by it, and the whole is not one snapshot. After an error, which is
// the last element, the listing can be taken up again with Start set behind the last key. Errors: *Error.
func (c *Client) List(ctx context.Context, opts ListOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		left, cursor := opts.Limit, ""
		for {
			var page api.ListPage
			target := opts.target(left, cursor)
			if err := c.getJSON(ctx, "list", "", target, &page); err != nil {
				yield(Item{}, err)
				return
			}
			for i := range page.Items {
				if !yield(listed(&page.Items[i]), nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			if cursor = page.NextCursor; cursor == "" {
				return
			}
		}
	}
}

// listed converts an item of a page.
func listed(it *api.Item) Item {
	return Item{Key: string(it.Key), Value: it.Value, Version: it.Version, TTL: it.TTL}
}

// target is the request for the page at cursor. left is how many items are still wanted, not positive for all.
func (o *ListOptions) target(left int, cursor string) string {
	size := o.PageSize
	if size == 0 {
		size = 500
	}
	if left > 0 {
		size = min(size, left)
	}
	query := url.Values{api.QueryLimit: {strconv.Itoa(size)}}
	if cursor != "" {
		query.Set(api.QueryCursor, cursor)
		return api.PathKV + "?" + query.Encode()
	}
	for name, value := range map[string]string{
		api.QueryPrefix: o.Prefix, api.QueryStart: o.Start, api.QueryEnd: o.End,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if o.KeysOnly {
		query.Set(api.QueryKeysOnly, "true")
	}
	return api.PathKV + "?" + query.Encode()
}
