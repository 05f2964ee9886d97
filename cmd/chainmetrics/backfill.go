package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const backfillHelp = `Compute windows of a metric from archived events, by its query or from the metrics that it depends on:
such as were before the metric was defined, or such as are doubted. For one window, with its values before and after, there is "metric run"; to
take back at once that windows are final, "run clear".

Runs of the windows are queued, then carried out here, with whatever else is queued of the metric
and the bucket sizes; the functions, which tick by tick do the same, may help. Interrupted, it
leaves the rest to them, or to the next call: what is queued stays queued. The stream goes on
meanwhile.

The exit status is 1 where runs have failed for good.`

// errRunsFailed says that some windows could not be computed.
var errRunsFailed = errors.New("runs have failed")

// errPaused says that the runs of a metric are not begun.
var errPaused = errors.New("the metric is paused: its runs are not begun")

func (a *app) backfillCommand() *cobra.Command {
	var (
		f      windowFlags
		detach bool
	)
	cmd := &cobra.Command{
		Use:   "backfill METRIC",
		Short: "Compute windows of a metric from archived events",
		Long:  backfillHelp,
		Example: `  chainmetrics backfill btc_fees
  chainmetrics backfill btc_fees --bucket daily --from 2009-01 --to 2009-03
  chainmetrics backfill btc_fees --detach`,
		Args:              oneArg("METRIC"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			// The first signal gives back what has been begun.
			ctx, restore := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer restore()
			context.AfterFunc(ctx, restore)
			cmd.SetContext(ctx)
			return a.backfill(cmd, args[0], f, detach)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&detach, "detach", false, "only queue the runs")
	return cmd
}

func (a *app) backfill(cmd *cobra.Command, name string, f windowFlags, detach bool) error {
	if err := f.read(a.now()); err != nil {
		return usage(cmd, "%w", err)
	}
	ctx := cmd.Context()
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	w, err := a.windows(cmd, store, name, f)
	if err != nil {
		return err
	}
	if w.metric.PausedAt != nil && !detach {
		return advise(fmt.Errorf("%s: %w", name, errPaused), "first: %s\nor queue the runs until then, with --detach",
			a.command("metric", "resume", name))
	}
	if err := checkConnection(w.metric.Definition); err != nil && !detach {
		return advise(err, "set it, or have the functions run it, with --detach")
	}
	b := &backfilling{app: a, store: store, windows: w, screen: newScreen(a.errors, a.now)}
	if err := store.RequestHistory(ctx, w.metric.Definition.Type, a.now()); err != nil {
		return err
	}
	for _, size := range w.sizes {
		if err := b.request(ctx, size); err != nil {
			return err
		}
	}
	if detach {
		return nil
	}
	for _, size := range w.sizes {
		if err := b.work(ctx, size); err != nil {
			return err
		}
	}
	if b.failed > 0 {
		return advise(fmt.Errorf("%w: %d", errRunsFailed, b.failed), "see why: %s", a.command("run", "list", name, "--state", "failed"))
	}
	return nil
}

// backfilling is a backfill under way.
type backfilling struct {
	app     *app
	store   *postgres.Store
	windows windows
	screen  *screen
	failed  int64
}

func (b *backfilling) request(ctx context.Context, size bucket.Size) error {
	return b.screen.phase("queue", func() (string, error) {
		n, err := b.store.RequestRuns(ctx, b.windows.metric, size, b.windows.from, b.windows.to)
		return fmt.Sprintf("%s %s", grouped(n), size), err
	})
}

// stride is how long runs are carried out between two looks at how many there are.
const stride = time.Second

// work carries out runs until none is left that can be begun now.
func (b *backfilling) work(ctx context.Context, size bucket.Size) error {
	kind, err := typeOf(b.windows.metric)
	if err != nil {
		return err
	}
	return b.screen.phase(size.String(), func() (string, error) {
		for {
			queue := runner.Queue{Size: size, Metric: b.windows.metric.Definition.Name}
			done, err := runner.Work(ctx, kind, b.store, []runner.Queue{queue}, stride, runner.CodeVersion())
			if err != nil {
				return "", err
			}
			counts, err := b.store.CountRuns(ctx, b.windows.metric, size, b.windows.from, b.windows.to)
			if err != nil {
				return "", err
			}
			open := counts[runner.Queued] + counts[runner.Running]
			total := counts[runner.Succeeded] + counts[runner.Skipped] + counts[runner.Failed] + open
			text := fmt.Sprintf("%s of %s runs", grouped(total-open), grouped(total))
			if open == 0 || done == 0 && counts[runner.Running] == 0 {
				b.failed += counts[runner.Failed]
				return b.result(counts, open), nil
			}
			b.screen.progress(total-open, total, text)
			if done > 0 {
				continue
			}
			select { // the functions do it
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(stride):
			}
		}
	})
}

// result tells how the runs stand.
func (b *backfilling) result(counts map[runner.State]int64, open int64) string {
	parts := []string{grouped(counts[runner.Succeeded]) + " succeeded"}
	for _, state := range []runner.State{runner.Skipped, runner.Failed} {
		if counts[state] > 0 {
			parts = append(parts, grouped(counts[state])+" "+string(state))
		}
	}
	if open > 0 {
		parts = append(parts, grouped(open)+" to be tried again later")
	}
	return strings.Join(parts, ", ")
}
