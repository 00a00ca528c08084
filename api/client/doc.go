// Package client is the Go SDK of ringkv: it sends requests for keys to a cluster through any of its nodes.
//
//	c, err := client.New(client.Config{Nodes: []string{"127.0.0.1:8081", "127.0.0.1:8082"}})
//	defer c.Close()
//	res, err := c.Put(ctx, "greeting", []byte("hello"), client.IfAbsent())
//	item, err := c.Get(ctx, "greeting")
//
// It owns the connections to the nodes, what it has learned of the ring (so that a request goes straight to the
// leader of its key's partition), and the decision whether a request may be sent again. It must not import a server.
//
// Keys are strings that may hold any bytes; values are byte slices that the caller owns before and after the call.
//
// # What is retried
//
// Reads are sent again, to another node where there is one, after every failure that may pass. A write is sent again
// only when it is certain that it was not and will not be done: no byte of it left this process, or the answer says
// that it was aborted and may be repeated. In every other case the error matches ErrUnknownOutcome, and the write may
// have been done, or may be done later.
//
// An unconditional Put or Delete whose outcome is unknown is not repeated either, although it looks idempotent: the
// first copy may be done after the second one and after some third party's write in between, and undo that. A caller
// that knows itself to be the only writer of the key may simply call again. All others read the key first and then
// write with IfMatch: a conditional write fails harmlessly if its first copy was done after all.
//
// # Transactions
//
// Transact carries out a transaction that is put together beforehand (NewTxn): conditions and operations on any keys, all
// or nothing. Txn runs a function that reads and writes, and commits what it wrote if what it read still holds. Update
// changes one key by what it holds. Transactions follow the same rules for repeating; where their outcome is unknown,
// the cluster can be asked (TxnStatus, which Transact and Txn do themselves), and with ExactlyOnce it is not left unknown
// while any majority lives. A value written by a transaction has the content type application/octet-stream.
//
// # Locks
//
// Lock waits for a lock and renews it; Lost tells that it may be somebody else's now. That is enough to keep work from
// being done twice. Where a late write would do harm, the store itself has to refuse it: transactions with IfLock and the
// lock's Token do nothing once the lock is lost. Where the data are all that is to be protected, Update and Txn need no lock.
//
// # Watches
//
// Watch tells what changes under a prefix, in order for each key, nothing twice and nothing left out. When a node fails or
// stops the Watcher goes on at another one by itself. A cursor outlives the process: WatchFrom goes on behind it, as long as
// nodes remember the changes since; ErrCursorTooOld says that they do not.
//
// # Errors
//
// Every failed call returns an *Error, which wraps the sentinels of package api (the common ones are repeated here)
// and, where a node answered, its *api.Problem.
package client
