package migration_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	url := harness.PostgresServer(t).URL()
	latest := migration.Latest()
	var mu sync.Mutex
	var applied int32
	var work sync.WaitGroup
	for range 3 { // at the same time: each migration is applied once
		work.Go(func() {
			from, to, err := migration.Run(t.Context(), url)
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
	if from, to, err := migration.Run(t.Context(), url); err != nil || from != latest || to != latest {
		t.Errorf("again: got version %d to %d, %v", from, to, err)
	}

	conn, err := pgx.Connect(t.Context(), url)
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
	if from, to, err := migration.Run(t.Context(), url); !errors.Is(err, migration.ErrNewer) || from != to {
		t.Errorf("newer database: got version %d to %d, %v", from, to, err)
	}
}

func TestRunOnAForeignDatabase(t *testing.T) {
	t.Parallel()
	url := harness.PostgresServer(t).URL()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // of no consequence
	if _, err := conn.Exec(t.Context(), "create table streams (mine int)"); err != nil {
		t.Fatal(err)
	}
	_, _, err = migration.Run(t.Context(), url)
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
	for _, url := range []string{
		"postgres://user:s3cr3t@127.0.0.1:1/db?sslmode=disable",
		"postgres://user:s3cr3t%zz@host/db",
		"postgres://user:s3cr3t/x@host:y/db",
		"s3cr3t",
	} {
		_, _, err := migration.Run(t.Context(), url)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	if got := migration.Hash(); len(got) != 64 || got != migration.Hash() {
		t.Errorf("got %q", got)
	}
}
