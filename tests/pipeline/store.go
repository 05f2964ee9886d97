package pipeline

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// Store opens the store of a database until the test ends.
func Store(t testing.TB, database string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{
		URL: database, ApplicationName: "test", PoolSize: 2,
		ConnectTimeout: 5 * time.Second, StatementTimeout: time.Minute, LockTimeout: time.Minute,
		IdleTimeout: time.Minute, TCPTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// Database opens connections to a database until the test ends.
func Database(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Redis opens a client until the test ends.
func Redis(t testing.TB, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() }) // nothing is under way
	return client
}

// Apply puts definitions into the registry.
func Apply(t testing.TB, store *postgres.Store, file string, text []byte) []metric.Definition {
	t.Helper()
	definitions, err := metric.Parse(file, text, functions.Definitions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.ApplyMetrics(t.Context(), definitions); err != nil {
		t.Fatal(err)
	}
	return definitions
}

// ApplyExamples puts the example metrics into the registry.
func ApplyExamples(t testing.TB, store *postgres.Store) []metric.Definition {
	t.Helper()
	files, err := fs.Glob(examples.Metrics, "metrics/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []metric.Definition
	for _, file := range files {
		text, err := fs.ReadFile(examples.Metrics, file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Apply(t, store, file, text)...)
	}
	return all
}

// Watermark gives how far a function has applied a stream, 0-0 where it has not begun. It enters nothing.
func Watermark(t testing.TB, database *pgxpool.Pool, function, stream string) events.ID {
	t.Helper()
	var text string
	const query = "select entry_id from stream_watermarks where function = $1 and stream = $2"
	err := database.QueryRow(t.Context(), query, function, stream).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return events.ID{}
	}
	if err != nil {
		t.Fatalf("read watermark: %v", err)
	}
	id, err := events.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
