package migration_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestKeysKeepTheirOrder: an index whose order comes from the operating system's or ICU's collations is broken by their
// upgrades, and a key then has two rows. The database of the test has such a collation where the server knows ICU.
func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	address := harness.Database(t)
	conn := connect(t, address)
	var knowsICU bool
	if err := conn.QueryRow(t.Context(), "select exists (select from pg_collation where collprovider = 'i')").Scan(&knowsICU); err != nil {
		t.Fatal(err)
	}
	if knowsICU {
		const name = "test_of_icu"
		execute(t, conn, "create database "+name+" template template0 encoding utf8 locale_provider icu icu_locale 'en-US'")
		t.Cleanup(func() {
			if _, err := connect(t, address).Exec(context.WithoutCancel(t.Context()), "drop database "+name+" with (force)"); err != nil {
				t.Error(err)
			}
		})
		location, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		location.Path = "/" + name
		if _, _, err := migration.Run(t.Context(), location.String()); err != nil {
			t.Fatal(err)
		}
		conn = connect(t, location.String())
	}
	if wrong := texts(t, conn, `select i.indexrelid::regclass || '.' || a.attname
		from pg_index i
		join pg_class c on c.oid = i.indexrelid and c.relnamespace = 'public'::regnamespace
		join pg_attribute a on a.attrelid = i.indexrelid
		left join pg_collation l on l.oid = a.attcollation
		where a.atttypid = 'jsonb'::regtype or l.collname <> 'C'`); len(wrong) > 0 {
		t.Errorf("the order depends on a collation in %q", wrong)
	}
	execute(t, conn, "select add_metrics_data_partition('daily', 'metrics_data_daily', 'metrics_data_daily_2000s', '2000-01-01Z', '2010-01-01Z')")
	for _, dimensions := range []string{`{"to":"é"}`, `{"to":"B"}`, `{"to":"a"}`, `{}`} {
		execute(t, conn, `insert into metrics_data
			(metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, state)
			values (1, 'daily', '2009-01-03Z', '2009-01-04Z', 'bitcoin', $1, 1, '')`, dimensions)
	}
	got := texts(t, conn, "select dimensions from metrics_data order by dimensions")
	if want := []string{`{"to":"B"}`, `{"to":"a"}`, `{"to":"é"}`, `{}`}; !slices.Equal(got, want) {
		t.Errorf("the order is %q, want that of bytes, %q", got, want)
	}
	for _, dimensions := range []string{`{`, `["a"]`, `null`} {
		_, err := conn.Exec(t.Context(), `insert into metrics_data
			(metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, state)
			values (1, 'daily', '2009-01-03Z', '2009-01-04Z', 'bitcoin', $1, 1, '')`, dimensions)
		if err == nil {
			t.Errorf("%s was stored as dimensions", dimensions)
		}
	}
}

// connect gives a connection until the test ends.
func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.WithoutCancel(t.Context()), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // of no consequence
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string, arguments ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement, arguments...); err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRun(t *testing.T) {
	t.Parallel()
	address := harness.PostgresServer(t).URL()
	latest := migration.Latest()
	var mu sync.Mutex
	var applied int32
	var work sync.WaitGroup
	for range 3 { // at the same time: each migration is applied once
		work.Go(func() {
			from, to, err := migration.Run(t.Context(), address)
			if err != nil || to != latest {
				t.Errorf("got version %d to %d, %v", from, to, err)
			}
			mu.Lock()
			defer mu.Unlock()
			applied += to - from
		})
	}
	work.Wait()
	if applied != latest {
		t.Errorf("%d migrations were applied, want %d", applied, latest)
	}
	if from, to, err := migration.Run(t.Context(), address); err != nil || from != latest || to != latest {
		t.Errorf("again: got version %d to %d, %v", from, to, err)
	}

	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // of no consequence
	uncommented, err := conn.Query(t.Context(), `select c.oid::regclass::text from pg_class c
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
		and c.relname <> 'schema_version' and obj_description(c.oid) is null`)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := pgx.CollectRows(uncommented, pgx.RowTo[string]); err != nil || len(names) > 0 {
		t.Errorf("without a comment: %v, %v", names, err)
	}
	if _, err := conn.Exec(t.Context(), "update schema_version set version = version + 1"); err != nil {
		t.Fatal(err)
	}
	if from, to, err := migration.Run(t.Context(), address); !errors.Is(err, migration.ErrNewer) || from != to {
		t.Errorf("newer database: got version %d to %d, %v", from, to, err)
	}
}

func TestRunOnAForeignDatabase(t *testing.T) {
	t.Parallel()
	address := harness.PostgresServer(t).URL()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // of no consequence
	if _, err := conn.Exec(t.Context(), "create table streams (mine int)"); err != nil {
		t.Fatal(err)
	}
	_, _, err = migration.Run(t.Context(), address)
	if err == nil || !strings.Contains(err.Error(), `001_stream_metrics.sql`) || !strings.Contains(err.Error(), `"streams" already exists`) {
		t.Errorf("got %v", err)
	}
	var tables int
	if err := conn.QueryRow(t.Context(), "select count(*) from pg_class where relname like 'metric%'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("%d tables are left behind", tables)
	}
}

func TestRunDoesNotShowThePassword(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://user:s3cr3t@127.0.0.1:1/db?sslmode=disable",
		"postgres://user:s3cr3t%zz@host/db",
		"postgres://user:s3cr3t/x@host:y/db",
		"s3cr3t",
	} {
		_, _, err := migration.Run(t.Context(), address)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	if got := migration.Hash(); len(got) != 64 || got != migration.Hash() {
		t.Errorf("got %q", got)
	}
}
