// Package assize_test holds the whole tree to its architecture: who may import whom, what a pure package may not do, and how long a
// function may be.
package assize_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	maxFunction = 70  // lines
	maxFile     = 500 // lines
)

// allowed lists for each package (the first matching prefix wins) what it may import of this module. Everything here is to be read as "and
// nothing else"; a package may always import its own subpackages and siblings named here.
var allowed = []struct {
	pkg  string
	deps []string
}{
	{"history", nil},
	{"machine/znodes", []string{"history", "machine"}},
	{"machine/order", nil},
	{"machine", []string{"history", "machine/order"}},
	{"cluster", []string{"history", "cluster"}},
	{"docker", []string{"history", "cluster"}},
	{"checkers", []string{"history"}},
	{"daemon", []string{"history", "machine", "cluster", "daemon"}},
	{"sim", []string{"history", "machine", "cluster"}},
	{"targets/raft", []string{"history", "machine"}},
	{"targets/zab/tree", []string{"history", "machine"}},
	{"targets/zab", []string{"history", "machine", "targets/zab/tree"}},
	{"targets/paxos", []string{"history", "machine"}},
	{"targets/", []string{"history", "cluster"}},
	{"targets", []string{"machine", "cluster", "daemon", "targets"}},
	{"nemesis", []string{"history", "cluster"}},
	{"workloads", []string{"history", "checkers"}},
	{"harness", []string{"history", "cluster", "nemesis", "workloads"}},
	{"report", []string{"history", "checkers", "harness"}},
	{"cmd", []string{"history", "machine", "cluster", "docker", "checkers", "daemon", "sim", "targets", "nemesis", "workloads", "harness", "report"}},
}

// pure packages are functions of their input. The recorder and the reader of files are history's two exceptions: one mutex, one file.
var (
	pure       = []string{"history", "machine", "checkers", "targets/raft", "targets/zab", "targets/paxos"}
	exceptions = map[string]bool{"history/recorder.go": true, "history/file.go": true}
)

type listed struct {
	ImportPath, Dir, Export, Name  string
	GoFiles, TestGoFiles           []string
	XTestGoFiles, Imports, TestImp []string
	Module                         *struct{ Path string }
}

func (p listed) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "assize"), "/")
}

func (p listed) own() bool { return p.Module != nil && p.Module.Path == "assize" }

// packages runs go list once for the module and all that it depends on.
func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,Module", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func matches(rel, pkg string) bool {
	if strings.HasSuffix(pkg, "/") {
		return strings.HasPrefix(rel, pkg)
	}
	return rel == pkg || strings.HasPrefix(rel, pkg+"/")
}

