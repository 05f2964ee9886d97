package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// coversFlags is what flags say of the interval that a feed's stream holds.
type coversFlags struct {
	timeRange

	everyHeight bool
	declaration coverage.Declaration // zero: nothing is said
}

func (f *coversFlags) add(cmd *cobra.Command) {
	f.timeRange.add(cmd, "covers-", "`time` from which on the stream has everything, once the files are fed",
		"`time` up to which, itself excluded, it has everything")
	cmd.Flags().BoolVar(&f.everyHeight, "every-height", false, "each block of the interval has rows: a height without is a hole")
}

// read checks the flags.
func (f *coversFlags) read(cmd *cobra.Command, rows rowFlags, now time.Time) error {
	if err := f.timeRange.read(now); err != nil {
		return usage(cmd, "%w", err)
	}
	switch {
	case (f.fromText == "") != (f.toText == ""):
		return usage(cmd, "--covers-from and --covers-to belong together")
	case f.everyHeight && f.fromText == "":
		return usage(cmd, "--every-height: of which interval say --covers-from and --covers-to")
	case f.everyHeight && rows.etl:
		return usage(cmd, "--every-height: the blocks of --etl tell that by themselves")
	case f.everyHeight && rows.events.Block == "":
		return usage(cmd, "--every-height: name the column of the block number with --block")
	case f.fromText == "":
		return nil
	case f.to.After(now):
		return usage(cmd, "--covers-to %s has still to come", f.toText)
	}
	f.declaration = coverage.Declaration{From: f.from, To: f.to, EveryHeight: f.everyHeight}
	return nil
}

// declare records it, for everything up to where the stream ends now.
func (f *coversFlags) declare(ctx context.Context, store *postgres.Store, client *redisstream.Client, stream string) error {
	if f.fromText == "" {
		return nil
	}
	info, err := client.Info(ctx, stream)
	if err != nil {
		return err
	}
	return store.DeclareCoverage(ctx, stream, f.declaration, info.Last)
}
