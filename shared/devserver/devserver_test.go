package devserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/shared/devserver"
)

// holder names the folder of a server that a copy of this test starts, to be killed.
const holder = "DEVSERVER_TEST_HOLDER"

type start func(context.Context, string, ...devserver.Option) (*devserver.Server, error)

var starts = map[string]start{"postgres": devserver.StartPostgres, "redis": devserver.StartRedis}

func TestMain(m *testing.M) {
	if kind, dir, ok := strings.Cut(os.Getenv(holder), ":"); ok {
		hold(kind, dir)
		return
	}
	os.Exit(m.Run())
}

// hold starts a server, says so, then waits to be killed.
func hold(kind, dir string) {
	server, err := starts[kind](context.Background(), dir, devserver.Volatile())
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	<-server.Done()
}

func launch(t *testing.T, kind, dir string) *devserver.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := starts[kind](ctx, dir, devserver.Volatile())
	if err != nil {
		t.Fatalf("start %s: %v", kind, err)
	}
	t.Cleanup(func() { halt(t, server) })
	return server
}

func halt(t *testing.T, server *devserver.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// write stores a value by a client's connection; read gives it back.
func write(t *testing.T, kind, url string) {
	t.Helper()
	switch kind {
	case "postgres":
		conn := connect(t, url)
		if _, err := conn.Exec(t.Context(), "create table kept (value text); insert into kept values ('é')"); err != nil {
			t.Fatalf("write: %v", err)
		}
	case "redis":
		if err := client(t, url).Set(t.Context(), "kept", "é", 0).Err(); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
}

func read(t *testing.T, kind, url string) string {
	t.Helper()
	var value string
	var err error
	switch kind {
	case "postgres":
		err = connect(t, url).QueryRow(t.Context(), "select value from kept").Scan(&value)
	case "redis":
		value, err = client(t, url).Get(t.Context(), "kept").Result()
	}
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return value
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("parse %s: %v", url, err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestServerKeepsItsData(t *testing.T) {
	t.Parallel()
	folders := map[string]string{
		"short":       "s",
		"with spaces": "it's a \"folder\"",
		"long":        strings.Repeat("long folder/", 20),
	}
	for name, folder := range folders {
		for kind := range starts {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), folder)
				first := launch(t, kind, dir)
				write(t, kind, first.URL())
				halt(t, first)
				if err := first.Err(); err != nil {
					t.Errorf("error after an ordered stop: %v", err)
				}
				second := launch(t, kind, dir)
				if first.URL() != second.URL() {
					t.Errorf("address changed from %s to %s", first.URL(), second.URL())
				}
				if url, err := devserver.URL(dir); err != nil || url != second.URL() {
					t.Errorf("recorded address %q, %v: want %s", url, err, second.URL())
				}
				if value := read(t, kind, second.URL()); value != "é" {
					t.Errorf("read %q", value)
				}
			})
		}
	}
}

func TestServerOfKilledProcessIsReplaced(t *testing.T) {
	t.Parallel()
	for kind := range starts {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), holder+"="+kind+":"+dir)
			output, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
				t.Fatalf("wait for the other process: %v", err)
			}
			url, err := devserver.URL(dir)
			if err != nil {
				t.Fatal(err)
			}
			write(t, kind, url)
			if _, err := starts[kind](t.Context(), dir); !errors.Is(err, devserver.ErrInUse) {
				t.Errorf("start in a folder in use: %v", err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			server := launch(t, kind, dir)
			if value := read(t, kind, server.URL()); value != "é" {
				t.Errorf("read %q", value)
			}
		})
	}
}

func TestKilledServerIsReportedAndStartsAgain(t *testing.T) {
	t.Parallel()
	for kind := range starts {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			server := launch(t, kind, dir)
			write(t, kind, server.URL())
			if err := server.Err(); err != nil {
				t.Errorf("error of a running server: %v", err)
			}
			if err := server.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			select {
			case <-server.Done():
			case <-time.After(time.Minute):
				t.Fatal("the end was not noticed")
			}
			if err := server.Err(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
				t.Errorf("error %v", err)
			}
			again := launch(t, kind, dir)
			if value := read(t, kind, again.URL()); value != "é" {
				t.Errorf("read %q", value)
			}
		})
	}
}

func TestFrozenServerIsKilled(t *testing.T) {
	t.Parallel()
	for kind := range starts {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := launch(t, kind, t.TempDir())
			if err := server.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := server.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

func TestNoteOfKilledServerMayNameAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	halt(t, launch(t, "postgres", dir))
	note := "1\n" + filepath.Join(dir, "data") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "data", "postmaster.pid"), []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, "postgres", dir)
}

func TestStartFailsWithLog(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ kind, file, content, want string }{
		"postgres": {"postgres", "data/postgresql.auto.conf", "no_such_setting = 1\n", "no_such_setting"},
		"redis":    {"redis", "data/appendonlydir/appendonly.aof.manifest", "nonsense\n", "AOF"},
		"version":  {"postgres", "data/PG_VERSION", "9\n", "find PostgreSQL 9, which wrote the data"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			halt(t, launch(t, test.kind, dir))
			if err := os.WriteFile(filepath.Join(dir, test.file), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := starts[test.kind](t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v: want %q in it", err, test.want)
			}
		})
	}
}

func TestServerDoesNotListenOnTheNetwork(t *testing.T) {
	t.Parallel()
	server := launch(t, "postgres", t.TempDir())
	var addresses string
	if err := connect(t, server.URL()).QueryRow(t.Context(), "show listen_addresses").Scan(&addresses); err != nil {
		t.Fatal(err)
	}
	if addresses != "" {
		t.Errorf("PostgreSQL listens on %q", addresses)
	}
	port, err := client(t, launch(t, "redis", t.TempDir()).URL()).ConfigGet(t.Context(), "port").Result()
	if err != nil || port["port"] != "0" {
		t.Errorf("Redis listens on port %v, %v", port, err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	t.Parallel()
	opts, err := redis.ParseURL(launch(t, "redis", t.TempDir()).URL())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(opts.Addr))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket folder: %v, %v", info, err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", opts.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestCacheIsCopied(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "cache")
	for _, name := range []string{"made", "copied"} {
		server, err := devserver.StartPostgres(t.Context(), filepath.Join(t.TempDir(), name),
			devserver.Volatile(), devserver.Cache(cache))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { halt(t, server) })
		write(t, "postgres", server.URL())
		kept, err := os.ReadDir(cache)
		if err != nil || len(kept) != 1 {
			t.Errorf("cache holds %v, %v", kept, err)
		}
	}
}
