package enginetest

import "testing"

// testCreate: what was created and removed is gone for good, also where an older cell with its key went just before.
func testCreate(t *testing.T, f Fixture) {
	e := open(t, f)
	write(t, e, "ka", "old", "kb", "old")
	check(t, "sync", e.Sync())
	b := e.Batch()
	check(t, "delete", b.Delete([]byte("ka")))
	check(t, "create what was deleted", b.Create([]byte("ka"), []byte("new")))
	check(t, "create", b.Create([]byte("kc"), []byte("new")))
	expect(t, "batch", contents(t, b, []byte("ka"), nil), "ka=new kb=old kc=new")
	check(t, "delete", b.Delete([]byte("kb")))
	check(t, "commit", b.Commit())
	b = e.Batch()
	check(t, "create what a commit deleted", b.Create([]byte("kb"), []byte("new")))
	for _, k := range []string{"ka", "kb", "kc"} {
		check(t, "delete", b.Delete([]byte(k)))
	}
	check(t, "commit", b.Commit())
	v := e.View()
	expect(t, "committed", contents(t, v, []byte("ka"), nil), "")
	v.Close()
	check(t, "sync", e.Sync())
	check(t, "power cut", f.PowerCut(e))
	e = open(t, f)
	defer e.Close()
	v = e.View()
	defer v.Close()
	expect(t, "after a power cut", contents(t, v, []byte("ka"), nil), "")
}
