package cluster

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// spools keeps received snapshots until they are installed.
type spools struct {
	dir  string
	disk *disk
	next atomic.Uint64
}

// spool is one received snapshot's file.
type spool struct{ path string }

func (s spool) Name() string                 { return filepath.Base(s.path) }
func (s spool) Open() (io.ReadCloser, error) { return os.Open(s.path) }

// Remove deletes the file; one that stays costs only space until the next start.
func (s spool) Remove() { _ = os.Remove(s.path) }

func (s *spools) open(name string) (worker.Spool, error) {
	sp := spool{filepath.Join(s.dir, filepath.Base(name))}
	if _, err := sp.verify(); err != nil {
		return nil, err
	}
	return sp, nil
}

// verify reads the whole spool and returns the bookkeeping of the state in it.
func (s spool) verify() (storage.Meta, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return storage.Meta{}, err
	}
	defer f.Close()
	return storage.VerifySnapshot(bufio.NewReaderSize(f, 256<<10))
}

// clear removes what a node that was killed left of snapshots that it was receiving.
func (s *spools) clear() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("clear snapshot directory: %w", err)
	}
	for _, f := range files {
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			return fmt.Errorf("clear snapshot directory: %w", err)
		}
	}
	return nil
}

// spaceReader reads as long as the disk has room for what is read.
type spaceReader struct {
	io.Reader
	disk *disk
	most worker.Space // the disk may be as full as that
}

func (r spaceReader) Read(p []byte) (int, error) {
	if r.disk.space() > r.most {
		return 0, ErrDiskFull
	}
	return r.Reader.Read(p)
}

// receive stores a stream as a spool: complete, verified, durable.
func (s *spools) receive(p ring.PartitionID, r io.Reader) (spool, error) {
	sp := spool{filepath.Join(s.dir, fmt.Sprintf("%d-%d-%d.snap", p, time.Now().UnixNano(), s.next.Add(1)))}
	f, err := os.Create(sp.path)
	if err != nil {
		return spool{}, err
	}
	most := worker.Roomy
	if p == storage.MetaPartition {
		most = worker.Tight
	}
	_, err = io.Copy(f, spaceReader{r, s.disk, most})
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		_, err = sp.verify()
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		sp.Remove()
		return spool{}, err
	}
	return sp, nil
}

const (
	snapshotPath     = "/peer/v1/snapshot/"
	snapshotMessage  = "Ringkv-Raft-Message"
	snapshotCluster  = "Ringkv-Cluster"
	snapshotDeadline = 10 * time.Minute
	maxSnapshots     = 4 // received at the same time
)

// sendSnapshot streams a replica's state to a node in the background and tells the worker how it ended.
func (n *Node) sendSnapshot(s worker.Snapshot) {
	to := replica.ID(s.Message.GetTo())
	n.tasks.Go(func() {
		body, scanned := n.scan(s)
		err := n.postSnapshot(s, to, body)
		_ = body.Close()
		<-scanned
		if err != nil && n.ctx.Err() == nil {
			n.logger.Warn("send snapshot", "partition", s.Group, "to", to.Node(), "err", err)
		}
		n.loop.do(func(w *worker.Worker) { w.SnapshotSent(s.Group, to, err == nil) })
	})
}

// scan reads a snapshot's data from its view, as fast as the returned reader is read. Whoever gives up closes the reader;
// the view is closed, and scanned with it, once nobody reads it any more.
func (n *Node) scan(s worker.Snapshot) (body *io.PipeReader, scanned <-chan struct{}) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	n.tasks.Go(func() {
		defer close(done)
		defer s.View.Close()
		w := bufio.NewWriterSize(pw, 256<<10)
		err := storage.WriteSnapshot(s.View, s.Group, w)
		pw.CloseWithError(errors.Join(err, w.Flush()))
	})
	return pr, done
}

func (n *Node) postSnapshot(s worker.Snapshot, to replica.ID, body io.Reader) error {
	state := n.routes.state.Load()
	if state == nil {
		return ErrNotMember
	}
	m, ok := state.Node(to.Node())
	if !ok {
		return fmt.Errorf("node %d is no member", to.Node())
	}
	msg, err := proto.Marshal(s.Message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	ctx, cancel := context.WithTimeout(n.ctx, snapshotDeadline)
	defer cancel()
	url := "http://" + m.Peer + snapshotPath + strconv.Itoa(int(s.Group))
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, io.NopCloser(body))
	if err != nil {
		return err
	}
	req.Header.Set(snapshotMessage, base64.StdEncoding.EncodeToString(msg))
	req.Header.Set(snapshotCluster, n.identity.Load().ClusterID)
	resp, err := n.peers.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("%s: %s", resp.Status, reason)
	}
	return nil
}

// handleSnapshots receives snapshots on the peer port.
func (n *Node) handleSnapshots() {
	n.peers.Handle("GET "+snapshotPath+"{group}", http.HandlerFunc(n.serveState))
	slots := make(chan struct{}, maxSnapshots)
	n.peers.Handle("PUT "+snapshotPath+"{group}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-r.Context().Done():
			return
		}
		if code, err := n.receiveSnapshot(r); err != nil {
			http.Error(w, err.Error(), code)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}

func (n *Node) receiveSnapshot(r *http.Request) (int, error) {
	if !n.isMember() || r.Header.Get(snapshotCluster) != n.identity.Load().ClusterID {
		return http.StatusConflict, errors.New("not a member of this cluster")
	}
	group, err := strconv.ParseUint(r.PathValue("group"), 10, 16)
	if err != nil {
		return http.StatusBadRequest, err
	}
	b, err := base64.StdEncoding.DecodeString(r.Header.Get(snapshotMessage))
	if err != nil {
		return http.StatusBadRequest, err
	}
	msg := &raftpb.Message{}
	if err := proto.Unmarshal(b, msg); err != nil || msg.GetType() != raftpb.MsgSnap {
		return http.StatusBadRequest, fmt.Errorf("no snapshot message: %w", err)
	}
	sp, err := n.spools.receive(ring.PartitionID(group), r.Body)
	if errors.Is(err, ErrDiskFull) {
		return http.StatusInsufficientStorage, err
	}
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("store snapshot: %w", err)
	}
	if !n.loop.do(func(w *worker.Worker) { w.DeliverSnapshot(ring.PartitionID(group), msg, sp) }) {
		sp.Remove()
		return http.StatusServiceUnavailable, ErrClosed
	}
	return 0, nil
}
