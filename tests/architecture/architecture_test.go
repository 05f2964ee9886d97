// Package architecture_test holds the module to the law of ARCHITECTURE.md.
package architecture_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/functions"
)

const module = "github.com/chainmetrics/chainmetrics"

var update = flag.Bool("update", false, "write the lists of modules in testdata")

// law says which packages of this module a package may import. The first row that matches a package is its row; "..."
// matches anything. Tests of a package are free.
var law = []struct {
	packages string
	may      []string
}{
	{"shared/bucket", nil},
	{"shared/decimal", nil},
	{"events", []string{"shared/decimal"}},
	{"shared/metric", []string{"events", "shared/bucket", "shared/decimal"}},
	{"shared/watermark", []string{"events"}},
	{"shared/span", nil},
	{"shared/annotation", nil},
	{"shared/delivery", []string{"events", "shared/span", "shared/watermark"}},
	{"shared/archive", []string{"events", "shared/delivery", "shared/metric", "shared/watermark"}},
	{"shared/aggregate", []string{
		"events", "shared/bucket", "shared/decimal", "shared/delivery", "shared/metric", "shared/watermark",
	}},
	{"shared/runner", []string{
		"events", "shared/aggregate", "shared/annotation", "shared/bucket", "shared/metric", "shared/span",
	}},
	{"shared/postgres/migration", nil},
	{"shared/postgres", []string{
		"events", "shared/bucket", "shared/decimal", "shared/metric", "shared/watermark", "shared/delivery", "shared/archive",
		"shared/aggregate", "shared/coverage", "shared/runner", "shared/span",
	}},
	{"shared/coverage", []string{"shared/bucket"}},
	{"shared/series", []string{"shared/bucket", "shared/decimal", "shared/metric", "shared/postgres"}},
	{"shared/telemetry", []string{"shared/annotation"}},
	{"shared/environment", nil},
	{"shared/receiver", []string{"events", "shared/span", "shared/watermark", "shared/telemetry"}},
	{"shared/devserver", nil},
	{"shared/binding", []string{"events"}},
	{"events/redisstream", []string{"events", "shared/span", "shared/watermark"}},
	{"events/source...", []string{
		"events...", "shared/environment", "shared/receiver", "shared/binding", "shared/span", "shared/telemetry", "shared/watermark",
	}},
	{"events/feed...", []string{
		"events...", "shared/environment", "shared/postgres", "shared/telemetry", "shared/watermark",
	}},
	{"functions", []string{"functions/...", "shared/aggregate", "shared/metric"}},
	{"functions/archive", []string{
		"events", "events/redisstream", "shared/archive", "shared/environment", "shared/postgres", "shared/receiver", "shared/telemetry",
	}},
	{"functions/notify...", []string{
		"events", "functions/notify/message", "shared/binding", "shared/bucket", "shared/environment", "shared/metric", "shared/postgres",
		"shared/receiver", "shared/telemetry",
	}},
	{"functions/planner/cluster", []string{"functions/planner/planner"}},
	{"functions/...", []string{
		"events", "shared/aggregate", "shared/archive", "shared/bucket", "shared/decimal", "shared/environment", "shared/metric",
		"shared/postgres", "shared/receiver", "shared/runner", "shared/binding", "shared/span", "shared/telemetry", "shared/watermark",
	}},
	{"examples", nil},
	{"examples/samplechain", []string{"examples"}},
	{"config/release", []string{"config"}},
	{"config", []string{"examples"}},
	{"cmd/chainmetrics/wiring", []string{"events", "shared/bucket"}},
	{"cmd/chainmetrics/trial", []string{"events", "shared/aggregate", "shared/delivery", "shared/bucket", "shared/metric", "shared/series", "shared/watermark"}},
	{"cmd/chainmetrics/eventing", []string{"cmd/chainmetrics/wiring", "events", "shared/binding"}},
	{"cmd/...", []string{"config", "events...", "examples", "functions...", "shared/..."}},
	{"tests/oracle", nil}, // it computes everything again, sharing no code with what it checks
	{"tests/...", []string{"..."}},
}

