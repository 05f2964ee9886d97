// Package postgres is the store: definitions, buckets, progress, troubles.
package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

// schemaVersion is the migration that this package needs. Later ones keep what it uses: docs/releases.md.
const schemaVersion = 27

// ErrOutdated says that the database lacks migrations. Nothing works until they are applied.
var ErrOutdated = errors.New("the database lacks migrations: run chainmetrics migrate")

// SQLSTATE codes that have a meaning of their own here.
const (
	undefinedTable  = "42P01"
	checkViolation  = "23514" // also: no partition for a row
	uniqueViolation = "23505"

	deadlockDetected = "40P01"
)

// Store is a pool of connections to the database. It is safe for use by any number of goroutines.
type Store struct {
	pool       *pgxpool.Pool
	partitions remembered[partition]
	months     remembered[month]
	owners     owners
}

var (
	_ aggregate.Store = (*Store)(nil)
	_ archive.Store   = (*Store)(nil)
)

// Open prepares a store. It does not connect: a server that is away is met by the calls that need it, each of which
// returns an error then and works again once the server is back.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	settings, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	store := &Store{}
	settings.AfterConnect = func(context.Context, *pgx.Conn) error {
		store.owners.forget()
		store.partitions.forget()
		store.months.forget()
		return nil
	}
	if store.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	return store, nil
}

// Close waits for the calls that are under way, then closes all connections.
func (s *Store) Close() { s.pool.Close() }

// Ping tells whether the store can be used. It fails with [ErrOutdated] where migrations are missing.
func (s *Store) Ping(ctx context.Context) error {
	var version int32
	err := s.pool.QueryRow(ctx, "select version from schema_version").Scan(&version)
	switch {
	case hasCode(err, undefinedTable):
		return fmt.Errorf("%w (it has none)", ErrOutdated)
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	case version < schemaVersion:
		return fmt.Errorf("%w (it has %d of %d)", ErrOutdated, version, schemaVersion)
	}
	return nil
}

func hasCode(err error, code string) bool {
	var failure *pgconn.PgError
	return errors.As(err, &failure) && failure.Code == code
}
