package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const backfillHelp = `Compute windows of a metric from archived events: such as were before the metric was defined, or such as are doubted.

Runs of the windows are queued, then carried out here, with whatever else is queued of the metric's type and the bucket sizes;
the functions, which tick by tick do the same, may help. Interrupted, it leaves the rest to them, or to the next call: what is
queued stays queued. The stream goes on meanwhile.

The exit status is 1 where runs have failed for good.`

// errRunsFailed says that some windows could not be computed.
var errRunsFailed = errors.New("runs have failed")

// backfillFlags is what the command line asks of backfill.
type backfillFlags struct {
	buckets  []string
	from, to string
	detach   bool
}

func (a *app) backfillCommand() *cobra.Command {
	var f backfillFlags
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
			return a.backfill(cmd, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.buckets, "bucket", "b", nil, "bucket `size`; repeatable (default: all that the metric has)")
	flags.StringVar(&f.from, "from", "", "windows that contain or follow this `time`: "+timeHelp+" (default: the first event)")
	flags.StringVar(&f.to, "to", "", "windows that begin before this `time` (default: the last event)")
	flags.BoolVar(&f.detach, "detach", false, "only queue the runs")
	complete(cmd, "bucket", sizeNames(bucket.Sizes()))
	return cmd
}

func (a *app) backfill(cmd *cobra.Command, name string, f backfillFlags) error {
	ctx := cmd.Context()
	from, errFrom := parseTime(f.from, a.now())
	to, errTo := parseTime(f.to, a.now())
	if err := errors.Join(errFrom, errTo); err != nil {
		return usage(cmd, "%w", err)
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	m, err := store.Metric(ctx, name)
	if err != nil {
		return a.unknownMetric(err)
	}
	sizes := m.Definition.BucketSizes
	if len(f.buckets) > 0 {
		if sizes, err = sizesOf(m, f.buckets); err != nil {
			return usage(cmd, "%w", err)
		}
	}
	first, last, err := store.EventTimes(ctx, m)
	if err != nil {
		return advise(err, "see how far the archive has got: %s", a.command("status"))
	}
	if from.IsZero() {
		from = first.Add(-m.Definition.Skew())
	}
	if to.IsZero() {
		to = last.Add(m.Definition.Skew()).Add(time.Microsecond)
	}
	b := &backfilling{app: a, store: store, metric: m, from: from, to: to, screen: newScreen(a.errors, a.now)}
	for _, size := range sizes {
		if err := b.request(ctx, size); err != nil {
			return err
		}
	}
	if f.detach {
		return nil
	}
	for _, size := range sizes {
		if err := b.work(ctx, size); err != nil {
			return err
		}
	}
	if b.failed > 0 {
		return advise(fmt.Errorf("%w: %d", errRunsFailed, b.failed), "see why: %s", a.command("run", "list", name, "--state", "failed"))
	}
	return nil
}

// sizesOf reads bucket sizes that a metric must have.
func sizesOf(m postgres.RegisteredMetric, names []string) ([]bucket.Size, error) {
	sizes := make([]bucket.Size, len(names))
	for i, name := range names {
		size, err := bucket.ParseSize(name)
		if err != nil {
			return nil, fmt.Errorf("--bucket: %w", err)
		}
		if !slices.Contains(m.Definition.BucketSizes, size) {
			return nil, fmt.Errorf("--bucket: %s has no %s buckets: it has %s", m.Definition.Name, size,
				strings.Join(sizeNames(m.Definition.BucketSizes), ", "))
		}
		sizes[i] = size
	}
	return sizes, nil
}

// backfilling is a backfill under way.
type backfilling struct {
	app      *app
	store    *postgres.Store
	metric   postgres.RegisteredMetric
	from, to time.Time
	screen   *screen
	failed   int64
}

func (b *backfilling) request(ctx context.Context, size bucket.Size) error {
	return b.screen.phase("queue", func() (string, error) {
		n, err := b.store.RequestRuns(ctx, b.metric, size, b.from, b.to)
		return fmt.Sprintf("%s %s", grouped(n), size), err
	})
}

// stride is how long runs are carried out between two looks at how many there are.
const stride = time.Second

// work carries out runs until none is left that can be begun now.
func (b *backfilling) work(ctx context.Context, size bucket.Size) error {
	at := slices.IndexFunc(functions.Types, func(t aggregate.Type) bool { return t.Definitions().Name == b.metric.Definition.Type })
	if at < 0 {
		return fmt.Errorf("no function computes metrics of type %s", b.metric.Definition.Type)
	}
	return b.screen.phase(size.String(), func() (string, error) {
		for {
			done, err := runner.Work(ctx, functions.Types[at], b.store, size, stride, runner.CodeVersion())
			if err != nil {
				return "", err
			}
			counts, err := b.store.CountRuns(ctx, b.metric, size, b.from, b.to)
			if err != nil {
				return "", err
			}
			open := counts[runner.Queued] + counts[runner.Running]
			total := counts[runner.Succeeded] + counts[runner.Skipped] + counts[runner.Failed] + open
			text := fmt.Sprintf("%s of %s runs", grouped(total-open), grouped(total))
			if done == 0 || open == 0 {
				b.failed += counts[runner.Failed]
				return b.result(counts, open), nil
			}
			b.screen.progress(total-open, total, text)
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