// outside says which packages alone, with commas between them, may import a module of others. Tests are free.
var outside = []struct{ module, packages string }{
	{"github.com/jackc", "shared/postgres..."},
	{"github.com/redis", "events/redisstream"},
	{"github.com/spf13", "cmd/..."},
	{"cel.dev/cel-go", "shared/metric"},
	{"sigs.k8s.io", "config"},
	{"k8s.io", "functions/planner/cluster"},
	{"github.com/robfig", "shared/metric,cmd/..."},
	{"github.com/wneessen", "functions/notify/mail"},
}

// strangers are modules that a program must not link, whatever its list in testdata says.
var strangers = map[string][]string{
	"functions/counter": {
		"github.com/jackc/tern", "github.com/spf13", "github.com/btcsuite", "github.com/redis", "github.com/gofrs/flock",
		"github.com/schollz", "sigs.k8s.io", "k8s.io/client-go",
	},
	"functions/planner": {
		"github.com/jackc/tern", "github.com/spf13/cobra", "github.com/btcsuite", "github.com/redis", "knative.dev/serving", "knative.dev/eventing",
	},
	"functions/notify": {"github.com/jackc/tern", "github.com/spf13", "github.com/redis", "github.com/emersion", "sigs.k8s.io"},
	"events/source": {
		"github.com/jackc", "cel.dev/cel-go", "github.com/spf13", "github.com/btcsuite", "github.com/schollz", "sigs.k8s.io",
	},
	"events/feed": {"github.com/jackc/tern", "github.com/spf13", "github.com/schollz", "sigs.k8s.io"},
	// kustomize links k8s.io/kube-openapi.
	"cmd/chainmetrics": {
		"knative.dev/serving", "knative.dev/eventing", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go",
	},
}

// goPackage is what the go command tells about a package. Imports are relative to the module where they are its own.
type goPackage struct {
	Dir, ImportPath, Name              string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
	Standard                           bool
	Module                             *struct{ Path string }
}

func (p goPackage) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// own gives the imports that are packages of this module, by their paths in it.
func own(imports []string) []string {
	var paths []string
	for _, path := range imports {
		if path, ok := strings.CutPrefix(path, module+"/"); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json"}, args...)...)
	// What counts is what images hold.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(path, prefix)
	}
	return path == pattern
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, module+"/...") {
		i := slices.IndexFunc(law, func(row struct {
			packages string
			may      []string
		},
		) bool {
			return matches(row.packages, p.path())
		})
		if i < 0 {
			t.Errorf("%s has no row in the law: place it there, and in ARCHITECTURE.md", p.path())
			continue
		}
		for _, imported := range own(p.Imports) {
			if !slices.ContainsFunc(law[i].may, func(pattern string) bool { return matches(pattern, imported) }) &&
				!strings.HasPrefix(imported, p.path()+"/") {
				t.Errorf("%s imports %s, which the law does not allow", p.path(), imported)
			}
		}
		for _, row := range outside {
			may := slices.ContainsFunc(strings.Split(row.packages, ","), func(pattern string) bool { return matches(pattern, p.path()) })
			if may || strings.HasPrefix(p.path(), "tests/") {
				continue
			}
			for _, imported := range p.Imports {
				if strings.HasPrefix(imported, row.module+"/") {
					t.Errorf("%s imports %s: only %s may", p.path(), imported, row.packages)
				}
			}
		}
	}
}

func TestFunctionsAreSeparate(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, module+"/functions/...") {
		if p.path() == "functions" { // the list of them
			continue
		}
		folder := strings.Join(strings.SplitN(p.path(), "/", 3)[:2], "/")
		for _, imported := range own(p.Imports) {
			if strings.HasPrefix(imported, "functions/") && !strings.HasPrefix(imported, folder+"/") {
				t.Errorf("%s imports %s: a function stands alone", p.path(), imported)
			}
		}
	}
}

