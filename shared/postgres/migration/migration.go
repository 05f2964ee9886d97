// Package migration brings a database to the schema that this build needs.
package migration

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

// minServer is the oldest PostgreSQL that the schema works on, in the form of server_version_num.
const minServer = 150000

// versionTable holds the number of the newest migration that a database has. postgres.Store.Ping reads it too.
const versionTable = "schema_version"

var (
	// ErrNewer says that the database belongs to a newer build. Nothing was changed, and this build never changes it.
	ErrNewer = errors.New("the database is newer than this program: use the release that migrated it, or a later one")
	// ErrServer says that the server cannot hold the schema.
	ErrServer = errors.New("unsupported database server")
	// ErrUnreachable says that there is no connection to the database; there may be one later.
	ErrUnreachable = errors.New("connect to migrate")
)

//go:embed *.sql
var files embed.FS

//go:embed after/roles.sql
var roles string

// Run applies what a database lacks, each migration in a transaction of its own, and gives the versions before and after:
// the number of the last migration applied, 0 for an empty database. It also makes the role under which queries of metrics run, where
// that is missing or may not do what it should. Runs at the same time wait for each other. Where one
// migration fails, those before it stay; its error names it. It fails with [ErrNewer], [ErrServer] and
// [ErrUnreachable].
func Run(ctx context.Context, url string) (from, to int32, err error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, conn.Close(closing))
	}()
	if err := checkServer(ctx, conn); err != nil {
		return 0, 0, err
	}

	if err := waitForOthers(ctx, conn); err != nil {
		return 0, 0, err
	}
	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return 0, 0, fmt.Errorf("prepare migration: %w", err)
	}
	if err := migrator.LoadMigrations(files); err != nil {
		return 0, 0, fmt.Errorf("read migrations: %w", err)
	}
	if from, err = migrator.GetCurrentVersion(ctx); err != nil {
		return 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	if latest := Latest(); from > latest {
		return from, from, fmt.Errorf("%w: it is at version %d, this program knows %d", ErrNewer, from, latest)
	}
	if err := migrator.Migrate(ctx); err != nil {
		return from, from, fmt.Errorf("migrate from version %d: %w", from, describe(err))
	}
	if _, err := conn.Exec(ctx, roles); err != nil {
		return from, Latest(), fmt.Errorf("make the role of queries: %w", describe(err))
	}
	return from, Latest(), nil
}

// Latest is the version that [Run] leads to.
func Latest() int32 {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic("migration: " + err.Error()) // the pattern is a constant
	}
	return int32(len(names)) //nolint:gosec // a handful of embedded files
}

// Hash identifies what [Run] leads to: the SHA-256 of all migrations, and of what follows them, in hex.
func Hash() string {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic("migration: " + err.Error()) // the pattern is a constant
	}
	sum := sha256.New()
	for _, name := range names { // sorted by Glob
		text, err := files.ReadFile(name)
		if err != nil {
			panic("migration: " + err.Error()) // embedded
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	sum.Write([]byte(roles))
	return hex.EncodeToString(sum.Sum(nil))
}

func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database's URL cannot be read: want postgres://user:password@host:port/database")
	}
	cfg.RuntimeParams["application_name"] = "chainmetrics migrate"
	cfg.RuntimeParams["lock_timeout"] = "10s" // who waits for a table makes everybody behind it wait
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["client_min_messages"] = "warning"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return conn, nil
}

func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var name, encoding string
	const query = `select current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding')`
	if err := conn.QueryRow(ctx, query).Scan(&version, &name, &encoding); err != nil {
		return fmt.Errorf("read server version: %w", err)
	}
	if version < minServer {
		return fmt.Errorf("%w: PostgreSQL %s, want %d or newer", ErrServer, name, minServer/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: the database's encoding is %s, want UTF8", ErrServer, encoding)
	}
	return nil
}

// waitForOthers takes a lock that ends with the connection. The wait has no limit but the context's, unlike that for the
// tables, in whose queue everybody else would stand.
func waitForOthers(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local lock_timeout = 0"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "select pg_advisory_lock(hashtextextended('chainmetrics migrate', 0))")
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	return nil
}

// describe adds the hint and the place that PostgreSQL gives for an error in a migration.
func describe(err error) error {
	var failure *pgconn.PgError
	if !errors.As(err, &failure) {
		return err
	}
	if failure.Detail != "" {
		err = fmt.Errorf("%w: %s", err, failure.Detail)
	}
	if failure.Hint != "" {
		err = fmt.Errorf("%w (%s)", err, failure.Hint)
	}
	return err
}
