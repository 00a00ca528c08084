package badgerdb_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/enginetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		childMain(dir)
	}
	if err := flag.Set("rapid.checks", "5"); err != nil { // opening Badger takes a while
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func config(dir string) badgerdb.Config { return badgerdb.Config{Dir: dir} }

// fixture is a directory; a crash is a copy of it, taken while it is open: what a kill leaves, as the kernel has it.
type fixture struct {
	t       *testing.T
	root    string
	crashes int
	durable map[string][]byte // the log files when they were last synced
	rng     *rand.Rand
}

func newFixture(t *testing.T) *fixture {
	return &fixture{t: t, root: t.TempDir(), rng: rand.New(rand.NewPCG(7, 8))}
}

func (f *fixture) dir() string { return filepath.Join(f.root, fmt.Sprint(f.crashes)) }

func (f *fixture) Open() (storage.Engine, error) {
	e, err := badgerdb.Open(config(f.dir()))
	if err != nil {
		return nil, err
	}
	return &watched{e, f}, f.remember()
}

func (f *fixture) Crash(e storage.Engine) error {
	from := f.dir()
	f.crashes++
	if err := copyDir(from, f.dir()); err != nil {
		return err
	}
	return e.Close()
}

func (f *fixture) Remove() { _ = os.RemoveAll(f.root) }

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Fixture { return newFixture(t) })
}
