package architecture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// TestVariablesAreDocumented compares the variables that the programs read with docs/configuration.md and docs/redis.md.
func TestVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	var documented strings.Builder
	for _, page := range []string{"configuration.md", "redis.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		documented.Write(text)
	}
	tag := regexp.MustCompile(`envconfig:"([A-Z_]+)"`)
	found := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path) //nolint:gosec // of this module
		for _, match := range tag.FindAllStringSubmatch(string(source), -1) {
			found++
			if !regexp.MustCompile(`\b` + match[1] + `\b`).MatchString(documented.String()) {
				t.Errorf("%s reads %s, which is documented nowhere", path, match[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 30 {
		t.Errorf("only %d variables were found", found)
	}
}

// TestMetricsAreNamed compares the names of the metrics of planner and notify with docs/metrics.md. What the other programs export
// tests/integration compares, while they run.
func TestMetricsAreNamed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented, found []string
	row := regexp.MustCompile("(?m)^\\| `(chainmetrics_[a-z_]+)` \\|[^|]*\\|[^|]*\\|[^|]*(?:planner|notify)[^|]*\\|")
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, match[1])
	}
	name := regexp.MustCompile(`Name: +"(chainmetrics_[a-z_]+)"`)
	for _, pattern := range []string{"functions/planner/planner/*.go", "functions/notify/*/*.go", "shared/receiver/listener.go"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range name.FindAllStringSubmatch(string(source), -1) {
				found = append(found, match[1])
			}
		}
	}
	slices.Sort(documented)
	slices.Sort(found)
	if diff := cmp.Diff(documented, found); diff != "" {
		t.Errorf("docs/metrics.md and the sources differ (-page +sources)\n%s", diff)
	}
}

// pages gives the texts of README.md, CONTRIBUTING.md, ARCHITECTURE.md and the pages of docs, by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code      = regexp.MustCompile("(?ms)^```.*?^```$|^    [^\n]*$|`[^`\n]*`")
	testName  = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor  = regexp.MustCompile(`[^a-z0-9_ -]`)
)

// TestDefinitionsInPagesAreTaken reads the definitions of metrics that documentation shows.
func TestDefinitionsInPagesAreTaken(t *testing.T) {
	t.Parallel()
	found := 0
	for file, text := range pages(t) {
		for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(block[1], "calculation_logic:") {
				continue
			}
			definitions, err := metric.Parse(file, []byte(block[1]), functions.Definitions())
			if err != nil {
				t.Errorf("%v", err)
			}
			found += len(definitions)
		}
	}
	if found < 5 {
		t.Errorf("only %d definitions were found", found)
	}
}

// TestLinksLeadSomewhere follows the links of documentation that stay within the repository, to the heading.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	texts := pages(t)
	found := 0
	for file, text := range texts {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllStringFunc(text, emptied), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			found++
			path, anchor, _ := strings.Cut(match[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", file, match[1], err)
			} else if anchor != "" && !anchors(texts[target])[anchor] {
				t.Errorf("%s: %s: there is no such heading", file, match[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d links were found", found)
	}
}

// emptied gives nothing for code that is no part of a link's text.
func emptied(text string) string {
	if strings.HasPrefix(text, "`") && !strings.HasPrefix(text, "```") {
		return "code"
	}
	return ""
}

// anchors gives what a page's headings are called in links.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")] = true
	}
	return all
}

// TestNamedTestsExist: documentation that names a test as proof names one that is there.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path) //nolint:gosec // of this module
		tests.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for file, text := range pages(t) {
		for _, match := range testName.FindAllStringSubmatch(text, -1) {
			found++
			if !strings.Contains(tests.String(), "\nfunc "+match[1]+"(") {
				t.Errorf("%s names %s, which is not there", file, match[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d names of tests were found", found)
	}
}
