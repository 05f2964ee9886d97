package architecture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
