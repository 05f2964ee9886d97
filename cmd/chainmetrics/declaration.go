package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// coversFlags is what flags say of the interval that a feed's stream holds.
type coversFlags struct {
	from, to    string
	everyHeight bool
	declaration coverage.Declaration // zero: nothing is said
}

func (f *coversFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.from, "covers-from", "", "`time` from which on the stream has everything, once the files are fed")
	flags.StringVar(&f.to, "covers-to", "", "`time` up to which, excluded")
	flags.BoolVar(&f.everyHeight, "every-height", false, "each block of the interval has rows: a height without is a hole")
}

// read checks the flags.
func (f *coversFlags) read(cmd *cobra.Command, rows rowFlags, now time.Time) error {
	from, errFrom := parseTime(f.from, now)
	to, errTo := parseTime(f.to, now)
	if err := errors.Join(errFrom, errTo); err != nil {
		return usage(cmd, "%w", err)
	}
	switch {
	case (f.from == "") != (f.to == ""):
		return usage(cmd, "--covers-from and --covers-to belong together")
	case f.everyHeight && f.from == "":
		return usage(cmd, "--every-height: of which interval say --covers-from and --covers-to")
	case f.everyHeight && rows.etl:
		return usage(cmd, "--every-height: the blocks of --etl tell that by themselves")
	case f.everyHeight && rows.events.Block == "":
		return usage(cmd, "--every-height: name the column of the block number with --block")
	case f.from == "":
		return nil
	case !from.Before(to):
		return usage(cmd, "--covers-from %s is not before --covers-to %s", f.from, f.to)
	case to.After(now):
		return usage(cmd, "--covers-to %s has still to come", f.to)
	}
	f.declaration = coverage.Declaration{From: from, To: to, EveryHeight: f.everyHeight}
	return nil
}

// declare records it, for everything up to where the stream ends now.
func (f *coversFlags) declare(ctx context.Context, store *postgres.Store, client *redisstream.Client, stream string) error {
	if f.from == "" {
		return nil
	}
	info, err := client.Info(ctx, stream)
	if err != nil {
		return err
	}
	return store.DeclareCoverage(ctx, stream, f.declaration, info.Last)
}
