// Package server is the HTTP face of a node: it decodes requests of the version 1 contract, asks a Store, and encodes
// answers and problems. It is the only importer of echo and of the Prometheus client.
//
// It must not know about rings, replicas or transports: all of that is behind Store. What it guarantees: a key reaches
// the Store byte for byte as it was escaped in the path; a write reaches the Store only after its whole body arrived;
// every error is a problem document that tells "nothing happened" from "not known"; memory per request is bounded; and
// Shutdown returns after the last connection's goroutine.
package server
