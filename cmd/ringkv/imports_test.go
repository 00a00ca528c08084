package main_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module   = "github.com/ringkv/ringkv"
	thisFile = "cmd/ringkv/imports_test.go"
)

// layer is one package and what it may import of ours. Test files may import what their package may, and tests.
type layer struct {
	pkg   string
	deps  []string // our packages that any of its files may import
	tests []string // more of our packages, for its _test.go files only
}

// layers lists every package from the bottom up: a package may only import packages that stand above it in this list.
// That is what "imports go downward only" means here, and it is tested below. Change it on purpose: a new edge is a
// decision about the architecture, and belongs in the message of the commit that makes it.
var layers = []layer{
	{pkg: "ring"},

	{pkg: "storage", deps: []string{"ring"}, tests: []string{"storage/memdb", "storage/badgerdb"}},
	{pkg: "storage/enginetest", deps: []string{"ring", "storage"}},
	{pkg: "storage/memdb", deps: []string{"ring", "storage"}, tests: []string{"storage/enginetest"}},
	{pkg: "storage/datasync"},
	{pkg: "storage/badgerdb", deps: []string{"ring", "storage", "storage/datasync"}, tests: []string{"storage/enginetest"}},
	{pkg: "storage/writeback", deps: []string{"ring", "storage"}, tests: []string{"storage/enginetest", "storage/memdb", "storage/badgerdb"}},
	{pkg: "storage/raftlog", deps: []string{"ring", "storage", "storage/datasync"}, tests: []string{"storage/raftlog/memfs"}},
	{pkg: "storage/changelog", deps: []string{"ring", "storage"}, tests: []string{"storage/memdb"}},
	{pkg: "storage/raftlog/memfs", deps: []string{"storage/raftlog"}},

	{pkg: "cluster/wire", deps: []string{"ring", "storage"}},
	{pkg: "cluster/gossip", deps: []string{"ring"}},
	{pkg: "cluster/deadline"},
	{pkg: "cluster/transport", deps: []string{"ring", "cluster/wire", "cluster/deadline"}},
	{
		pkg:   "cluster/replica",
		deps:  []string{"ring", "storage", "storage/raftlog", "cluster/wire"},
		tests: []string{"storage/memdb", "storage/raftlog/memfs"},
	},
	{
		pkg:   "cluster/meta",
		deps:  []string{"ring", "storage", "cluster/wire", "cluster/replica"},
		tests: []string{"storage/memdb"},
	},
	{pkg: "cluster/readindex", deps: []string{"ring", "cluster/replica"}},
	{pkg: "cluster/watch", deps: []string{"ring", "storage"}},
	{pkg: "cluster/worker/waitline", deps: []string{"ring", "storage"}},
	{
		pkg:   "cluster/worker",
		deps:  []string{"ring", "storage", "storage/raftlog", "cluster/wire", "cluster/meta", "cluster/replica", "cluster/readindex", "cluster/worker/waitline"},
		tests: []string{"storage/memdb", "storage/raftlog/memfs"},
	},

	{pkg: "txn", deps: []string{"ring", "storage"}, tests: []string{"storage/memdb", "txn/serial"}},
	{pkg: "txn/serial"}, // judges histories: test support, knows nothing of ours

	{
		pkg: "cluster",
		deps: []string{
			"ring", "storage", "storage/badgerdb", "storage/writeback", "storage/raftlog", "storage/changelog", "cluster/wire",
			"cluster/gossip", "cluster/transport", "cluster/meta", "cluster/replica", "cluster/readindex", "cluster/worker", "cluster/watch",
		},
		tests: []string{"storage/memdb", "storage/raftlog/memfs"},
	},
	{
		pkg:   "txn/service",
		deps:  []string{"ring", "storage", "txn", "cluster"},
		tests: []string{"storage/memdb"},
	},
	{
		pkg: "cluster/sim",
		deps: []string{
			"ring", "storage", "storage/memdb", "storage/writeback", "storage/raftlog", "storage/raftlog/memfs", "cluster/wire",
			"cluster/meta", "cluster/replica", "cluster/readindex", "cluster/worker", "cluster", "txn", "txn/serial",
		},
	},

	{pkg: "api/internal/strictjson"},
	{pkg: "api", deps: []string{"ring", "api/internal/strictjson"}}, // wire types only: a client that imports it pulls in no server
	{pkg: "api/web"},
	{pkg: "api/client", deps: []string{"ring", "api"}, tests: []string{"api/client/clienttest"}},
	{pkg: "api/client/clienttest", deps: []string{"ring", "api"}},
	{
		pkg:   "api/server",
		deps:  []string{"ring", "storage", "cluster/deadline", "cluster/watch", "cluster", "txn", "api", "api/web"},
		tests: []string{"api/client"},
	},

	{pkg: "cmd/ringkv/demo", deps: []string{"api", "api/client"}, tests: []string{"api/client/clienttest"}},
	{
		pkg:   "cmd/ringkv",
		deps:  []string{"ring", "storage", "cluster", "txn", "txn/service", "api", "api/client", "api/server", "cmd/ringkv/demo"},
		tests: []string{"api/client/clienttest"},
	},
	{pkg: "cmd/ringkv/systemtest", tests: []string{"ring", "api", "api/client"}}, // sees a cluster as users do
}

