package chaos_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a package of this module with a mistake in one of its files, or in one that it uses.
type mutant struct {
	pkg   string
	file  string // from the module's root
	edits []edit
}

// edit replaces text that the file holds exactly once.
type edit struct{ old, new string }

// build gives the path of the package's binary, a program.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(m.pkg))
	if output, err := m.command(t, "build", "-o", binary).CombinedOutput(); err != nil {
		t.Fatalf("build the mutant of %s: %v\n%s", m.file, err, output)
	}
	return binary
}

// command gives a command of go for the package. The file of the module stays as it is.
func (m mutant) command(t *testing.T, command string, flags ...string) *exec.Cmd {
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
	mistaken := filepath.Join(folder, filepath.Base(m.file))
	if err := os.WriteFile(mistaken, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mistaken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := append([]string{command, "-overlay", filepath.Join(folder, "overlay.json")}, flags...)
	mutated := exec.CommandContext(t.Context(), "go", append(arguments, "./"+m.pkg)...)
	mutated.Dir = root
	return mutated
}
