package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ringkv/ringkv/api"
)

// Cluster returns the members and the shape of the cluster, as one node knows them. Errors: *Error.
func (c *Client) Cluster(ctx context.Context) (api.Cluster, error) {
	var v api.Cluster
	return v, c.getJSON(ctx, "cluster", "", api.PathCluster, &v)
}

// Ring returns where every partition lives, as one node knows it. Errors: *Error.
func (c *Client) Ring(ctx context.Context) (api.Ring, error) {
	var v api.Ring
	return v, c.getJSON(ctx, "ring", "", api.PathRing, &v)
}

// Locate returns where key lives. Errors: *Error.
func (c *Client) Locate(ctx context.Context, key string) (api.Location, error) {
	var v api.Location
	if err := checkKey(key); err != nil {
		return v, &Error{Op: "locate", Key: key, Err: err}
	}
	query := url.Values{api.QueryKey: {key}}
	return v, c.getJSON(ctx, "locate", key, api.PathRingLocate+"?"+query.Encode(), &v)
}

// getJSON gets target and decodes it into v.
func (c *Client) getJSON(ctx context.Context, op, key, target string, v any) error {
	cl := &call{op: op, key: key, near: key, req: request{method: http.MethodGet, target: target}}
	resp, err := c.do(ctx, cl)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(resp.body, v); err != nil {
		return &Error{Op: op, Key: key, Err: fmt.Errorf("%w: %w", errMalformed, err)}
	}
	return nil
}
