package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

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
		chain, err := bitcoin.Open(ctx, cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		first, last := max(f.first, chain.First()), min(f.last, chain.Tip())
		return &importedBlocks{app: a, chain: chain, name: f.rows.events.Chain, first: first, next: first, last: last}, nil
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

// importedBlocks are blocks of block files.
type importedBlocks struct {
	app               *app
	chain             *bitcoin.Chain
	name              string
	first, next, last uint64
}

func (b *importedBlocks) Next(ctx context.Context) (events.Entry, archive.Refuse, error) {
	if b.next > b.last {
		return events.Entry{}, fmt.Errorf, io.EOF
	}
	block, err := b.chain.Read(ctx, b.next)
	if err != nil {
		return events.Entry{}, fmt.Errorf, fmt.Errorf("read block %d: %w", b.next, err)
	}
	event := block.Event()
	event.Chain = b.name
	entry, err := events.NewBlockEntry(events.ID{Minor: b.next + 1}, event, b.app.now())
	b.next++
	return entry, fmt.Errorf, err
}

func (b *importedBlocks) Progress() (done, total int64) {
	return int64(b.next - b.first), int64(b.last - b.first + 1) //nolint:gosec // heights
}

func (b *importedBlocks) Close() error { return b.chain.Close() }