// TestEveryMetricTypeIsListed: a type that functions.Types lacks has a function, and no definition can ask for it. Folders
// of functions that aggregate nothing are no metric types.
func TestEveryMetricTypeIsListed(t *testing.T) {
	t.Parallel()
	var folders, listed []string
	for _, p := range list(t, module+"/functions/...") {
		if p.Name == "main" && slices.Contains(own(p.Imports), "shared/runner") {
			folders = append(folders, strings.TrimPrefix(p.path(), "functions/"))
		}
	}
	for _, kind := range functions.Types {
		listed = append(listed, kind.Definitions().Name)
	}
	slices.Sort(folders)
	slices.Sort(listed)
	if diff := cmp.Diff(folders, listed); diff != "" {
		t.Errorf("metric types (-folders below functions +functions.Types)\n%s", diff)
	}
}

func TestSharedPackagesAreShared(t *testing.T) {
	t.Parallel()
	importers := map[string]map[string]bool{}
	packages := list(t, module+"/...")
	for _, p := range packages {
		for _, imported := range own(slices.Concat(p.Imports, p.TestImports, p.XTestImports)) {
			if imported == p.path() {
				continue
			}
			if importers[imported] == nil {
				importers[imported] = map[string]bool{}
			}
			importers[imported][p.path()] = true
		}
	}
	for _, p := range packages {
		if strings.HasPrefix(p.path(), "shared/") && len(importers[p.path()]) < 2 {
			t.Errorf("%s has fewer than two importers: it belongs to the one that it has", p.path())
		}
	}
}

func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, module+"/...") {
		comment := packageComment(t, p)
		switch {
		case len(p.GoFiles) == 0: // only tests
		case comment == "":
			t.Errorf("%s has no package comment", p.path())
		case !strings.HasPrefix(p.path(), "shared/"):
		case strings.Contains(comment, " and "):
			t.Errorf("%s: its comment says %q: a package with an \"and\" is two packages", p.path(), comment)
		case new(doc.Package).Synopsis(comment) != comment:
			t.Errorf("%s: its comment says %q: one sentence is enough", p.path(), comment)
		}
	}
}

// packageComment gives the comments above the package clauses, on one line.
func packageComment(t *testing.T, p goPackage) string {
	t.Helper()
	var words []string
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil,
			parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, strings.Fields(file.Doc.Text())...)
	}
	return strings.Join(words, " ")
}

func TestNamesAreNouns(t *testing.T) {
	t.Parallel()
	junk := []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "models", "base", "lib"}
	for _, p := range list(t, module+"/...") {
		names := strings.Split(p.path(), "/")
		for _, file := range p.GoFiles {
			names = append(names, strings.TrimSuffix(file, path.Ext(file)))
		}
		for _, name := range names {
			if slices.Contains(junk, name) {
				t.Errorf("%s: %q says nothing: name what is in it", p.path(), name)
			}
		}
	}
}

func TestProgramsLinkOnlyWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for _, program := range list(t, module+"/...") {
		if program.Name != "main" || strings.HasPrefix(program.path(), "tests/") {
			continue
		}
		t.Run(program.path(), func(t *testing.T) {
			t.Parallel()
			linked := map[string]bool{}
			for _, p := range list(t, "-deps", program.ImportPath) {
				if p.Module != nil && p.Module.Path != module {
					linked[p.Module.Path] = true
				}
			}
			for _, stranger := range strangers[program.path()] {
				for linked := range linked {
					if linked == stranger || strings.HasPrefix(linked, stranger+"/") {
						t.Errorf("%s links %s", program.path(), linked)
					}
				}
			}
			var got []string
			for path := range linked {
				got = append(got, path+"\n")
			}
			slices.Sort(got)
			golden := filepath.Join("testdata", path.Base(program.path())+".modules")
			if *update {
				if err := os.WriteFile(golden, []byte(strings.Join(got, "")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v: if the program is new, run go test ./tests/architecture -update", err)
			}
			want := slices.Collect(strings.Lines(string(text)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("modules linked, if meant: go test ./tests/architecture -update (-want +got)\n%s", diff)
			}
		})
	}
}
