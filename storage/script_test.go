package storage_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/storage"
)

// TestScripts runs the scenarios of testdata. Commands: put, delete, expire and purge (with clock=…), noop, conf, get, read
// (as a read-only transaction does), scan, meta, expired (and how far the horizon is), next, reopen, move, each on one
// partition that the file shares.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		r := newReplica(t, 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r.t = t
			return runLine(t, r, d)
		})
		r.verify()
	})
}

func runLine(t *testing.T, r *replica, d *datadriven.TestData) string {
	switch d.Cmd {
	case "put", "delete", "expire", "purge":
		return renderTxnResult(r.apply(parseCommand(t, d)))
	case "noop":
		return renderResult(r.applyEntry(nil))
	case "entry":
		return renderResult(r.applyEntry([]byte(d.Input)))
	case "get":
		it, err := r.get(arg(d, "key"))
		if errors.Is(err, storage.ErrNotFound) {
			return "absent\n"
		}
		r.must(err)
		return render([]storage.Item{it})
	case "scan":
		return runScan(t, r, d)
	case "read":
		set := r.readPart(&storage.Prepare{Then: []storage.TxnOp{{Kind: storage.OpGet, Key: []byte(arg(d, "key"))}}})
		return fmt.Sprintf("version=%d last-removal=%d\n", set.Items[0].Version, set.LastRemoval)
	case "expired":
		m := r.p.Meta()
		return fmt.Sprintf("horizon=%d %q, %d keys of %d bytes to purge\n", m.Horizon.At, m.Horizon.Key, m.Expired, m.ExpiredBytes)
	case "move":
		b := r.snapshot()
		*r = *newReplica(t, r.id)
		r.must(r.install(b))
		return ""
	case "meta":
		m := r.p.Meta()
		return fmt.Sprintf("applied=%d term=%d conf=%q revision=%d last-removal=%d clock=%d keys=%d bytes=%d\n",
			m.Applied, m.AppliedTerm, m.Conf, m.Revision, m.LastRemoval, m.Clock, m.Keys, m.Bytes)
	case "next":
		if at, ok := r.p.NextDeadline(); ok {
			return fmt.Sprintln(at)
		}
		return "never\n"
	case "conf":
		return runConf(t, r, d)
	case "reopen":
		r.open()
		return ""
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return ""
}

func runScan(t *testing.T, r *replica, d *datadriven.TestData) string {
	o := storage.ScanOptions{
		Start: []byte(arg(d, "start")), Limit: number(t, d, "limit"), MaxBytes: number(t, d, "max-bytes"), KeysOnly: d.HasArg("keys-only"),
	}
	if d.HasArg("end") {
		o.End = []byte(arg(d, "end"))
	}
	items, more := r.scan(o)
	return fmt.Sprintf("%smore=%v\n", render(items), more)
}

func runConf(t *testing.T, r *replica, d *datadriven.TestData) string {
	err := r.p.SetConf(uint64(number(t, d, "index")), uint64(number(t, d, "term")), []byte(arg(d, "conf")))
	if err != nil {
		return err.Error() + "\n"
	}
	b := r.e.Batch()
	defer b.Discard()
	r.must(r.p.Flush(b))
	r.must(b.Commit())
	return ""
}

var plainKinds = map[string]storage.Kind{
	"put": storage.KindPut, "delete": storage.KindDelete, "expire": storage.KindExpire, "purge": storage.KindPurge,
}

func parseCommand(t *testing.T, d *datadriven.TestData) *storage.Command {
	c := &storage.Command{
		Kind:        plainKinds[d.Cmd],
		Clock:       storage.Millis(number(t, d, "clock")),
		Key:         []byte(arg(d, "key")),
		Value:       []byte(arg(d, "value")),
		ContentType: arg(d, "type"),
		TTL:         storage.Millis(number(t, d, "ttl")),
		KeepTTL:     d.HasArg("keepttl"),
		Limit:       uint32(number(t, d, "limit")),
	}
	c.Cond.IfMatch, c.Cond.IfMatchAny = parseTags(t, d, "if-match")
	c.Cond.IfNoneMatch, c.Cond.IfNoneMatchAny = parseTags(t, d, "if-none-match")
	return c
}

// parseTags reads name=*, name=3 or name=(3,4).
func parseTags(t *testing.T, d *datadriven.TestData, name string) (vs []storage.Version, wild bool) {
	for _, a := range d.CmdArgs {
		if a.Key != name {
			continue
		}
		vs = []storage.Version{}
		for _, v := range a.Vals {
			if v == "*" {
				return nil, true
			}
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			vs = append(vs, storage.Version(n))
		}
	}
	return vs, false
}

func arg(d *datadriven.TestData, name string) string {
	for _, a := range d.CmdArgs {
		if a.Key == name {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

func number(t *testing.T, d *datadriven.TestData, name string) int {
	s := arg(d, name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func renderResult(r storage.Result) string {
	return fmt.Sprintf("%v version=%d count=%d\n", r.Status, r.Version, r.Count)
}
