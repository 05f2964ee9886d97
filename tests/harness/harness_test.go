package harness_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "with 'quotes\" and ümlauts", strings.Repeat("long", 30)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := harness.Database(t)
			if _, err := connect(t, url).Exec(t.Context(), "create table mine (n int)"); err != nil {
				t.Errorf("create table: %v", err)
			}
			from, to, err := migration.Run(t.Context(), url)
			if err != nil || from != to {
				t.Errorf("migrated again from %d to %d, %v", from, to, err)
			}
		})
	}
}

func TestDatabaseIsDroppedUnderOpenConnections(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("user", func(t *testing.T) {
		url = harness.Database(t)
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), url)
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Errorf("the database is still there: %s", url)
	}
}

func TestRedisServersAreSeparate(t *testing.T) {
	t.Parallel()
	for range 2 {
		opts, err := redis.ParseURL(harness.Redis(t))
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(opts)
		t.Cleanup(func() { _ = client.Close() })
		if n, err := client.Incr(t.Context(), "n").Result(); err != nil || n != 1 {
			t.Errorf("counted %d, %v: want 1 on every server", n, err)
		}
	}
}

func TestServersOfOnesOwnMayBeStopped(t *testing.T) {
	t.Parallel()
	for _, server := range []interface {
		Stop(ctx context.Context) error
		Err() error
	}{harness.PostgresServer(t), harness.RedisServer(t)} {
		if err := server.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := server.Err(); err != nil {
			t.Errorf("error after stop: %v", err)
		}
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	binary := harness.Build(t, "./tests/harness/serve")
	if again := harness.Build(t, "tests/harness/serve"); again != binary {
		t.Errorf("built twice: %s, %s", binary, again)
	}
	output, err := exec.CommandContext(t.Context(), binary).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "want one argument") {
		t.Errorf("output %q, %v", output, err)
	}
}
