package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/config"
	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

const upHelp = `Run everything on this machine: PostgreSQL and Redis, functions, sources, schedules, and a feed of real Bitcoin blocks;
then show the newest buckets and serve until SIGINT or SIGTERM. A second signal ends everything at once.

What runs, with which variables, and who sends to whom is what the manifests of config/overlays/local say, which this
program has with it: Services, SinkBindings, PingSources, Triggers. The schedules of metrics come from the registry, as the
planner has them in a cluster: those of a metric that is applied meanwhile run within a minute.

Private servers live in the data directory and listen on sockets that only this user can open. Where a flag or the
environment names a server, that one is used instead. Started again, everything goes on where it was: nothing is
written twice. The example metrics are applied where no metric is registered yet, and never come back by themselves.

The sample chain, blocks 0 to 14131 of Bitcoin mainnet, comes from the Go module cache and is downloaded where it is
not there yet. Programs are looked for beside this one; "make build" makes them. Logs are in DATA-DIR/logs.

With --once no schedule runs, and the exit status is 0 when all that was fed has been applied, and 1 where that cannot
be.`

// errStopped says that up --once was asked to stop too early.
var errStopped = errors.New("stopped before everything fed was applied")

// upFlags is what the command line asks of up.
type upFlags struct {
	once    bool
	noFeed  bool
	blocks  string
	metrics []string
}

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything on this machine, with real Bitcoin blocks",
		Long:  upHelp,
		Example: `  chainmetrics up
  chainmetrics up --once                                   load the sample chain, then stop
  chainmetrics up --blocks ~/.bitcoin/blocks               your own node's block files
  chainmetrics up --metrics metrics.yaml --no-feed         your own metrics; something else feeds the stream`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.noFeed && f.blocks != "" {
				return usage(cmd, "--blocks and --no-feed exclude each other")
			}
			// The first signal drains; from then on a second one has its usual, immediate effect.
			ctx, restore := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer restore()
			context.AfterFunc(ctx, restore)
			return a.up(ctx, f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.once, "once", false, "stop when everything fed has been applied")
	flags.BoolVar(&f.noFeed, "no-feed", false, "feed nothing: something else writes to the stream")
	flags.StringVar(&f.blocks, "blocks", "", "Bitcoin Core block files: a `file`, a directory of blk*.dat, or a glob (default: the sample chain)")
	flags.StringArrayVar(&f.metrics, "metrics", nil, "`file` or directory of metrics to apply, whatever is registered (default: the examples, where nothing is); repeatable")
	return cmd
}

// up runs the local system until ctx is done or, with --once, until everything is applied.
func (a *app) up(ctx context.Context, f upFlags) (err error) {
	definitions, err := a.upDefinitions(f.metrics)
	if err != nil {
		return err
	}
	wired, err := localWiring()
	if err != nil {
		return err
	}
	paths, err := programs(f.programs(wired))
	if err != nil {
		return err
	}
	directory, err := a.openDataDirectory()
	if err != nil {
		return err
	}
	defer directory.close()

	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &localSystem{
		app: a, flags: f, definitions: definitions, wiring: wired, programs: paths, directory: directory,
		screen: newScreen(a.out, a.now), fail: fail,
	}
	err = s.run(running)
	if ctx.Err() != nil {
		err = nil // asked to stop
		if f.once {
			err = errStopped
		}
	}
	return errors.Join(err, s.stop(context.WithoutCancel(ctx), ctx.Err() != nil))
}

// localWiring reads what to run from the manifests for a small cluster.
func localWiring() (*wiring.Wiring, error) {
	manifests, err := config.Render("local")
	if err != nil {
		return nil, err
	}
	return wiring.Read(manifests)
}

// programs names the programs to run.
func (f upFlags) programs(w *wiring.Wiring) []string {
	var names []string
	for _, function := range w.Functions {
		if function.Program != planner.Name { // up does its work
			names = append(names, function.Program)
		}
	}
	for _, source := range w.Sources {
		names = append(names, source.Program)
	}
	if !f.noFeed {
		names = append(names, w.Feed.Program)
	}
	return names
}

// upDefinitions reads the metrics to apply: those of files, else the examples.
func (a *app) upDefinitions(files []string) ([]metric.Definition, error) {
	if len(files) > 0 {
		return a.readDefinitions(files)
	}
	sources, err := readFolder(examples.Metrics, "metrics")
	if err != nil {
		return nil, fmt.Errorf("read example metrics: %w", err)
	}
	return parseDefinitions(sources)
}

// blockFiles finds the files to feed, and describes them.
func (f upFlags) blockFiles(ctx context.Context) (files, description string, err error) {
	if f.blocks == "" {
		file, err := examples.SampleChain(ctx)
		return file, "Bitcoin mainnet, blocks 0 to 14131", err
	}
	files, err = filepath.Abs(f.blocks)
	if err != nil {
		return "", "", fmt.Errorf("find block files: %w", err)
	}
	// A glob, or a file, is what it matches; a directory matches itself.
	found, err := filepath.Glob(files)
	if err == nil && len(found) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", "", fmt.Errorf("find block files %s: %w", f.blocks, err)
	}
	return files, filepath.Base(files), nil
}
