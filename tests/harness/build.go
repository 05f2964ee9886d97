package harness

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/chainmetrics/chainmetrics"

// Build gives the path of a binary made from a main package of this module, such as "functions/counter". It is built
// once per process, by the go command that is in PATH.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	folder := filepath.Join(home(t), "bin")
	pkg = path.Clean(strings.TrimPrefix(pkg, module+"/"))
	ctx := context.WithoutCancel(t.Context())
	build, _ := process.builds.LoadOrStore(pkg, sync.OnceValues(func() (string, error) {
		binary := filepath.Join(folder, path.Base(pkg))
		cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, module+"/"+pkg)
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, output)
		}
		return binary, nil
	}))
	binary, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
