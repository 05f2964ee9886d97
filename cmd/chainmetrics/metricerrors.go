package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func (a *app) metricErrorsCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "errors [NAME]",
		Short: "Show what metrics could not count",
		Long: `Show what metrics could not count, by reason, each with an entry that has such an event: events for which a metric could not
be evaluated, and observations whose dimensions found no room in a window. Other metrics are not concerned.`,
		Example: "  chainmetrics metric errors\n  chainmetrics metric errors btc_fees --output json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneArg("NAME")(cmd, args)
		},
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if len(args) == 1 {
				if _, err := store.Metric(cmd.Context(), args[0]); err != nil {
					return a.unknownMetric(err)
				}
			}
			troubles, err := store.Troubles(cmd.Context())
			if err != nil {
				return err
			}
			failures := slices.DeleteFunc(troubles.MetricErrors, func(m postgres.MetricTrouble) bool {
				return len(args) == 1 && m.Metric != args[0]
			})
			if output == outputJSON {
				return writeJSON(a.out, shownErrors(failures))
			}
			return a.listMetricErrors(failures)
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownError is the JSON form of a metric error.
type shownError struct {
	Metric    string    `json:"metric"`
	Stream    string    `json:"stream"`
	Reason    string    `json:"reason"`
	Count     int64     `json:"count"`
	Sample    events.ID `json:"sample"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

func shownErrors(failures []postgres.MetricTrouble) []shownError {
	shown := make([]shownError, len(failures))
	for i, m := range failures {
		shown[i] = shownError{m.Metric, m.Stream, m.Reason, m.Count, m.Sample, m.FirstSeen.UTC(), m.LastSeen.UTC()}
	}
	return shown
}

func (a *app) listMetricErrors(failures []postgres.MetricTrouble) error {
	if len(failures) == 0 {
		_, err := fmt.Fprintln(a.errors, "no metric errors: every metric counts everything")
		return err
	}
	t := &table{columns: []column{
		{name: "metric"},
		{name: "times", right: true},
		{name: "stream"},
		{name: "such as in", right: true},
		{name: "last seen"},
		{name: "reason"},
	}}
	for _, m := range failures {
		t.add(m.Metric, grouped(m.Count), printable(m.Stream), m.Sample.String(), m.LastSeen.UTC().Format(time.DateTime),
			printable(m.Reason))
	}
	return t.write(a.out, styleOf(a.out), "")
}
