package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const runRetryHelp = `Queue the windows of runs once more that have failed, or were skipped: those of the runs that are
named or, with --metric or --state, those whose newest run is in that state. METRIC is a flag here,
since arguments are runs.

The functions carry the new runs out, tick by tick. They have the reason of the old ones, which
stay. What is queued already is not queued twice; where it waits for another attempt, it waits no
longer.`

func (a *app) runRetryCommand() *cobra.Command {
	var (
		metric, state string
		yes           bool
	)
	cmd := &cobra.Command{
		Use:   "retry [RUN...]",
		Short: "Queue the windows of failed runs once more",
		Long:  runRetryHelp,
		Example: `  chainmetrics run retry 4711
  chainmetrics run retry --metric btc_fees
  chainmetrics run retry --state skipped --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			selects := cmd.Flags().Changed("metric") || cmd.Flags().Changed("state")
			switch {
			case len(args) == 0 && !selects:
				return usage(cmd, "RUN is missing, or --metric, or --state")
			case len(args) > 0 && selects:
				return usage(cmd, "RUN and --metric or --state exclude each other")
			case state != string(runner.Failed) && state != string(runner.Skipped):
				return usage(cmd, "--state %q: want %s or %s", state, runner.Failed, runner.Skipped)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := runNumbers(cmd, args)
			if err != nil {
				return err
			}
			if len(args) == 0 && metric == "" {
				question := fmt.Sprintf("Queue the windows of all metrics whose newest run is %s?", state)
				if err := a.confirm(question, yes); err != nil {
					return err
				}
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			queued, err := a.retry(cmd, store, ids, metric, runner.State(state))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s queued\n", plural(int(queued), "window is", "windows are"))
			return err
		},
	}
	cmd.Flags().StringVar(&metric, "metric", "", "those of the `metric` of this name")
	cmd.Flags().StringVar(&state, "state", string(runner.Failed), "those in this `state`: failed, skipped")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	complete(cmd, "state", []string{string(runner.Failed), string(runner.Skipped)})
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("metric", func(cmd *cobra.Command, _ []string, text string) (
		[]string, cobra.ShellCompDirective,
	) {
		return a.completeMetrics(cmd, nil, text)
	}))
	return cmd
}

func (a *app) retry(cmd *cobra.Command, store *postgres.Store, ids []int64, metric string, state runner.State) (int64, error) {
	if len(ids) == 0 {
		if metric != "" {
			if _, err := store.Metric(cmd.Context(), metric); err != nil {
				return 0, a.unknownMetric(err)
			}
		}
		return store.RetryEnded(cmd.Context(), metric, state)
	}
	queued, err := store.RetryRuns(cmd.Context(), ids)
	if errors.Is(err, postgres.ErrNoRetry) {
		return 0, advise(err, "compute windows again, whatever came of them: %s", a.command("backfill", "METRIC"))
	}
	return queued, a.unknownRun(err)
}
