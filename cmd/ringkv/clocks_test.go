package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// timeless are the packages that are told what time it is, as a duration since their node started. Deadlines of keys and
// locks are set and judged in storage and cluster/worker.
var timeless = []string{"ring", "storage", "storage/memdb", "cluster/replica", "cluster/meta", "cluster/worker", "cluster/worker/waitline", "txn"}

// wallClocks are the files that may take a number from a wall clock, and what for: nothing that is safe or not by it.
var wallClocks = map[string]string{
	"cluster/spool.go":             "a file's name",
	"txn/service/coordinate.go":    "the age of a transaction: who waits for whom",
	"api/server/collector.go":      "a metric",
	"api/client/endpoint.go":       "which node is asked first",
	"api/client/transport_lean.go": "a deadline that is over",
	"cmd/ringkv/bench_lock.go":     "a measurement within one process",
}

// TestNoWallClockDecides: a clock that is set an hour ahead or back can only matter to what reads it. Go's time.Now carries the
// monotonic clock along, which Sub, Since, Until and Add go by; the wall clock comes in where a number is made of a time.
func TestNoWallClockDecides(t *testing.T) {
	readers := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	numbers := []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano"}
	used := make(map[string]bool)
	eachSource(t, func(file string, src *ast.File) {
		core := slices.Contains(timeless, filepath.ToSlash(filepath.Dir(file)))
		ast.Inspect(src, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if core && pkg != nil && pkg.Name == "time" && slices.Contains(readers, sel.Sel.Name) {
				t.Errorf("%s uses time.%s: it is to be told the time", file, sel.Sel.Name)
			}
			if slices.Contains(numbers, sel.Sel.Name) {
				used[file] = true
				if wallClocks[file] == "" {
					t.Errorf("%s uses %s, which is of the wall clock", file, sel.Sel.Name)
				}
			}
			return true
		})
	})
	for file := range wallClocks {
		if !used[file] {
			t.Errorf("%s takes nothing from a wall clock any more", file)
		}
	}
}

// eachSource visits all files but tests, and the simulation, whose time is its own.
func eachSource(t *testing.T, visit func(file string, src *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil || strings.HasPrefix(filepath.ToSlash(file), "cluster/sim/") {
			return err
		}
		src, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			visit(filepath.ToSlash(file), src)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
