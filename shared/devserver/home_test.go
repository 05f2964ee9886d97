package devserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// TestSocketFolderIsNobodyElses has somebody else make the folder in which root is about to start a server.
func TestSocketFolderIsNobodyElses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a folder somebody else's")
		return
	}
	const server, other = 12345, 54321
	long := strings.Repeat("long", 30)
	tests := map[string]struct {
		home  string
		owner int
		want  bool
	}{
		"root's":                        {home: long, owner: 0, want: true},
		"the server's":                  {home: long, owner: server, want: true},
		"another's":                     {home: long, owner: other},
		"another's in a home of theirs": {home: "home", owner: other, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			temporary, err := os.MkdirTemp("", "") //nolint:usetesting // its name would be too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temporary) }) // nothing else is in it
			t.Setenv("TMPDIR", temporary)
			h := home(filepath.Join(temporary, tt.home))
			if err := os.MkdirAll(string(h), 0o700); err != nil {
				t.Fatal(err)
			}
			folder, err := h.sockets("socket", identity{})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(folder, tt.owner, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(string(h), tt.owner, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := h.sockets("socket", identity{uid: server}); (err == nil) != tt.want {
				t.Errorf("the folder in %s: %v", folder, err)
			}
		})
	}
}

func TestCacheNameTellsHowTheClusterIsMade(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, version := range []string{"15.18", "17.2"} {
		for _, volatile := range []bool{false, true} {
			names[cacheName(installation{version: version}, options{volatile: volatile})] = true
		}
	}
	if len(names) != 4 {
		t.Errorf("the names are %v, want four", names)
	}
}
