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

const runListHelp = `List runs, those first that something has happened to last. A run computes one window of a metric from archived events,
compares that with what the stream has made of it, and puts right what differs, which should be nothing.

The state is queued, running, succeeded, failed, or skipped where the archive does not have the window.

Output: "table" is for people and may change. "json" is a list of objects; what is not known yet is null. Times are RFC 3339.`

func (a *app) runCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "run",
		Short:   "See what was computed from the archive",
		Example: "  chainmetrics run list\n  chainmetrics run list btc_fees --state failed",
	})
	cmd.AddCommand(a.runListCommand())
	return cmd
}

func (a *app) runListCommand() *cobra.Command {
	var output string
	query := postgres.RunQuery{}
	states := []string{
		string(runner.Queued), string(runner.Running), string(runner.Succeeded), string(runner.Failed), string(runner.Skipped),
	}
	cmd := &cobra.Command{
		Use:     "list [METRIC]",
		Short:   "List the newest runs",
		Long:    runListHelp,
		Example: "  chainmetrics run list\n  chainmetrics run list btc_fees --bucket daily --state failed --output json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "unexpected argument %q after METRIC", args[1])
			}
			return nil
		},
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
			if len(args) == 1 {
				if _, err := store.Metric(cmd.Context(), args[0]); err != nil {
					return a.unknownMetric(err)
				}
				query.Metric = args[0]
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
	complete(cmd, "bucket", sizeNames(bucket.Sizes()))
	complete(cmd, "state", states)
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownRun is the JSON form of a run.
type shownRun struct {
	ID                int64      `json:"id"`
	Metric            string     `json:"metric"`
	BucketSize        string     `json:"bucket_size"`
	BucketStart       time.Time  `json:"bucket_start"`
	Chain             string     `json:"chain"`
	Reason            string     `json:"reason"`
	State             string     `json:"state"`
	Attempt           int        `json:"attempt"`
	RequestedAt       time.Time  `json:"requested_at"`
	StartedAt         *time.Time `json:"started_at"`
	FinishedAt        *time.Time `json:"finished_at"`
	Observations      *int64     `json:"observations"`
	Buckets           *int64     `json:"buckets"`
	Changes           *int64     `json:"changes"`
	Error             *string    `json:"error"`
	DefinitionVersion *int64     `json:"definition_version"`
	CodeVersion       *string    `json:"code_version"`
}

func shownRuns(runs []postgres.Run) []shownRun {
	utc := func(t *time.Time) *time.Time {
		if t == nil {
			return nil
		}
		return new(t.UTC())
	}
	shown := make([]shownRun, len(runs))
	for i, r := range runs {
		shown[i] = shownRun{
			ID: r.ID, Metric: r.Metric, BucketSize: r.Size, BucketStart: r.Start.UTC(), Chain: r.Chain, Reason: r.Reason, State: r.State,
			Attempt: r.Attempt, RequestedAt: r.RequestedAt.UTC(), StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
			Observations: r.Observations, Buckets: r.Buckets, Changes: r.Changes, Error: r.Error,
			DefinitionVersion: r.DefinitionVersion, CodeVersion: r.CodeVersion,
		}
	}
	return shown
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
