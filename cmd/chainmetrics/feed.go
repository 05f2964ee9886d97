package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/load"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// feedFlags is what the flags of feed say.
type feedFlags struct {
	rows   rowFlags
	set    string
	stream string // its name, which the others tell
	limit  int64
	covers coversFlags
}

func (a *app) feedCommand() *cobra.Command {
	var f feedFlags
	cmd := &cobra.Command{
		Use:   "feed FILE...",
		Short: "Append the rows of files to a stream, one event each",
		Long: `Append the rows of files to a stream, one event each. FILE is CSV with a line of column names, or
JSON lines; gzip or zstd may have compressed it; - is standard input. Of several files the rows
follow each other.

Every column becomes a field of the event, under its own name; empty values are left out. What the
stream has already is compared and not added again, so that a feed that was interrupted is simply
started once more. Ids are made of the block number, or else the time, and of the order within it: a
row whose id the stream has with other content is refused, as is one that would have to be put
before others. Definitions reach the fields as event.NAME.

With --etl the files are exports of ethereum-etl or bitcoin-etl, in any order: blocks, transactions,
logs, token transfers, each with the names of its columns. They are joined into one entry for each
block, in the stream of the chain.

Rows do not tell whether others are missing. --covers-from and --covers-to say that the stream has
everything of that interval once the files are fed, --every-height that each block of it has rows:
"chainmetrics coverage" then tells empty windows from missing ones.`,
		Example: `  chainmetrics feed sales.csv.gz --chain ethereum --type punk_sale --time timestamp_utc --block block
  chainmetrics feed events.csv --chain ethereum --set pool --type-column tx_type --time block_timestamp --block block_number --order log_index
  chainmetrics feed --etl --chain ethereum blocks.csv transactions.csv logs.csv token_transfers.csv
  zstdcat births.csv.zst | chainmetrics feed - --format csv --sort --chain ethereum --type kitty_birth --time birth_time_utc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "FILE is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.feed(cmd, args, f) },
	}
	flags := cmd.Flags()
	f.rows.add(cmd)
	flags.StringVar(&f.set, "set", "", setHelp)
	f.covers.add(cmd)
	flags.Int64Var(&f.limit, "limit", 100_000, "`entries` that functions may be behind; then the feed waits")
	return cmd
}

// read checks the flags, and completes what they say.
func (f *feedFlags) read(cmd *cobra.Command, now time.Time) (err error) {
	if err := f.rows.read(cmd); err != nil {
		return err
	}
	if err := f.covers.read(cmd, f.rows, now); err != nil {
		return err
	}
	if f.limit < 1 {
		return usage(cmd, "--limit %d: at least 1 is expected", f.limit)
	}
	f.stream, err = f.rows.stream(cmd, f.set)
	return err
}

func (a *app) feed(cmd *cobra.Command, paths []string, f feedFlags) error {
	if err := f.read(cmd, a.now()); err != nil {
		return err
	}
	ctx := cmd.Context()
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := a.openRedis(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // what was appended was answered
	stream := postgres.Stream{Name: f.stream, Mode: postgres.ModeFeed, Chain: f.rows.events.Chain}
	if err := store.RegisterStream(ctx, stream); err != nil {
		return err
	}
	screen, size := newScreen(a.errors, a.now), sizeOf(paths)
	files := f.rows.files(a, paths, func(ctx context.Context, number uint64) (hash string, err error) {
		tell := func(what string) { screen.progress(0, size, what) }
		err = load.Persist(ctx, tell, func() (err error) {
			hash, err = parentOf(ctx, client, stream.Name, number)
			return err
		})
		return hash, err
	})
	cfg := load.Config{
		Stream: stream.Name,
		Limit:  f.limit,
		Once:   slices.Contains(paths, "-"),
		Open:   files.Open,
		Marks: func(ctx context.Context) ([]watermark.Mark, error) {
			functions, _, err := readers(ctx, client, store, stream.Name)
			return postgres.MarksOf(functions), err
		},
		Report: func(p load.Progress) { screen.progress(files.Read(), size, feedText(p)) },
	}
	return screen.phase("feed", func() (string, error) {
		done, err := load.Run(ctx, cfg, client)
		text := fmt.Sprintf("%s to %s", feedText(done), stream.Name)
		switch {
		case errors.Is(err, context.Canceled):
			return "", advise(fmt.Errorf("interrupted: %s", text), "the same command goes on from here")
		case err != nil:
			return "", fmt.Errorf("feed %s: %w", stream.Name, err)
		}
		return text, f.covers.declare(ctx, store, client, stream.Name)
	})
}

// parentOf gives the hash of a block of the stream, empty where the stream does not have it.
func parentOf(ctx context.Context, client *redisstream.Client, stream string, number uint64) (string, error) {
	id := events.ID{Minor: number + 1}
	found, err := client.Range(ctx, stream, id, id, 1)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].ContentHash(), nil
}

func feedText(p load.Progress) string {
	text := plural(int(p.Added), "row", "rows") + " added"
	if p.Known > 0 {
		text += ", " + grouped(p.Known) + " known"
	}
	if p.Note != "" {
		text += "; " + p.Note
	}
	return text
}