func mayImport(from, to string) (bool, string) {
	if strings.HasSuffix(to, "test") {
		return false, "it is for tests"
	}
	for _, rule := range allowed {
		if !matches(from, rule.pkg) {
			continue
		}
		for _, d := range rule.deps {
			if matches(to, d) {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%s may import only %v of this module", rule.pkg, rule.deps)
	}
	return false, "it has no place in the import order"
}

func TestImportOrder(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		if !p.own() || p.rel() == "" {
			continue
		}
		seen++
		for _, i := range p.Imports {
			to, own := strings.CutPrefix(i, "assize/")
			if !own {
				continue
			}
			if ok, why := mayImport(p.rel(), to); !ok {
				t.Errorf("%s imports %s: %s", p.rel(), to, why)
			}
		}
	}
	if seen < 5 {
		t.Fatalf("only %d packages seen", seen)
	}
}

// TestImportOrderIsChecked shows that the rules can say no.
func TestImportOrderIsChecked(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"checkers", "cluster", false},
		{"targets/raft", "daemon", false},
		{"workloads", "targets/raft", false},
		{"targets/etcd", "machine", false},
		{"targets", "targets/raft", true},
		{"cmd/assize", "sim", true},
		{"daemon/zk", "daemon/clienttest", false},
		{"elsewhere", "history", false},
	} {
		if got, _ := mayImport(c.from, c.to); got != c.want {
			t.Errorf("mayImport(%s, %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if !p.own() || len(p.GoFiles) == 0 {
			continue
		}
		found := false
		for _, name := range p.GoFiles {
			f := parse(t, token.NewFileSet(), filepath.Join(p.Dir, name))
			found = found || f.Doc != nil
		}
		if !found {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

func TestLengths(t *testing.T) {
	for _, p := range packages(t) {
		if !p.own() {
			continue
		}
		for _, name := range append(append(p.GoFiles, p.TestGoFiles...), p.XTestGoFiles...) {
			fset := token.NewFileSet()
			f := parse(t, fset, filepath.Join(p.Dir, name))
			if n := fset.File(f.Pos()).LineCount(); n > maxFile {
				t.Errorf("%s/%s has %d lines, want at most %d", p.rel(), name, n, maxFile)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunction {
					t.Errorf("%s/%s: %s has %d lines, want at most %d", p.rel(), name, fn.Name.Name, n, maxFunction)
				}
			}
		}
	}
}

func parse(t *testing.T, fset *token.FileSet, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPurity(t *testing.T) {
	all := packages(t)
	export := map[string]string{}
	for _, p := range all {
		export[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(export[path]) }
	imports := importer.ForCompiler(fset, "gc", lookup)
	seen := 0
	for _, p := range all {
		if !p.own() || !isPure(p.rel()) {
			continue
		}
		seen++
		var files []*ast.File
		for _, name := range p.GoFiles {
			files = append(files, parse(t, fset, filepath.Join(p.Dir, name)))
		}
		for _, e := range impurities(fset, imports, p.rel(), files) {
			t.Error(e)
		}
	}
	if seen < 3 {
		t.Fatalf("only %d pure packages seen", seen)
	}
}

func isPure(rel string) bool {
	for _, p := range pure {
		if matches(rel, p) {
			return true
		}
	}
	return false
}

// TestPurityIsChecked shows that each rule can say no.
func TestPurityIsChecked(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"clock", `import "time"; func f() { _ = time.Now() }`, "time.Now"},
		{"timer", `import "time"; var f = time.After`, "time.After"},
		{"os", `import "os"; var _ = os.Args`, "imports os"},
		{"net", `import "net/netip"; var _ netip.Addr`, "imports net/netip"},
		{"sync", `import "sync"; var _ sync.Mutex`, "imports sync"},
		{"atomic", `import "sync/atomic"; var _ atomic.Bool`, "imports sync/atomic"},
		{"rand", `import "math/rand/v2"; var _ = rand.IntN(3)`, "global random source"},
		{"goroutine", `func f() { go f() }`, "starts a goroutine"},
		{"channel", `var c chan int`, "uses a channel"},
		{"map", `type m map[int]int; func f(x m) { for range x { } }`, "ranges over a map"},
		{"maps", `import "maps"; func f(x map[int]int) { for range maps.Keys(x) { } }`, "maps.Keys"},
		{"clean", `import ("time"; "math/rand/v2"); func f(x []int, d time.Duration) (t time.Time) { for range x { }; _ = rand.New(rand.NewPCG(1, 2)); return t.Add(d * time.Second) }`, ""},
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, c.name+".go", "package p; "+c.source, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(impurities(fset, importer.Default(), "p", []*ast.File{f}), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// impurities of one package, in words.
func impurities(fset *token.FileSet, imports types.Importer, rel string, files []*ast.File) (found []string) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	say := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	conf := types.Config{Importer: imports}
	if _, err := conf.Check(rel, fset, files, info); err != nil {
		found = append(found, err.Error())
	}
	for _, f := range files {
		if exceptions[rel+"/"+filepath.Base(fset.Position(f.Pos()).Filename)] {
			continue
		}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			switch strings.Split(path, "/")[0] {
			case "os", "net", "sync", "syscall", "unsafe", "runtime":
				say(i, "imports "+path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if what := impure(info, n); what != "" {
				say(n, what)
			}
			return true
		})
	}
	return found
}

// impure says what a single node does that a pure package may not, or nothing.
func impure(info *types.Info, n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
		return "uses a channel"
	case *ast.RangeStmt:
		if tv, ok := info.Types[n.X]; ok {
			if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
				return "ranges over a map"
			}
		}
	case *ast.Ident:
		fn, ok := info.Uses[n].(*types.Func)
		if !ok || fn.Pkg() == nil || fn.Signature().Recv() != nil {
			return ""
		}
		switch path := fn.Pkg().Path(); {
		case path == "time":
			return "asks for time." + fn.Name()
		case path == "maps" && (fn.Name() == "Keys" || fn.Name() == "Values" || fn.Name() == "All"):
			return "ranges over a map: maps." + fn.Name()
		case strings.HasPrefix(path, "math/rand") && !strings.HasPrefix(fn.Name(), "New"):
			return "draws from the global random source: rand." + fn.Name()
		}
	}
	return ""
}
