package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const runShowHelp = `Show all that is known of a run. RUN is its number, as run list shows it.

Output: "table" is for people and may change. "json" is an object with id, metric, bucket_size,
bucket_start, chain, reason, state, attempt (0 before the first), requested_at, not_before (when a
queued run may begin), started_at, finished_at, observations (that it has computed from), refused
(events that the metric could not count, observations for which the window had no room), buckets
(that the window has), changes (of buckets that differed), error, definition_version, code_version,
trace_id (of the request that has carried it out, where it came with a traceparent). What is not
known yet is null. Times are RFC 3339.`

func (a *app) runShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "show RUN",
		Short:             "Show all that is known of a run",
		Long:              runShowHelp,
		Example:           "  chainmetrics run show 4711\n  chainmetrics run show 4711 --output json",
		Args:              oneArg("RUN"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := runNumbers(cmd, args)
			if err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			r, err := store.Run(cmd.Context(), ids[0])
			if err != nil {
				return a.unknownRun(err)
			}
			if output == outputJSON {
				return writeJSON(a.out, shownRuns([]postgres.Run{r})[0])
			}
			_, err = io.WriteString(a.out, runText(r))
			return err
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// runNumbers reads the numbers of runs.
func runNumbers(cmd *cobra.Command, args []string) ([]int64, error) {
	ids := make([]int64, len(args))
	for i, text := range args {
		var err error
		if ids[i], err = strconv.ParseInt(text, 10, 64); err != nil || ids[i] < 1 {
			return nil, usage(cmd, "RUN %q: the number of a run is expected", text)
		}
	}
	return ids, nil
}

// unknownRun adds how to find the numbers of runs.
func (a *app) unknownRun(err error) error {
	if errors.Is(err, postgres.ErrUnknownRun) {
		return advise(err, "see the runs with: %s", a.command("run", "list"))
	}
	return err
}

// runText shows a run to people.
func runText(r postgres.Run) string {
	var text strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "%s%s\n", pad(name, 14), printable(value))
		}
	}
	count := func(name string, n *int64) {
		if n != nil {
			line(name, grouped(*n))
		}
	}
	at := func(name string, t *time.Time, since time.Time, what string) {
		if t != nil {
			line(name, fmt.Sprintf("%s, %s %s", t.UTC().Format(time.DateTime), what, t.Sub(since).Round(time.Millisecond)))
		}
	}
	line("run", strconv.FormatInt(r.ID, 10))
	line("metric", r.Metric)
	line("chain", r.Chain)
	line("window", windowOf(r))
	line("reason", r.Reason)
	line("state", r.State)
	line("attempt", strconv.Itoa(r.Attempt))
	line("requested", r.RequestedAt.UTC().Format(time.DateTime))
	if r.State == string(runner.Queued) && r.Attempt > 0 {
		line("again at", r.NotBefore.UTC().Format(time.DateTime))
	}
	at("started", r.StartedAt, r.RequestedAt, "after")
	if r.StartedAt != nil {
		at("finished", r.FinishedAt, *r.StartedAt, "took")
	}
	count("observations", r.Observations)
	count("refused", r.Refused)
	count("buckets", r.Buckets)
	count("changes", r.Changes)
	count("definition", r.DefinitionVersion)
	if r.CodeVersion != nil {
		line("code", *r.CodeVersion)
	}
	if r.TraceID != nil {
		line("trace", *r.TraceID)
	}
	if r.Error != nil {
		line("error", *r.Error)
	}
	return text.String()
}

// windowOf names the window of a run.
func windowOf(r postgres.Run) string {
	const layout = "2006-01-02 15:04"
	text := r.Size + ", " + r.Start.UTC().Format(layout)
	if size, err := bucket.ParseSize(r.Size); err == nil {
		text += " to " + size.Window(r.Start).End.Format(layout)
	}
	return text
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
	NotBefore         time.Time  `json:"not_before"`
	StartedAt         *time.Time `json:"started_at"`
	FinishedAt        *time.Time `json:"finished_at"`
	Observations      *int64     `json:"observations"`
	Refused           *int64     `json:"refused"`
	Buckets           *int64     `json:"buckets"`
	Changes           *int64     `json:"changes"`
	Error             *string    `json:"error"`
	DefinitionVersion *int64     `json:"definition_version"`
	CodeVersion       *string    `json:"code_version"`
	TraceID           *string    `json:"trace_id"`
}

func shownRuns(runs []postgres.Run) []shownRun {
	shown := make([]shownRun, len(runs))
	for i, r := range runs {
		shown[i] = shownRun{
			ID: r.ID, Metric: r.Metric, BucketSize: r.Size, BucketStart: r.Start.UTC(), Chain: r.Chain, Reason: r.Reason, State: r.State,
			Attempt: r.Attempt, RequestedAt: r.RequestedAt.UTC(), NotBefore: r.NotBefore.UTC(),
			StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
			Observations: r.Observations, Refused: r.Refused, Buckets: r.Buckets, Changes: r.Changes, Error: r.Error,
			DefinitionVersion: r.DefinitionVersion, CodeVersion: r.CodeVersion, TraceID: r.TraceID,
		}
	}
	return shown
}
