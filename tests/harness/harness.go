// Package harness gives tests real servers of their own.
//
// A package whose tests use it has
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
// The first test that needs PostgreSQL starts a private server for the process, with a template database that has the
// schema of this build. Every test gets a clone of it, which is dropped when the test passes. When it fails the clone is
// kept, and the test's log says how to look at it. A server that cannot be started fails the test.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
	folderPrefix = "chainmetrics-test-"
	// forgotten is the age at which the folder of an earlier run, kept or left behind, is removed.
	forgotten = 24 * time.Hour
)

// process is what the tests of this process share.
var process struct {
	folder string // "" where TestMain does not call Main
	kept   atomic.Bool
	serial atomic.Int64

	postgres       *devserver.Server
	startPostgres  sync.Once
	postgresFailed error
	template       string

	builds sync.Map // package → func() (string, error)
}

// Main runs the tests of a package, stops what they started, then exits the process.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	removeForgotten()
	folder, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness: make folder:", err)
		return 1
	}
	process.folder = folder
	code = m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		code = max(code, 1)
	}
	return code
}

func stop() error {
	var stopped error
	if process.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		stopped = process.postgres.Stop(ctx)
	}
	if process.kept.Load() {
		return stopped
	}
	return errors.Join(stopped, os.RemoveAll(process.folder))
}

// removeForgotten removes folders of earlier runs: those of failed tests that nobody looks at any more, or of killed
// processes. Others may be removing them as well.
func removeForgotten() {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		if info, err := os.Lstat(folder); err == nil && info.IsDir() && time.Since(info.ModTime()) > forgotten {
			_ = os.RemoveAll(folder)
		}
	}
}

// Database gives the URL of a fresh database with the schema of this build. Its user is a superuser.
func Database(t testing.TB) string {
	t.Helper()
	server := shared(t)
	name := fmt.Sprintf("test_%d_%s", process.serial.Add(1), identifier(t.Name()))
	address := withDatabase(t, server.URL(), name)
	execute(t, server, "create database "+pgx.Identifier{name}.Sanitize()+" template "+
		pgx.Identifier{process.template}.Sanitize())
	t.Cleanup(func() {
		if t.Failed() {
			process.kept.Store(true)
			t.Logf("the database of this test is kept until tomorrow; to look at it:\n\tgo run ./tests/harness/serve %s\n\tpsql '%s'",
				filepath.Join(process.folder, "postgres"), address)
			return
		}
		execute(t, server, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)")
	})
	return address
}

// PostgresServer gives a server of the test's own, which it may stop, freeze or kill. Its database is empty.
func PostgresServer(t testing.TB) *devserver.Server {
	t.Helper()
	return own(t, "postgres", startPostgres)
}

// RedisServer gives a server of the test's own, which it may stop, freeze or kill.
func RedisServer(t testing.TB) *devserver.Server {
	t.Helper()
	return own(t, "redis", func(ctx context.Context, folder string) (*devserver.Server, error) {
		return devserver.StartRedis(ctx, folder, devserver.Volatile())
	})
}

// Redis gives the URL of a fresh, empty server.
func Redis(t testing.TB) string {
	t.Helper()
	return RedisServer(t).URL()
}

// own starts a server for one test.
func own(t testing.TB, kind string, start func(context.Context, string) (*devserver.Server, error)) *devserver.Server {
	t.Helper()
	folder := filepath.Join(home(t), fmt.Sprintf("%s-%d", kind, process.serial.Add(1)))
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := start(ctx, folder)
	if err != nil {
		t.Fatalf("start %s: %v", kind, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTimeout)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Logf("stop %s: %v", kind, err)
		}
		if t.Failed() {
			process.kept.Store(true)
			t.Logf("the %s server's files are kept in %s until tomorrow", kind, folder)
			return
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Errorf("remove the %s server's files: %v", kind, err)
		}
	})
	return server
}

func home(t testing.TB) string {
	t.Helper()
	if process.folder == "" {
		t.Fatal("this package's tests need: func TestMain(m *testing.M) { harness.Main(m) }")
	}
	return process.folder
}

// shared gives the server of this process.
func shared(t testing.TB) *devserver.Server {
	t.Helper()
	folder := filepath.Join(home(t), "postgres")
	process.startPostgres.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
		defer cancel()
		process.postgresFailed = prepare(ctx, folder)
	})
	if process.postgresFailed != nil {
		t.Fatalf("start postgres: %v", process.postgresFailed)
	}
	return process.postgres
}

// prepare starts the server of this process, then makes the template database.
func prepare(ctx context.Context, folder string) (err error) {
	if process.postgres, err = startPostgres(ctx, folder); err != nil {
		return err
	}
	process.template = "template_" + migration.Hash()[:16]
	conn, err := pgx.Connect(ctx, process.postgres.URL())
	if err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{process.template}.Sanitize()); err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	address, err := url.Parse(process.postgres.URL())
	if err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	address.Path = "/" + process.template
	if _, _, err := migration.Run(ctx, address.String()); err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	return nil
}

func startPostgres(ctx context.Context, folder string) (*devserver.Server, error) {
	opts := []devserver.Option{devserver.Volatile()}
	if cache, err := os.UserCacheDir(); err == nil {
		opts = append(opts, devserver.Cache(filepath.Join(cache, "chainmetrics", "test")))
	}
	return devserver.StartPostgres(ctx, folder, opts...)
}

func execute(t testing.TB, server *devserver.Server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func withDatabase(t testing.TB, address, name string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Path = "/" + name
	return parsed.String()
}

var notInIdentifier = regexp.MustCompile(`[^a-z0-9]+`)

// identifier makes the name of a test short and plain enough for a database's name.
func identifier(name string) string {
	name = strings.Trim(notInIdentifier.ReplaceAllString(strings.ToLower(name), "_"), "_")
	return name[:min(len(name), 40)]
}
