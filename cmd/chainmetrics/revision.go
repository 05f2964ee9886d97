package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const revisionListHelp = `List revisions: the changes of what buckets showed, from the first time on that their windows were
final. What was published by a moment is shown by "chainmetrics query --as-of".

The reason is late (the stream has brought an event after its window was final), reverted (a reorganisation), imported
(history was imported), definition (the metric calculates otherwise), cleared (a person had it
computed again), or drift (a bucket was not the state of its events, and nothing explains that).

--from and --to take windows that begin in [from, to), in UTC.

Output: "table" is for people and may change. "json" is a list of objects with revision, metric,
bucket_size, bucket_start, chain, dimensions, reason, run (null: the stream), old_value and
new_value (exact, therefore strings; null: no bucket), old_value_json, new_value_json, revised_at.`

// revisionReasons are why buckets are revised.
var revisionReasons = []string{"late", "reverted", "imported", "definition", "cleared", "drift"}

func (a *app) revisionCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "revision",
		Short:   "See how published values have changed",
		Example: "  chainmetrics revision list btc_fees --bucket daily",
	})
	cmd.AddCommand(a.revisionListCommand())
	return cmd
}

func (a *app) revisionListCommand() *cobra.Command {
	var (
		output string
		times  timeRange
		query  postgres.RevisionQuery
	)
	cmd := &cobra.Command{
		Use:               "list [METRIC]",
		Short:             "List the newest revisions",
		Long:              revisionListHelp,
		Example:           "  chainmetrics revision list\n  chainmetrics revision list btc_fees --bucket daily --reason late --output json",
		Args:              upToOneMetric,
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch _, err := bucket.ParseSize(query.Size); {
			case query.Most < 1:
				return usage(cmd, "--limit %d: at least 1 is expected", query.Most)
			case query.Size != "" && err != nil:
				return usage(cmd, "--bucket: %w", err)
			case query.Reason != "" && !slices.Contains(revisionReasons, query.Reason):
				return usage(cmd, "--reason %q: want one of %s", query.Reason, strings.Join(revisionReasons, ", "))
			}
			if err := times.read(a.now()); err != nil {
				return usage(cmd, "%w", err)
			}
			query.From, query.To = times.from, times.to
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if query.Metric, err = a.namedMetric(cmd.Context(), store, args); err != nil {
				return err
			}
			revisions, err := store.Revisions(cmd.Context(), query)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, shownRevisions(revisions))
			}
			return a.listRevisions(revisions)
		},
	}
	cmd.Flags().StringVarP(&query.Size, "bucket", "b", "", "only those of this bucket `size`")
	cmd.Flags().StringVar(&query.Reason, "reason", "", "only those for this `reason`")
	times.add(cmd, "", "first `time` of a window, included", "last `time`, excluded")
	cmd.Flags().IntVar(&query.Most, "limit", 50, "at most this `number`")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	complete(cmd, "reason", revisionReasons)
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownRevision is the JSON form of a revision; the command's help documents it.
type shownRevision struct {
	ID         int64             `json:"revision"`
	Metric     string            `json:"metric"`
	Size       string            `json:"bucket_size"`
	Start      time.Time         `json:"bucket_start"`
	Chain      string            `json:"chain"`
	Dimensions map[string]string `json:"dimensions"`
	Reason     string            `json:"reason"`
	Run        *int64            `json:"run"`
	Old        *string           `json:"old_value"`
	New        *string           `json:"new_value"`
	OldDetail  json.RawMessage   `json:"old_value_json,omitempty"`
	NewDetail  json.RawMessage   `json:"new_value_json,omitempty"`
	At         time.Time         `json:"revised_at"`
}

func shownRevisions(revisions []postgres.Revision) []shownRevision {
	shown := make([]shownRevision, len(revisions))
	for i, r := range revisions {
		shown[i] = shownRevision{
			ID: r.ID, Metric: r.Metric, Size: r.Size, Start: r.Start.UTC(), Chain: r.Chain, Dimensions: r.Dimensions, Reason: r.Reason,
			Run: r.Run, Old: r.Old, New: r.New, OldDetail: r.OldDetail, NewDetail: r.NewDetail, At: r.At.UTC(),
		}
	}
	return shown
}

func (a *app) listRevisions(revisions []postgres.Revision) error {
	if len(revisions) == 0 {
		_, err := fmt.Fprintln(a.errors, "no such revisions")
		return err
	}
	t := &table{columns: []column{
		{name: "revised"},
		{name: "metric"},
		{name: "bucket"},
		{name: "window"},
		{name: "chain"},
		{name: "dimensions"},
		{name: "reason"},
		{name: "run", right: true},
		{name: "old", right: true},
		{name: "new", right: true},
	}}
	value := func(v *string) string {
		if v == nil {
			return "-"
		}
		return *v
	}
	for _, r := range revisions {
		run := ""
		if r.Run != nil {
			run = strconv.FormatInt(*r.Run, 10)
		}
		t.add(r.At.UTC().Format(time.DateTime), r.Metric, r.Size, r.Start.UTC().Format("2006-01-02 15:04"), r.Chain,
			printable(dimensionsText(r.Dimensions)), r.Reason, run, value(r.Old), value(r.New))
	}
	return t.write(a.out, styleOf(a.out), "")
}
