package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const importHelp = `Import into the archive what lies below the end of a stream and never came by it: older blocks,
those of a loss that was accepted, rows that were forgotten. What lies above is for feed. FILE is as for "chainmetrics
feed", with the same flags; a folder, or a file *.dat, has the block files of Bitcoin Core.

What the archive has already is known by its content, so that an import that was interrupted is simply started once
more. Runs of the windows concerned are queued with what is imported; the functions carry them out, tick by tick, and
the windows are final again when they are done. The streams go on.

A block has to fit between those that the archive has. Where all blocks of an accepted loss are there, nothing is lost
any more. What is older than the archive's retention keeps is refused.`

// importFlags is what the flags of import say.
type importFlags struct {
	rows    rowFlags
	set     string
	stream  string
	heights string
	network string
	inputs  bool
	dryRun  bool

	files       bool   // of rows; otherwise block files
	first, last uint64 // the heights
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Add to the archive what a stream did not bring",
		Long:  importHelp,
		Example: `  chainmetrics import blocks/ --heights 120000-120500
  chainmetrics import --etl --chain ethereum blocks.csv transactions.csv logs.csv --dry-run
  chainmetrics import forgotten.csv --chain ethereum --type punk_sale --time timestamp_utc --block block`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "FILE is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// The first signal ends the import after what is under way.
			ctx, restore := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer restore()
			context.AfterFunc(ctx, restore)
			cmd.SetContext(ctx)
			return a.importFiles(cmd, args, f)
		},
	}
	flags := cmd.Flags()
	f.rows.add(cmd)
	flags.StringVar(&f.set, "set", "", setHelp)
	flags.StringVar(&f.stream, "stream", "", "`name` of the stream, where it is no feed's")
	flags.StringVar(&f.heights, "heights", "", "of block files, only the blocks `first-last`")
	flags.StringVar(&f.network, "network", "mainnet", "of block files: mainnet, testnet3, testnet4, signet, regtest")
	flags.BoolVar(&f.inputs, "input-values", true, "of block files: know the values of inputs, as the feed does by default")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only tell what would be imported")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("stream", a.completeStreams))
	return cmd
}

// read checks the flags, and completes what they say.
func (f *importFlags) read(cmd *cobra.Command, paths []string) (err error) {
	f.files = !isBlockFiles(paths)
	for _, flag := range []string{"heights", "network", "input-values"} {
		if f.files && cmd.Flags().Changed(flag) {
			return usage(cmd, "--%s is about block files: FILE is a folder of them, or *.dat", flag)
		}
	}
	named := f.stream
	if f.files {
		if err := f.rows.read(cmd); err != nil {
			return err
		}
		if named == "" {
			f.stream, err = f.rows.stream(cmd, f.set)
		}
		return err
	}
	f.rows.events.Chain = cmp.Or(f.rows.events.Chain, "bitcoin")
	f.stream = cmp.Or(named, "blockchain_events:"+f.rows.events.Chain)
	f.first, f.last = 0, math.MaxUint64
	if f.heights == "" {
		return nil
	}
	first, last, found := strings.Cut(f.heights, "-")
	var errFirst, errLast error
	f.first, errFirst = strconv.ParseUint(first, 10, 63)
	f.last, errLast = strconv.ParseUint(last, 10, 63)
	if !found || errFirst != nil || errLast != nil || f.first > f.last {
		return usage(cmd, "--heights %q: first-last is expected", f.heights)
	}
	return nil
}

func (a *app) importFiles(cmd *cobra.Command, paths []string, f importFlags) error {
	if err := f.read(cmd, paths); err != nil {
		return err
	}
	ctx := cmd.Context()
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	screen := newScreen(a.errors, a.now)
	i := &archive.Import{Store: store, Stream: f.stream, DryRun: f.dryRun}
	return screen.phase("import", func() (string, error) {
		filled, err := a.importAll(ctx, store, i, paths, f, screen)
		text := importText(i, filled)
		switch {
		case ctx.Err() != nil:
			return "", advise(fmt.Errorf("interrupted: %s", text), "the same command goes on from here")
		case errors.Is(err, archive.ErrNothingArchived):
			return "", advise(err, "what lies above the end of a stream is fed: %s", a.command("feed", "--help"))
		case err != nil:
			return "", advise(fmt.Errorf("import %s: %w", f.stream, err), "before that: %s", text)
		}
		return text, nil
	})
}

// importAll imports everything, also what comes before something that is wrong. It gives how many holes were filled.
func (a *app) importAll(
	ctx context.Context, store *postgres.Store, i *archive.Import, paths []string, f importFlags, screen *screen,
) (filled int64, err error) {
	source, err := a.openImport(ctx, store, paths, f)
	if err != nil {
		return 0, err
	}
	defer source.Close() //nolint:errcheck // it was only read
	for {
		entry, refuse, err := source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return i.Close(ctx)
		}
		if err != nil {
			return 0, errors.Join(err, i.Flush(ctx))
		}
		if err := i.Add(ctx, entry, refuse); err != nil {
			return 0, err
		}
		done, total := source.Progress()
		screen.progress(done, total, importText(i, 0))
	}
}

// importText tells what an import has done, or would do.
func importText(i *archive.Import, filled int64) string {
	done, c := "imported", i.Counts
	if i.DryRun {
		done = "to be imported"
	}
	text := plural(int(c.Imported), "entry", "entries") + " " + done
	if c.Known > 0 {
		text += ", " + grouped(c.Known) + " known"
	}
	if c.Beyond > 0 {
		text += ", " + grouped(c.Beyond) + " left to the feed"
	}
	if filled > 0 {
		text += ", " + plural(int(filled), "hole", "holes") + " filled"
	}
	return text
}
