package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// SQLSTATE codes of what a template must not do.
const (
	queryCanceled         = "57014"
	insufficientPrivilege = "42501"
	readOnlyTransaction   = "25006"
)

// Rows runs the query of a metric for the windows of a rebuild, in one snapshot.
func (s *Store) Rows(
	ctx context.Context, rebuild aggregate.Rebuild, check func([]metric.Column) error, each func(time.Time, map[string]any) error,
) (err error) {
	ctx, traced := startRebuildSpan(ctx, "query", rebuild)
	defer func() { traced.Done(err) }()
	return s.inTemplate(ctx, *rebuild.Definition.Calculation.SQL, func(q templateQuery) error {
		columns, err := q.columns(ctx)
		if err != nil {
			return err
		}
		if err := check(columns); err != nil {
			return err
		}
		for _, key := range rebuild.Windows {
			window := key.Size.Window(key.Start)
			if err := q.limit(ctx); err != nil { // whatever the last one has set
				return err
			}
			err := q.rows(ctx, window, key.Chain, func(row map[string]any) error { return each(window.Start, row) })
			if err != nil {
				return fmt.Errorf("%s: %w", window.Start.Format(time.RFC3339), err)
			}
		}
		return nil
	})
}

// templateQuery is a query in its read-only transaction.
type templateQuery struct {
	metric.SQL

	tx pgx.Tx
}

// inTemplate connects to where a query runs, and begins a transaction that is always rolled back, on a connection that is always closed:
// whatever the query does to its session ends there.
func (s *Store) inTemplate(ctx context.Context, sql metric.SQL, do func(templateQuery) error) error {
	cfg, err := s.templateConfig(sql.Connection)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	switch {
	case err != nil && sql.Connection != "":
		return fmt.Errorf("%w %s: %w", ErrNoConnection, sql.Connection, err)
	case err != nil:
		return fmt.Errorf("query: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(closing)
	}()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	q := templateQuery{sql, tx}
	err = q.limit(ctx)
	if err == nil {
		err = do(q)
	}
	if err != nil {
		return queryError(err)
	}
	return nil
}

// closeTime is how long saying goodbye to a server may take.
const closeTime = time.Second

// limit has the server end what lasts longer than the context, also where this process ends before.
func (q templateQuery) limit(ctx context.Context) error {
	until, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	_, err := q.tx.Exec(ctx, "set local statement_timeout = "+milliseconds(max(time.Until(until), time.Millisecond)))
	return err
}

// ErrNoConnection says that a connection has no URL here, or cannot be reached.
var ErrNoConnection = errors.New("no connection")

// ConnectionVariable is the variable of the environment that has the URL of a named connection.
func ConnectionVariable(name string) string { return "CONNECTION_" + strings.ToUpper(name) }

// templateConfig says where the queries of a connection run: those of none where the buckets are.
func (s *Store) templateConfig(connection string) (*pgx.ConnConfig, error) {
	if connection == "" {
		cfg := s.pool.Config().ConnConfig
		delete(cfg.RuntimeParams, "enable_seqscan") // nothing keeps its plans
		return cfg, nil
	}
	variable := ConnectionVariable(connection)
	location := os.Getenv(variable)
	if location == "" {
		return nil, fmt.Errorf("%w %s: set %s to its URL", ErrNoConnection, connection, variable)
	}
	cfg, err := pgx.ParseConfig(location)
	if err != nil { // its text may have parts of a password
		return nil, fmt.Errorf("%s cannot be read: want postgres://user:password@host:port/database", variable)
	}
	cfg.RuntimeParams["standard_conforming_strings"] = "on" // by which templates are read
	cfg.ConnectTimeout = s.pool.Config().ConnConfig.ConnectTimeout
	for _, name := range []string{"application_name", "timezone", "lock_timeout"} {
		if _, said := cfg.RuntimeParams[name]; !said {
			cfg.RuntimeParams[name] = s.pool.Config().ConnConfig.RuntimeParams[name]
		}
	}
	return cfg, nil
}

// columns asks what the query gives. It is not run for that.
func (q templateQuery) columns(ctx context.Context) ([]metric.Column, error) {
	described, err := q.tx.Prepare(ctx, "", "select * from ("+q.Statement()+"\n) t")
	if err != nil {
		return nil, err
	}
	columns := make([]metric.Column, len(described.Fields))
	for i, field := range described.Fields {
		columns[i].Name = field.Name
		if t, ok := q.tx.Conn().TypeMap().TypeForOID(field.DataTypeOID); ok {
			columns[i].Type = t.Name
		}
	}
	return columns, nil
}

// rows runs the query for a window.
func (q templateQuery) rows(ctx context.Context, window bucket.Window, chain string, each func(map[string]any) error) error {
	rows, err := q.run(ctx, window, chain, q.MaxRows+1)
	if err != nil {
		return err
	}
	n := 0
	var encoded []byte
	_, err = pgx.ForEachRow(rows, []any{&encoded}, func() error {
		if n++; n > q.MaxRows {
			return fmt.Errorf("it gives more than %d rows: select less, or raise max_rows", q.MaxRows)
		}
		if encoded == nil {
			return errors.New("it gives a row of more than 1 MiB: select less")
		}
		decoder := json.NewDecoder(bytes.NewReader(encoded))
		decoder.UseNumber()
		var row map[string]any
		if err := decoder.Decode(&row); err != nil {
			return err
		}
		return each(row)
	})
	return err
}

func (q templateQuery) run(ctx context.Context, window bucket.Window, chain string, most int) (pgx.Rows, error) {
	if q.Connection == "" {
		return q.tx.Query(ctx, "select query_template($1, $2, $3, $4, $5)", q.Statement(), window.Start, window.End, chain, most)
	}
	// It need not use all of its parameters, of which the number is fixed.
	const condition = "$1::timestamptz is not null and $2::timestamptz is not null and $3::text is not null"
	statement := fmt.Sprintf(`select case when pg_column_size(j) <= 1048576 then j end
		from (select to_jsonb(t) as j from (%s
		) t where %s limit %d) r`, q.Statement(), condition, most)
	return q.tx.Query(ctx, statement, window.Start, window.End, chain)
}

// CheckQuery fails where the query of a definition cannot be run, or gives other columns than the definition needs. It computes nothing.
// It fails with [ErrNoConnection] where that is to be seen elsewhere only.
func (s *Store) CheckQuery(ctx context.Context, sql metric.SQL, check func([]metric.Column) error) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return s.inTemplate(ctx, sql, func(q templateQuery) error {
		columns, err := q.columns(ctx)
		if err != nil {
			return err
		}
		if err := check(columns); err != nil {
			return err
		}
		rows, err := q.run(ctx, bucket.Window{}, "", 0)
		if err == nil {
			rows.Close()
			err = rows.Err()
		}
		return err
	})
}

// checkTime is how long checking a query may take.
const checkTime = 10 * time.Second

// queryError says what is wrong with a query, and what to do.
func queryError(err error) error {
	advice := ""
	switch {
	case hasCode(err, queryCanceled):
		advice = ": it took longer than it may: make it cheaper, or raise execution_timeout"
	case hasCode(err, insufficientPrivilege):
		advice = ": it may read blocks, transactions, logs, token_transfers and archived_events; for others grant them to chainmetrics_sql"
	case hasCode(err, readOnlyTransaction):
		advice = ": a query may only read"
	}
	return fmt.Errorf("query: %w%s", err, advice)
}
