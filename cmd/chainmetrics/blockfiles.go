package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

// isBlockFiles tells whether a folder or a block file is named.
func isBlockFiles(paths []string) bool {
	info, err := os.Stat(paths[0])
	return len(paths) == 1 && (err == nil && info.IsDir() || filepath.Ext(paths[0]) == ".dat")
}

// blockFiles are blocks of the block files of Bitcoin Core, as entries of their chain's stream, by height.
type blockFiles struct {
	chain             *bitcoin.Chain
	name              string // of the chain
	now               func() time.Time
	first, next, last uint64 // heights
}

// openBlockFiles opens the blocks from one height to another, both included, as far as the files have them.
func (a *app) openBlockFiles(ctx context.Context, cfg bitcoin.Config, name string, first, last uint64) (*blockFiles, error) {
	chain, err := bitcoin.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	first, last = max(first, chain.First()), min(last, chain.Tip())
	return &blockFiles{chain: chain, name: name, now: a.now, first: first, next: first, last: last}, nil
}

func (b *blockFiles) Next(ctx context.Context) (events.Entry, archive.Refuse, error) {
	if b.next > b.last {
		return events.Entry{}, fmt.Errorf, io.EOF
	}
	block, err := b.chain.Read(ctx, b.next)
	if err != nil {
		return events.Entry{}, fmt.Errorf, fmt.Errorf("read block %d: %w", b.next, err)
	}
	event := block.Event()
	event.Chain = b.name
	entry, err := events.NewBlockEntry(events.ID{Minor: b.next + 1}, event, b.now())
	b.next++
	return entry, fmt.Errorf, err
}

func (b *blockFiles) Progress() (done, total int64) {
	return int64(b.next - b.first), int64(b.last - b.first + 1) //nolint:gosec // heights
}

func (b *blockFiles) Close() error { return b.chain.Close() }
