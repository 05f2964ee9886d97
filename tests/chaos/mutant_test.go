package chaos_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a program of this module with a mistake in one of its files.
type mutant struct {
	pkg   string // of the program
	file  string // from the module's root
	edits []edit
}

// edit replaces text that the file holds exactly once.
type edit struct{ old, new string }

// build gives the path of the program's binary. The file of the module stays as it is.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	source := string(text)
	for _, e := range m.edits {
		if n := strings.Count(source, e.old); n != 1 {
			t.Fatalf("the mutant of %s has to be made anew: the file has %d times, not once,\n%s", m.file, n, e.old)
		}
		source = strings.Replace(source, e.old, e.new, 1)
	}
	folder := t.TempDir()
	mutated := filepath.Join(folder, filepath.Base(m.file))
	if err := os.WriteFile(mutated, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, filepath.Base(m.pkg))
	build := exec.CommandContext(t.Context(), "go", "build",
		"-overlay", filepath.Join(folder, "overlay.json"), "-o", binary, "./"+m.pkg)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the mutant of %s: %v\n%s", m.file, err, output)
	}
	return binary
}