// vendor is a third-party module (or a part of one, by prefix) and the packages that may import it.
type vendor struct {
	prefix    string
	importers []string
}

// replicators are the few packages that speak raft; no others.
var replicators = []string{
	"cluster/wire", "cluster/transport", "cluster/replica", "cluster/worker", "cluster", "cluster/sim",
}

// vendors keeps each third-party system behind one package of ours, so that replacing it touches one package.
var vendors = []vendor{
	{"github.com/dgraph-io/badger/v4", []string{"storage/badgerdb"}},
	{"github.com/google/btree", []string{"storage/memdb"}},
	{"go.etcd.io/raft/v3", replicators},
	{"google.golang.org/protobuf", replicators}, // raft's messages are protobuf's
	{"github.com/hashicorp/memberlist", []string{"cluster/gossip"}},
	{"github.com/labstack/echo/v4", []string{"api/server"}},
	{"github.com/prometheus", []string{"api/server"}},
	{"github.com/cespare/xxhash/v2", []string{"ring"}},
	{"github.com/spf13", []string{"cmd/ringkv"}},
	{"github.com/knadh/koanf", []string{"cmd/ringkv"}},
	{"github.com/HdrHistogram/hdrhistogram-go", []string{"cmd/ringkv", "cmd/ringkv/demo"}},
	{"github.com/google/uuid", []string{"cluster", "cluster/gossip"}},
	{"golang.org/x/sync", []string{"cluster", "cluster/transport", "txn/service", "api/client", "cmd/ringkv"}},
	{"golang.org/x/sys", []string{"storage/raftlog", "storage/badgerdb", "cluster", "cmd/ringkv"}},
}

// testVendors may be imported by any _test.go file, and by the packages named: those are test support themselves.
var testVendors = []vendor{
	{"pgregory.net/rapid", []string{"storage/enginetest", "cluster/sim"}},
	{"github.com/anishathalye/porcupine", []string{"cluster/sim"}},
	{"go.uber.org/goleak", nil},
	{"github.com/cockroachdb/datadriven", nil},
	{"github.com/rogpeppe/go-internal", nil},
	{"go.yaml.in/yaml/v3", nil}, // reads the OpenAPI document
}

func TestImportsGoDownwardOnly(t *testing.T) {
	above := map[string]bool{}
	for _, l := range layers {
		if above[l.pkg] {
			t.Errorf("%s: package %q stands twice in layers", thisFile, l.pkg)
		}
		for _, dep := range l.deps {
			if !above[dep] {
				t.Errorf("%s: %q may import %q, which does not stand above it in layers", thisFile, l.pkg, dep)
			}
		}
		above[l.pkg] = true
	}
}

func TestRulesNameKnownPackages(t *testing.T) {
	check := func(what, pkg string) {
		if findLayer(pkg) == nil {
			t.Errorf("%s: %s names %q, which is not in layers", thisFile, what, pkg)
		}
	}
	for _, l := range layers {
		for _, dep := range l.tests {
			check("tests of "+l.pkg, dep)
		}
	}
	for _, v := range slices.Concat(vendors, testVendors) {
		for _, pkg := range v.importers {
			check("the rule for "+v.prefix, pkg)
		}
	}
}

func TestEveryPackageHasARule(t *testing.T) {
	missing := map[string]bool{}
	for _, file := range repositoryFiles(t) {
		if pkg := path.Dir(file); findLayer(pkg) == nil && !missing[pkg] {
			missing[pkg] = true
			t.Errorf("package %q is not in layers: say there, in %s, what it may import", pkg, thisFile)
		}
	}
}

