package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const checkListHelp = `List the windows that fail a check of their metric's definition, those first of which it was found
last. A window that fails a check of severity warn is final all the same, one that fails one of
severity block stays provisional.

A window is checked when it is computed after everything has come to it. It is no longer listed when
a later run finds that it passes. What comes late, is imported or reverted has its window computed
again; so does applying a definition whose checks are others.

Output: "table" is for people and may change. "json" is a list of objects with metric, bucket_size,
bucket_start, chain, check, severity, message, run (null: none has found it), failed_at.`

// severities are how grave failed checks are.
var severities = []string{events.SeverityWarn, events.SeverityBlock}

func (a *app) checkCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "check",
		Short:   "See which windows fail checks of their metrics",
		Example: "  chainmetrics check list --severity block",
	})
	cmd.AddCommand(a.checkListCommand())
	return cmd
}

func (a *app) checkListCommand() *cobra.Command {
	var (
		output string
		query  postgres.CheckFailureQuery
	)
	cmd := &cobra.Command{
		Use:               "list [METRIC]",
		Short:             "List the windows that fail checks",
		Long:              checkListHelp,
		Example:           "  chainmetrics check list\n  chainmetrics check list btc_fees --bucket daily --severity block --output json",
		Args:              upToOneMetric,
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch _, err := bucket.ParseSize(query.Size); {
			case query.Most < 1:
				return usage(cmd, "--limit %d: at least 1 is expected", query.Most)
			case query.Size != "" && err != nil:
				return usage(cmd, "--bucket: %w", err)
			case query.Severity != "" && !slices.Contains(severities, query.Severity):
				return usage(cmd, "--severity %q: want one of %s", query.Severity, strings.Join(severities, ", "))
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if query.Metric, err = a.namedMetric(cmd.Context(), store, args); err != nil {
				return err
			}
			failures, err := store.CheckFailures(cmd.Context(), query)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, shownFailures(failures))
			}
			return a.listFailures(failures)
		},
	}
	cmd.Flags().StringVarP(&query.Size, "bucket", "b", "", "only those of this bucket `size`")
	cmd.Flags().StringVar(&query.Severity, "severity", "", "only those of this `severity`: warn or block")
	cmd.Flags().IntVar(&query.Most, "limit", 100, "at most this `number`")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	complete(cmd, "severity", severities)
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownFailure is the JSON form of a failed check; the command's help documents it.
type shownFailure struct {
	Metric   string    `json:"metric"`
	Size     string    `json:"bucket_size"`
	Start    time.Time `json:"bucket_start"`
	Chain    string    `json:"chain"`
	Check    string    `json:"check"`
	Severity string    `json:"severity"`
	Message  string    `json:"message"`
	Run      *int64    `json:"run"`
	At       time.Time `json:"failed_at"`
}

func shownFailures(failures []postgres.CheckFailure) []shownFailure {
	shown := make([]shownFailure, len(failures))
	for i, f := range failures {
		shown[i] = shownFailure{f.Metric, f.Size, f.Start.UTC(), f.Chain, f.Check, f.Severity, f.Message, f.Run, f.At.UTC()}
	}
	return shown
}

func (a *app) listFailures(failures []postgres.CheckFailure) error {
	if len(failures) == 0 {
		_, err := fmt.Fprintln(a.errors, "no failed checks: every window that was checked passes")
		return err
	}
	t := &table{columns: []column{
		{name: "failed"},
		{name: "metric"},
		{name: "bucket"},
		{name: "window"},
		{name: "chain"},
		{name: "run", right: true},
		{name: "severity"},
		{name: "check"},
		{name: "message"},
	}}
	for _, f := range failures {
		run := ""
		if f.Run != nil {
			run = strconv.FormatInt(*f.Run, 10)
		}
		t.add(f.At.UTC().Format(time.DateTime), f.Metric, f.Size, f.Start.UTC().Format("2006-01-02 15:04"), f.Chain, run, f.Severity,
			printable(f.Check), printable(f.Message))
	}
	if err := t.write(a.out, styleOf(a.out), ""); err != nil {
		return err
	}
	newest := failures[0]
	_, err := fmt.Fprintf(a.errors, "put the data right and have the window computed again, the first one by\n  %s\n"+
		"or change the definition's checks and apply it:\n  %s\n",
		a.command("metric", "run", newest.Metric, "--bucket", newest.Size, "--from", newest.Start.UTC().Format(time.RFC3339)),
		a.command("metric", "apply", "-f", "FILE"))
	return err
}
