package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/ringkv/ringkv/ring"
)

// identity is who a node is, in the file node.json of its data directory. It is written before anything else, as
// "forming", and once more when the node belongs to a cluster: what lies beside a forming identity is unfinished and
// holds nothing of value; what lies beside no identity at all is not ours to touch.
type identity struct {
	UUID      string      `json:"uuid"`
	Name      string      `json:"name"`
	ClusterID string      `json:"cluster_id,omitempty"`
	Node      ring.NodeID `json:"node,omitempty"`
}

// storedIdentity is the file's form: an identity and its checksum, for a number that rots would be another node's.
type storedIdentity struct {
	identity
	Sum string `json:"crc32c"` // of the identity in compact JSON, in hex
}

// sum is the checksum of an identity.
func (id identity) sum() (string, error) {
	b, err := json.Marshal(id)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), nil
}

func (id identity) member() bool { return id.Node != 0 }

const identityFile = "node.json"

// The parts of a data directory.
func logDir(dir string) string   { return filepath.Join(dir, "log") }
func dataDir(dir string) string  { return filepath.Join(dir, "data") }
func spoolDir(dir string) string { return filepath.Join(dir, "snap") }

// loadIdentity reads a data directory's identity or gives an empty directory one.
func loadIdentity(dir, name string) (identity, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return identity{}, fmt.Errorf("create data directory: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	switch {
	case err == nil:
		return parseIdentity(dir, name, b)
	case !errors.Is(err, fs.ErrNotExist):
		return identity{}, fmt.Errorf("read node identity: %w", err)
	}
	for _, d := range []string{logDir(dir), dataDir(dir)} {
		if _, err := os.Stat(d); err == nil {
			return identity{}, fmt.Errorf("%s has no %s but a directory %s: restore the file, or empty the directory to start as a new node", dir, identityFile, filepath.Base(d))
		}
	}
	id := identity{UUID: uuid.NewString(), Name: name}
	return id, id.save(dir)
}

func parseIdentity(dir, name string, b []byte) (identity, error) {
	id, err := decodeIdentity(b)
	if err != nil {
		return identity{}, fmt.Errorf("%s is damaged (%w): empty %s to start as a new node; its replicas are refilled from the others", filepath.Join(dir, identityFile), err, dir)
	}
	if name != "" && id.member() && id.Name != name {
		return identity{}, fmt.Errorf("data directory %s belongs to node %q, not %q: use --name %s, or another --data-dir", dir, id.Name, name, id.Name)
	}
	if !id.member() {
		id.Name = name
	}
	return id, nil
}

func decodeIdentity(b []byte) (identity, error) {
	var stored storedIdentity
	if err := json.Unmarshal(b, &stored); err != nil {
		return identity{}, err
	}
	sum, err := stored.sum()
	if err == nil && (sum != stored.Sum || stored.UUID == "") {
		err = errors.New("checksum")
	}
	return stored.identity, err
}

// save replaces the identity file; it is durable when save returns.
func (id identity) save(dir string) error {
	sum, err := id.sum()
	if err != nil {
		return fmt.Errorf("encode node identity: %w", err)
	}
	b, err := json.MarshalIndent(storedIdentity{id, sum}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode node identity: %w", err)
	}
	if err := writeFileSync(filepath.Join(dir, identityFile), append(b, '\n')); err != nil {
		return fmt.Errorf("write node identity: %w", err)
	}
	return nil
}

// writeFileSync replaces a file so that a crash leaves the old or the new content.
func writeFileSync(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// clearStorage removes what a node that never became a member may have left.
func clearStorage(dir string) error {
	for _, d := range []string{logDir(dir), dataDir(dir), spoolDir(dir), changesDir(dir)} {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("clear unfinished storage: %w", err)
		}
	}
	return nil
}
