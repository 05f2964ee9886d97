package architecture_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNewMetricType adds a fourth metric type as docs/new-metric-type.md says: a folder, and a line in the list of types. It
// is held to the laws of the others, and its function is built.
func TestNewMetricType(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	folder := t.TempDir()
	replaced := map[string]string{}
	write := func(path, text string) {
		name := filepath.Join(folder, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[filepath.Join(root, filepath.FromSlash(path))] = name
	}
	for path, source := range map[string]string{"functions/span/span/span.go": "span.go.txt", "functions/span/main.go": "main.go.txt"} {
		text := read(filepath.Join("testdata", "newtype", source))
		lines += strings.Count(text, "\n")
		write(path, text)
	}
	const most = 150
	if lines >= most {
		t.Errorf("a metric type takes %d lines, want fewer than %d", lines, most)
	}
	list := read(filepath.Join(root, "functions", "functions.go"))
	for _, edit := range [][2]string{
		{`functions/histogram/histogram"`, `functions/histogram/histogram"` + "\n\t" + `"` + module + `/functions/span/span"`},
		{"histogram.Type{}", "histogram.Type{}, span.Type{}"},
	} {
		if strings.Count(list, edit[0]) != 1 {
			t.Fatalf("functions/functions.go has not one %s", edit[0])
		}
		list = strings.Replace(list, edit[0], edit[1], 1)
	}
	write("functions/functions.go", list)
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		command := exec.CommandContext(t.Context(), "go", args...)
		command.Dir = root
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
		}
		return string(output)
	}
	flag := "-overlay=" + filepath.Join(folder, "overlay.json")
	laws := run("test", flag, "-vet=off", "-count=1", "-v", "-run", "TestAnySplitGivesTheSameState|TestRefused|TestStates", "./functions")
	if !strings.Contains(laws, "TestAnySplitGivesTheSameState/span_difference_of_30000") {
		t.Errorf("the laws were not asked of the new type:\n%s", laws)
	}
	run("build", flag, "-o", filepath.Join(folder, "span"), "./functions/span")
}
