package devserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestUnlockIsForEveryHolder has another process hold the file, as one does that is just being forked.
func TestUnlockIsForEveryHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock := func() (*os.File, error) {
		file, err := openLock(path)
		if err != nil {
			t.Fatal(err)
		}
		return file, tryLock(file)
	}
	first, err := lock()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.CommandContext(t.Context(), "sleep", "60")
	holder.ExtraFiles = []*os.File{first}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Wait() }()
	defer func() { _ = holder.Process.Kill() }()

	second, err := lock()
	if err == nil {
		t.Fatal("locked twice")
	}
	closeFile(second)
	unlock(first)
	third, err := lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock(third)
}
