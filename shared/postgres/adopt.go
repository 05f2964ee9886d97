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
	metrics, err := readMetrics(ctx, conn, nil, metric.DecodeDefinition)
	if err != nil {
		return err
	}
	batch, adopted := &pgx.Batch{}, make([]archive.Imported, len(forgotten))
	for i, hash := range forgotten {
		entry := entries[slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Hash == hash })]
		adopted[i].Entry = entry
		for _, event := range entry.Events {
			batch.Queue(forgetEvent, entry.Chain, event.Type, entry.Time, stream, event.Fields)
		}
	}
	queueImportedRuns(batch, metrics, adopted)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("forget what was imported: %w", err)
	}
	return nil
}
