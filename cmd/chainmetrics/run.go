package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const runListHelp = `List runs, those first that something has happened to last. A run computes one window of a metric
from archived events, compares that with what the stream has made of it, and puts right what
differs, which should be nothing. It computes one that is made of a query by that, and one that is
derived from the metrics that it depends on.

The state is queued, running, succeeded, failed, or skipped where the archive does not have the
window. The reason is due, history (older than its metric), backfill or cleared (a person has
asked), reverted, late, passed (its function was moved over it), imported, corrected (a smaller
window was), dependency (all that it is derived from is final).

Output: "table" is for people and may change. "json" is a list of objects such as "run show" gives.`

func (a *app) runCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "run",
		Short:   "See what was computed from the archive, and have it computed again",
		Example: "  chainmetrics run list\n  chainmetrics run list btc_fees --state failed\n  chainmetrics run retry --metric btc_fees",
	})
	cmd.AddCommand(a.runListCommand(), a.runShowCommand(), a.runRetryCommand(), a.runClearCommand())
	return cmd
}

func (a *app) runListCommand() *cobra.Command {
	var output string
	query := postgres.RunQuery{}
	states := []string{
		string(runner.Queued), string(runner.Running), string(runner.Succeeded), string(runner.Failed), string(runner.Skipped),
	}
	cmd := &cobra.Command{
		Use:               "list [METRIC]",
		Short:             "List the newest runs",
		Long:              runListHelp,
		Example:           "  chainmetrics run list\n  chainmetrics run list btc_fees --bucket daily --state failed --output json",
		Args:              upToOneMetric,
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if query.Most < 1 {
				return usage(cmd, "--limit %d: at least 1 is expected", query.Most)
			}
			if query.Size != "" {
				if _, err := bucket.ParseSize(query.Size); err != nil {
					return usage(cmd, "--bucket: %w", err)
				}
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if query.Metric, err = a.namedMetric(cmd.Context(), store, args); err != nil {
				return err
			}
			runs, err := store.Runs(cmd.Context(), query)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, shownRuns(runs))
			}
			return a.listRuns(runs)
		},
	}
	cmd.Flags().StringVarP(&query.Size, "bucket", "b", "", "only those of this bucket `size`")
	cmd.Flags().StringVar(&query.State, "state", "", "only those in this `state`")
	cmd.Flags().IntVar(&query.Most, "limit", 50, "at most this `number`")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	complete(cmd, "state", states)
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

func (a *app) listRuns(runs []postgres.Run) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(a.errors, "no such runs")
		return err
	}
	t := &table{columns: []column{
		{name: "run", right: true},
		{name: "metric"},
		{name: "bucket"},
		{name: "window"},
		{name: "chain"},
		{name: "reason"},
		{name: "state"},
		{name: "attempt", right: true},
		{name: "finished"},
		{name: "observations", right: true},
		{name: "buckets", right: true},
		{name: "changes", right: true},
		{name: "error"},
	}}
	count := func(n *int64) string {
		if n == nil {
			return ""
		}
		return grouped(*n)
	}
	for _, r := range runs {
		finished, failure := "", ""
		if r.FinishedAt != nil {
			finished = r.FinishedAt.UTC().Format(time.DateTime)
		}
		if r.Error != nil {
			failure = printable(*r.Error)
		}
		t.add(strconv.FormatInt(r.ID, 10), r.Metric, r.Size, r.Start.UTC().Format("2006-01-02 15:04"), r.Chain, r.Reason, r.State,
			strconv.Itoa(r.Attempt), finished, count(r.Observations), count(r.Buckets), count(r.Changes), failure)
	}
	return t.write(a.out, styleOf(a.out), "")
}
