package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// settings gives the configuration that the environment gives by default.
func settings(address string) postgres.Config {
	return postgres.Config{
		URL:              address,
		Port:             5432,
		ApplicationName:  "test",
		PoolSize:         4,
		ConnectTimeout:   5 * time.Second,
		StatementTimeout: 30 * time.Second,
		LockTimeout:      5 * time.Second,
		IdleTimeout:      5 * time.Second,
		TCPTimeout:       15 * time.Second,
	}
}

func open(t *testing.T, cfg postgres.Config) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// fresh gives a store on an empty database, and the database's URL.
func fresh(t *testing.T) (*postgres.Store, string) {
	t.Helper()
	url := harness.Database(t)
	return open(t, settings(url)), url
}

// connect gives a connection beside the store.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// column reads the first column of all rows.
func column[T any](t *testing.T, conn *pgx.Conn, query string, arguments ...any) []T {
	t.Helper()
	rows, err := conn.Query(t.Context(), query, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func execute(t *testing.T, conn *pgx.Conn, statement string, arguments ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement, arguments...); err != nil {
		t.Fatal(err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("migrated: %v", err)
	}
	conn := connect(t, url)
	execute(t, conn, "update schema_version set version = $1", migration.Latest()+1)
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("newer: %v", err)
	}
	execute(t, conn, "update schema_version set version = $1", migration.Latest()-1)
	if err := store.Ping(t.Context()); !errors.Is(err, postgres.ErrOutdated) {
		t.Errorf("older: got %v, want %v", err, postgres.ErrOutdated)
	}
	execute(t, conn, "drop table schema_version")
	if err := store.Ping(t.Context()); !errors.Is(err, postgres.ErrOutdated) {
		t.Errorf("empty: got %v, want %v", err, postgres.ErrOutdated)
	}
}

func TestOpenDoesNotNeedTheServer(t *testing.T) {
	t.Parallel()
	server := harness.PostgresServer(t)
	store := open(t, settings(server.URL()))
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Ping(t.Context()); err == nil {
		t.Error("ping of a stopped server succeeded")
	}
	if _, err := store.Watermark(t.Context(), "counter", "blocks"); err == nil {
		t.Error("watermark of a stopped server succeeded")
	}
}

func TestErrorsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	const password = "s3cr3t-w0rd"
	hosts := map[string]string{
		"refused":      "127.0.0.1:1",
		"unknown host": "no-such-host.invalid:5432",
	}
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := settings("postgres://user:" + password + "@" + host + "/db?sslmode=disable")
			err := open(t, cfg).Ping(t.Context())
			if err == nil {
				t.Fatal("ping succeeded")
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("%q shows the password", err)
			}
		})
	}
	t.Run("refused by the server", func(t *testing.T) {
		t.Parallel()
		address, err := url.Parse(harness.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		address.User = url.UserPassword("nobody", password)
		err = open(t, settings(address.String())).Ping(t.Context())
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%v: want an error without the password", err)
		}
	})
}

func TestSessionSettings(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	settings, err := store.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"application_name":                    "test",
		"timezone":                            "UTC",
		"datestyle":                           "ISO, MDY",
		"default_transaction_isolation":       "read committed",
		"statement_timeout":                   "30s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "5s",
		"tcp_user_timeout":                    "15000",
		"tcp_keepalives_idle":                 "3",
		"tcp_keepalives_interval":             "3",
		"tcp_keepalives_count":                "3",
		"enable_seqscan":                      "off",
		"jit":                                 "off",
	} {
		if got := settings[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	got := column[string](t, connect(t, url), `select application_name from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`)
	if diff := cmp.Diff([]string{"test"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	bitcoin := postgres.Stream{Name: "blockchain_events:bitcoin", Mode: postgres.ModeFeed, Chain: "bitcoin"}
	anything := postgres.Stream{Name: "blockchain_events", Mode: postgres.ModeOpen}
	for _, stream := range []postgres.Stream{bitcoin, anything, bitcoin} {
		if err := store.RegisterStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]postgres.Stream{anything, bitcoin}, got); diff != "" {
		t.Error(diff)
	}
	wrong := map[string]postgres.Stream{
		"another chain": {Name: bitcoin.Name, Mode: postgres.ModeFeed, Chain: "ethereum"},
		"another mode":  {Name: bitcoin.Name, Mode: postgres.ModeOpen},
		"unknown mode":  {Name: "x", Mode: "closed"},
		"no chain":      {Name: "x", Mode: postgres.ModeFeed},
		"no name":       {Mode: postgres.ModeOpen},
	}
	for name, stream := range wrong {
		if err := store.RegisterStream(t.Context(), stream); !errors.Is(err, postgres.ErrStream) {
			t.Errorf("%s: got %v, want %v", name, err, postgres.ErrStream)
		}
	}
}
