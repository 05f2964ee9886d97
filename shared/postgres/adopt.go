package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/forget_imported.sql
	forgetImported string
	//go:embed sql/forget_event.sql
	forgetEvent string
)

// adopt puts flat entries that the stream has brought in the place of those that were imported before, and requests runs of their
// windows, in which functions may have counted both. The row of the archive is locked. Blocks come once: what a stream brings
// lies above what is imported.
func adopt(ctx context.Context, conn *pgx.Conn, stream string, entries []archive.Entry) error {
	var hashes []string
	for _, e := range entries {
		if e.Height < 0 && len(e.Events) > 0 {
			hashes = append(hashes, e.Hash)
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	rows, err := conn.Query(ctx, forgetImported, stream, hashes)
	if err != nil {
		return fmt.Errorf("forget what was imported: %w", err)
	}
	forgotten, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(forgotten) == 0 {
		return err
	}
	if _, err := conn.Exec(ctx, lockStream, stream); err != nil { // no run begins before the commit, as in an import
		return fmt.Errorf("lock the stream's functions: %w", err)
	}
	batch, adopted := &pgx.Batch{}, make([]archive.Entry, len(forgotten))
	for i, hash := range forgotten {
		adopted[i] = entries[slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Hash == hash })]
		for _, event := range adopted[i].Events {
			batch.Queue(forgetEvent, adopted[i].Chain, event.Type, adopted[i].Time, stream, event.Fields)
		}
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("forget what was imported: %w", err)
	}
	return requestWindows(ctx, conn, adopted)
}

// requestWindows takes finality from the windows of entries that the archive has not got in their order, and requests runs of them.
func requestWindows(ctx context.Context, conn *pgx.Conn, entries []archive.Entry) error {
	metrics, err := readMetrics(ctx, conn, nil, metric.DecodeDefinition)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	queueImportedRuns(batch, metrics, entries)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("request runs: %w", err)
	}
	return nil
}
