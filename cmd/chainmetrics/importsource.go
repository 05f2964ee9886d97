package main

import (
	"context"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/events/feed/load"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// importSource gives what is imported, in the order of ids.
type importSource interface {
	// Next gives an entry, and what makes errors about it; [io.EOF] after the last.
	Next(ctx context.Context) (events.Entry, archive.Refuse, error)
	// Progress tells how far it is; total is 0 where that is not known.
	Progress() (done, total int64)
	Close() error
}

func (a *app) openImport(ctx context.Context, store *postgres.Store, paths []string, f importFlags) (importSource, error) {
	if !f.files {
		cfg := bitcoin.Config{Files: paths[0], Network: f.network, InputValues: f.inputs}
		return a.openBlockFiles(ctx, cfg, f.rows.events.Chain, f.first, f.last)
	}
	parent := func(ctx context.Context, number uint64) (string, error) {
		return store.BlockHash(ctx, f.stream, number)
	}
	files := f.rows.files(a, paths, parent)
	opened, err := files.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &importedRows{Entries: opened, files: files, size: sizeOf(paths)}, nil
}

// importedRows are rows of files.
type importedRows struct {
	load.Entries
	files files
	size  int64
}

func (r *importedRows) Next(context.Context) (events.Entry, archive.Refuse, error) {
	entry, row, err := r.Entries.Next()
	return entry, row.Refuse, err
}

func (r *importedRows) Progress() (done, total int64) { return r.files.Read(), r.size }
