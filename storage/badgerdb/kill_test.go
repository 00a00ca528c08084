package badgerdb_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/ringkv/ringkv/storage/badgerdb"
)

// childDir is the variable that makes the test binary a process that commits to the directory it names until killed.
const childDir = "RINGKV_TEST_BADGERDB_CHILD"

// childFlushes is the variable that, if it is set, makes that process flush every few commits.
const childFlushes = "RINGKV_TEST_BADGERDB_FLUSH"

// childMain commits numbers from where the directory ends, several keys each, and prints each one that was committed.
func childMain(dir string) {
	e, err := badgerdb.Open(config(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for n := lastNumber(e) + 1; ; n++ {
		b := e.Batch()
		for _, prefix := range []string{"first", "second", "third"} {
			if err := b.Set(numbered(prefix, n), numbered("value", n)); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
		}
		if err := b.Commit(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(n)
		if os.Getenv(childFlushes) != "" && n%4 == 0 {
			if err := e.Flush(); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
		}
	}
}

// lastNumber is how many numbers a child committed.
func lastNumber(e *badgerdb.Engine) uint64 {
	v := e.View()
	defer v.Close()
	var n uint64
	err := v.Scan([]byte("first"), []byte("firsu"), true, func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	return n
}

func numbered(prefix string, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), n)
}

// TestKill kills a writing process again and again: every commit that it reported is there, whole, and at most one
// more than it reported.
func TestKill(t *testing.T) { killAgain(t, 6, 60) }

// TestKillWhileFlushing does so with a process that begins a new log after every few commits.
func TestKillWhileFlushing(t *testing.T) {
	t.Setenv(childFlushes, "1")
	killAgain(t, 12, 16)
}

func killAgain(t *testing.T, times, most int) {
	t.Helper()
	dir := t.TempDir()
	var reported uint64
	for range times {
		reported = max(reported, runAndKill(t, dir, 1+rand.IntN(most)))
		found := committed(t, dir)
		if found < reported {
			t.Fatalf("%d commits were reported, %d are there", reported, found)
		}
		if found > reported+1 {
			t.Fatalf("%d commits are there, only %d were reported", found, reported)
		}
		reported = found
	}
}

// runAndKill lets a child commit until it has printed that many numbers, kills it, and returns the last it printed.
func runAndKill(t *testing.T, dir string, lines int) uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		n, err := strconv.ParseUint(scanner.Text(), 10, 64)
		if err != nil {
			t.Errorf("child: %s", scanner.Text())
			break
		}
		last = n
		if lines--; lines == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // killed: an error by intent
	return last
}

// committed opens the directory and returns its last commit, having seen that all of them are whole.
func committed(t *testing.T, dir string) uint64 {
	t.Helper()
	e, err := badgerdb.Open(config(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v := e.View()
	defer v.Close()
	last := lastNumber(e)
	for n := uint64(1); n <= last; n++ {
		for _, prefix := range []string{"first", "second", "third"} {
			value, err := v.Get(numbered(prefix, n))
			if err != nil || string(value) != string(numbered("value", n)) {
				t.Fatalf("commit %d: key %s: %q, %v", n, prefix, value, err)
			}
		}
	}
	return last
}
