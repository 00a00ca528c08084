// Package api holds what travels between a ringkv node and its clients over HTTP: the JSON types, the problem codes
// with the sentinels that they decode into, the names of paths and headers, and the limits of version 1.
//
// It must not import a server, a router or storage, so that a client stays small. What it guarantees: a wire code or a
// JSON field, once released, keeps its meaning (both are append-only), and an error that a node sends decodes on the
// client into the same sentinel that the node matched with errors.Is.
package api
