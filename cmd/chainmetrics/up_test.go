package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/tests/harness"
)

// install puts the command into a folder of its own, beside programs that are shell scripts. What is to be executed is
// linked, not written: a file that was open for writing while another test forked is busy until that one executes.
func install(t *testing.T, o *operator, scripts map[string]string) {
	t.Helper()
	folder := t.TempDir()
	command := harness.Build(t, "cmd/chainmetrics")
	o.binary = filepath.Join(folder, "chainmetrics")
	if err := os.Link(command, o.binary); err != nil {
		t.Fatal(err)
	}
	for name, script := range scripts {
		program := filepath.Join(folder, name)
		if err := os.WriteFile(program+".sh", []byte(script+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file(t, "program"), program); err != nil {
			t.Fatal(err)
		}
	}
}

// failing are the programs that up starts, each of which ends at once.
var failing = map[string]string{"counter": "exit 1", "gauge": "exit 1", "histogram": "exit 1", "archive": "exit 1", "scheduler": "exit 1", "notify": "exit 1", "source": "exit 1", "feed": "exit 1"}

func TestUpNamesMissingPrograms(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	install(t, o, map[string]string{"counter": "exit 0"})
	o.refused(t, 1, "chainmetrics: gauge, histogram, archive, scheduler, notify, source, feed not found in "+filepath.Dir(o.binary)+"\n  build them with: make build\n", "up")
	if _, err := os.Stat(filepath.Join(o.folder, ".chainmetrics")); !os.IsNotExist(err) {
		t.Errorf("a data directory was made: %v", err)
	}
}

func TestUpShowsWhyAProgramCannotStart(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	line := `{"time":"2026-01-01T00:00:00Z","level":"ERROR","msg":"counter stopped","program":"counter","error":"no luck","port":'$PORT'}`
	// Of the four functions that are this program one does not start.
	counter := "[ $K_SERVICE != counter ] && exec sleep 60\necho '" + line + "'\nexit 1"
	install(t, o, map[string]string{
		"counter": counter, "gauge": "exec sleep 60", "histogram": "exec sleep 60", "archive": "exec sleep 60", "scheduler": "exec sleep 60", "notify": "exec sleep 60", "source": "exit 1", "feed": "exit 1",
	})
	blocks := filepath.Join(o.folder, "blk00000.dat")
	if err := os.WriteFile(blocks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := o.run(t, "up", "--blocks", blocks)
	if r.code != 1 || !strings.HasPrefix(r.errors, "chainmetrics: counter keeps dying (exit status 1):\n  ERROR counter stopped error=no luck port=") ||
		!strings.HasSuffix(r.errors, "\n  its log is "+filepath.Join(o.folder, ".chainmetrics", "logs", "counter.log")+"\n") {
		t.Errorf("exit status %d:\n%s", r.code, r.errors)
	}
	for _, want := range []string{"the PostgreSQL that is named", "the Redis that is named", "32 created", "counter died: exit status 1"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not shown:\n%s", want, r.out)
		}
	}
	o.must(t, "metric", "delete", "--yes", "btc_block_count")
	if again := o.run(t, "up", "--blocks", blocks); !strings.Contains(again.out, "31 registered") {
		t.Errorf("after a metric was deleted:\n%s", again.out)
	}
	again := o.run(t, "up", "--blocks", blocks, "--metrics", file(t, "metrics.yaml"))
	if !strings.Contains(again.out, "3 created") {
		t.Errorf("with metrics:\n%s", again.out)
	}
	if strings.Contains(r.out, "\x1b") || strings.Contains(r.out, "\r") {
		t.Errorf("a pipe gets control characters: %q", r.out)
	}
}

func TestUpNeedsItsBlockFiles(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	install(t, o, failing)
	r := o.run(t, "up", "--blocks", "none.dat")
	if r.code != 1 || !strings.Contains(r.errors, "find block files none.dat: file does not exist") {
		t.Errorf("exit status %d:\n%s", r.code, r.errors)
	}
	if _, err := os.Stat(filepath.Join(o.folder, ".chainmetrics", "postgres")); !os.IsNotExist(err) {
		t.Errorf("a server was started: %v", err)
	}
}

func TestUpSaysWhatToDoAboutItsSurroundings(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "redis")
	install(t, o, failing)
	if err := os.WriteFile(filepath.Join(o.folder, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string][]string{
		"choose another with --data-dir":   {"up", "--no-feed", "--data-dir", "taken/data"},
		"check that the server runs, and ": {"up", "--no-feed", "--postgres-url", "postgres://user:s3cret@127.0.0.1:1/metrics"},
	}
	for want, args := range tests {
		if r := o.run(t, args...); r.code != 1 || !strings.Contains(r.errors, "\n  "+want) || strings.Contains(r.errors, "s3cret") {
			t.Errorf("chainmetrics %s: exit status %d, %q is missing:\n%s", strings.Join(args, " "), r.code, want, r.errors)
		}
	}
}
