package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever bit flips in a node's identity, the node does not take itself for another.
func TestIdentityRots(t *testing.T) {
	dir := t.TempDir()
	want := identity{UUID: "0f0e1d2c-3b4a-4596-8778-695a4b3c2d1e", Name: "n1", ClusterID: "9a8b7c6d-5e4f-4031-a213-041526374859", Node: 17}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := loadIdentity(dir, "n1"); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	refused := 0
	for i := range whole {
		for bit := range 8 {
			b := append([]byte(nil), whole...)
			b[i] ^= 1 << bit
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := loadIdentity(dir, "")
			switch {
			case err == nil && got != want:
				t.Errorf("byte %d bit %d: became %+v", i, bit, got)
			case err != nil && !strings.Contains(err.Error(), "node.json is damaged"):
				t.Errorf("byte %d bit %d: %v", i, bit, err)
			case err != nil:
				refused++
			}
		}
	}
	if refused < len(whole)*6 {
		t.Errorf("only %d of %d flips were refused", refused, 8*len(whole))
	}
}

// An identity without a checksum is none.
func TestIdentityWithoutChecksum(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"uuid":"u","name":"n1","node":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := loadIdentity(dir, "n1"); err == nil {
		t.Errorf("taken for %+v", id)
	}
}