func TestImportTable(t *testing.T) {
	for _, file := range repositoryFiles(t) {
		if pkg := path.Dir(file); findLayer(pkg) == nil {
			continue // reported by TestEveryPackageHasARule, once
		}
		imports, err := parseImports(filepath.Join("..", "..", file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, imp := range imports {
			if err := checkImport(file, imp); err != nil {
				t.Errorf("%s imports %s: %v (to change the rule on purpose, edit %s)", file, imp, err, thisFile)
			}
		}
	}
}

// TestImportTableRefuses shows that the table can fail, one case for each kind of rule.
func TestImportTableRefuses(t *testing.T) {
	tests := []struct {
		name, file, imp string
		want            error
	}{
		{"standard library", "ring/ring.go", "math/bits", nil},
		{"allowed", "storage/key.go", module + "/ring", nil},
		{"its own system", "storage/badgerdb/db.go", "github.com/dgraph-io/badger/v4/options", nil},
		{"own package from an external test", "ring/ring_test.go", module + "/ring", nil},
		{"test library in a test", "ring/ring_test.go", "pgregory.net/rapid", nil},
		{"test library in test support", "storage/enginetest/suite.go", "pgregory.net/rapid", nil},

		{"upward", "ring/ring.go", module + "/storage", errNotBelow},
		{"sideways", "storage/memdb/db.go", module + "/storage/badgerdb", errNotBelow},
		{"a test upward", "ring/ring_test.go", module + "/storage", errNotBelow},
		{"test edge in product code", "storage/partition.go", module + "/storage/memdb", errNotBelow},
		{"the client pulling in the server", "api/client/client.go", module + "/api/server", errNotBelow},
		{"someone else's system", "cluster/node.go", "github.com/dgraph-io/badger/v4", errNotImporter},
		{"someone else's system in a test", "cluster/node_test.go", "github.com/dgraph-io/badger/v4", errNotImporter},
		{"a name that only begins alike", "storage/badgerdb/db.go", "github.com/dgraph-io/badger/v40", errUnknownVendor},
		{"test library in product code", "ring/ring.go", "pgregory.net/rapid", errTestOnly},
		{"unknown module", "ring/ring.go", "example.com/x", errUnknownVendor},
		{"package without a rule", "util/util.go", "fmt", errUnknownPackage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := checkImport(tt.file, tt.imp); !errors.Is(err, tt.want) {
				t.Errorf("checkImport(%q, %q) = %v, want %v", tt.file, tt.imp, err, tt.want)
			}
		})
	}
}

var (
	errUnknownPackage = errors.New("package is not in layers")
	errNotBelow       = errors.New("not among the packages of ours that layers allows it")
	errNotImporter    = errors.New("vendors gives this module to other packages only")
	errTestOnly       = errors.New("testVendors allows this module in _test.go files only")
	errUnknownVendor  = errors.New("module is in neither vendors nor testVendors")
)

// checkImport says whether file, a slash-separated path from the module's root, may import imp.
func checkImport(file, imp string) error {
	pkg, isTest := path.Dir(file), strings.HasSuffix(file, "_test.go")
	rule := findLayer(pkg)
	if rule == nil {
		return fmt.Errorf("%w: %s", errUnknownPackage, pkg)
	}
	switch {
	case within(imp, module):
		return checkOurs(rule, strings.TrimPrefix(imp, module+"/"), isTest)
	case isStandard(imp):
		return nil
	default:
		return checkVendor(pkg, imp, isTest)
	}
}

func checkOurs(rule *layer, dep string, isTest bool) error {
	ok := slices.Contains(rule.deps, dep) || isTest && (dep == rule.pkg || slices.Contains(rule.tests, dep))
	if !ok {
		return errNotBelow
	}
	return nil
}

func checkVendor(pkg, imp string, isTest bool) error {
	if v := findVendor(vendors, imp); v != nil {
		if !slices.Contains(v.importers, pkg) {
			return fmt.Errorf("%w: %s", errNotImporter, strings.Join(v.importers, ", "))
		}
		return nil
	}
	v := findVendor(testVendors, imp)
	switch {
	case v == nil:
		return errUnknownVendor
	case !isTest && !slices.Contains(v.importers, pkg):
		return errTestOnly
	default:
		return nil
	}
}

func findLayer(pkg string) *layer {
	i := slices.IndexFunc(layers, func(l layer) bool { return l.pkg == pkg })
	if i < 0 {
		return nil
	}
	return &layers[i]
}

func findVendor(list []vendor, imp string) *vendor {
	i := slices.IndexFunc(list, func(v vendor) bool { return within(imp, v.prefix) })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// within says whether the import path imp is root or lies below it.
func within(imp, root string) bool {
	return imp == root || strings.HasPrefix(imp, root+"/")
}

// isStandard relies on what the go command guarantees: only paths outside the standard library begin with a dotted name.
func isStandard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// repositoryFiles is goFiles of this module.
func repositoryFiles(t *testing.T) []string {
	t.Helper()
	files, err := goFiles(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, thisFile) {
		t.Fatalf("did not find %s itself among %d Go files: has it moved?", thisFile, len(files))
	}
	return files
}

// goFiles lists the Go files of the module at root, whatever their build constraints, as slash-separated paths from
// root. Like the go command it leaves out testdata, names that begin with a dot or an underscore, and nested modules.
func goFiles(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == root:
			return nil
		case strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata":
			return skip(d)
		case d.IsDir():
			return skipModule(name)
		case strings.HasSuffix(name, ".go"):
			rel, err := filepath.Rel(root, name)
			files = append(files, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	return files, err
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return filepath.SkipDir
	}
	return nil
}

func skipModule(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	switch {
	case err == nil:
		return filepath.SkipDir
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

func parseImports(name string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var imports []string
	for _, spec := range file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		imports = append(imports, imp)
	}
	return imports, nil
}
