package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func (a *app) metricCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "metric",
		Short: "Define what is measured",
		Example: `  chainmetrics metric validate -f metrics.yaml
  chainmetrics metric test metrics.yaml --events events.jsonl
  chainmetrics metric apply -f metrics.yaml
  chainmetrics metric list`,
	})
	cmd.AddCommand(
		a.metricApplyCommand(),
		a.metricListCommand(),
		a.metricShowCommand(),
		a.metricValidateCommand(),
		a.metricTestCommand(),
		a.metricGraphCommand(),
		a.metricDeleteCommand(),
		a.metricErrorsCommand(),
		a.metricRunCommand(),
		a.metricPauseCommand(),
		a.metricResumeCommand(),
	)
	return cmd
}

// filesFlag adds the flag that names files of definitions.
func filesFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "file", "f", nil,
		"`file` of definitions, a directory of them (*.yaml, *.yml), or - for standard input; repeatable")
	cobra.CheckErr(cmd.MarkFlagFilename("file", "yaml", "yml"))
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(*files) == 0 && len(args) == 0 {
			return usage(cmd, "-f FILE is missing")
		}
		if len(*files) == 0 {
			return usage(cmd, "files are named with -f: -f %s", args[0])
		}
		return check(cmd, args)
	}
}

func (a *app) metricApplyCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "apply -f FILE...",
		Short: "Register the metrics that files define",
		Long: `Register the metrics that files define: all of them or, where one is wrong, none. Postgres checks the queries of those
that are made of one; that of a connection that cannot be reached from here is checked by its first run.

A metric that comes to a stream which has begun counts from there on, and so does one whose calculation is changed. What was
before, and all of one that is made of a query, or derived from others, is computed by runs: it is said from which day on, and how
many windows that are. Runs of them are queued by the next tick; "backfill" carries them out at once. The buckets of another
calculation are shown until then.`,
		Example: `  chainmetrics metric apply -f examples/metrics/bitcoin.yaml
  cat metrics.yaml | chainmetrics metric apply -f -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			definitions, err := a.readDefinitions(files)
			if err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			applied, unchecked, err := apply(cmd.Context(), store, definitions)
			if err != nil {
				return err
			}
			for _, line := range unchecked {
				if _, err := fmt.Fprintln(a.errors, line); err != nil {
					return err
				}
			}
			return a.writeApplied(cmd.Context(), store, applied)
		},
	}
	filesFlag(cmd, &files)
	return cmd
}

func (a *app) writeApplied(ctx context.Context, store *postgres.Store, applied []postgres.AppliedMetric) error {
	var text strings.Builder
	for _, m := range applied {
		fmt.Fprintf(&text, "%-9s  %s", m.Change, m.Name)
		if m.Change != postgres.Unchanged {
			history, err := a.historyOf(ctx, store, m.Name)
			if err != nil {
				return err
			}
			text.WriteString(history)
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(a.out, text.String())
	return err
}

// historyOf tells what of a metric is to be computed, if there is anything.
func (a *app) historyOf(ctx context.Context, store *postgres.Store, name string) (string, error) {
	m, err := store.Metric(ctx, name)
	if err != nil {
		return "", err
	}
	d, since, nothing := m.Definition, "  ", ""
	if d.Calculation.Stream != nil {
		if len(m.Since) == 0 {
			return "", nil
		}
		since = "  since " + sinceText(m.Since) + "; "
		nothing = since + "nothing before is archived yet"
	}
	if !d.CatchesUp() {
		return since + "it does not catch up", nil
	}
	first, last, err := extent(ctx, store, d, a.now())
	if errors.Is(err, postgres.ErrNoEvents) {
		return nothing, nil
	}
	if err != nil {
		return "", err
	}
	first = latest(first, d.StartDate)
	windows := 0
	for _, size := range d.BucketSizes {
		for range size.Windows(first, last.Add(time.Microsecond)) {
			windows++
		}
	}
	windows *= len(d.Chains)
	return fmt.Sprintf("%shistory from %s: %s", since, first.Format(time.DateOnly), plural(windows, "window", "windows")), nil
}

// isClockDriven tells whether the windows of a metric are due by the clock alone.
func isClockDriven(d metric.Definition) bool {
	return d.Calculation.SQL != nil && len(d.Calculation.SQL.EventTypes) == 0
}

// since gives from which entries on a metric counts; nothing where it counts none, since runs compute it.
func since(m postgres.RegisteredMetric) map[string]events.ID {
	if m.Definition.Calculation.Stream == nil {
		return nil
	}
	return m.Since
}

// sinceText tells from where a metric counts: "<entry id> of <stream>", for each stream that had begun.
func sinceText(since map[string]events.ID) string {
	texts := make([]string, 0, len(since))
	for stream, id := range since {
		texts = append(texts, id.String()+" of "+printable(stream))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func (a *app) metricValidateCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:     "validate -f FILE...",
		Short:   "Check definitions without registering them",
		Long:    "Check definitions without registering them. Neither Postgres nor Redis is needed.",
		Example: "  chainmetrics metric validate -f examples/metrics",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			definitions, err := a.readDefinitions(files)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s valid\n", plural(len(definitions), "metric is", "metrics are"))
			return err
		},
	}
	filesFlag(cmd, &files)
	return cmd
}

func (a *app) metricListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the registered metrics",
		Example: "  chainmetrics metric list\n  chainmetrics metric list --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			metrics, err := store.Metrics(cmd.Context())
			if err != nil {
				return fmt.Errorf("list metrics: %w", err)
			}
			if output == outputJSON {
				shown := make([]shownMetric, len(metrics))
				for i, m := range metrics {
					shown[i] = shownMetric(m)
				}
				return writeJSON(a.out, shown)
			}
			return a.listMetrics(metrics)
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

func (a *app) listMetrics(metrics []postgres.RegisteredMetric) error {
	if len(metrics) == 0 {
		_, err := fmt.Fprintln(a.errors, "no metrics are registered: "+a.command("metric", "apply", "-f", "FILE"))
		return err
	}
	t := &table{columns: []column{
		{name: "name"},
		{name: "type"},
		{name: "aggregate"},
		{name: "unit"},
		{name: "dimensions"},
		{name: "buckets"},
		{name: "version", right: true},
		{name: "paused"},
	}}
	for _, m := range metrics {
		d, paused := m.Definition, ""
		if m.PausedAt != nil {
			paused = m.PausedAt.UTC().Format(time.DateTime)
		}
		t.add(d.Name, d.Type, d.Aggregate, printable(d.Unit), strings.Join(d.Calculation.DimensionNames(), ","),
			strings.Join(bucket.Names(d.BucketSizes), ","), strconv.Itoa(m.Version), paused)
	}
	return t.write(a.out, styleOf(a.out), "")
}

func (a *app) metricShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show the definition of a metric, its version, and since when it counts",
		Example:           "  chainmetrics metric show btc_block_count\n  chainmetrics metric show btc_block_count --output json",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			m, err := store.Metric(cmd.Context(), args[0])
			if err != nil {
				return a.unknownMetric(err)
			}
			if output == outputJSON {
				return writeJSON(a.out, shownMetric(m))
			}
			text, err := metricYAML(m)
			if err != nil {
				return fmt.Errorf("show %s: %w", args[0], err)
			}
			_, err = io.WriteString(a.out, text)
			return err
		},
	}
	outputFlag(cmd, &output, "yaml", outputJSON)
	return cmd
}

// shownMetric is the JSON form of a registered metric.
type shownMetric postgres.RegisteredMetric

// MarshalJSON gives definition, version, created_at, updated_at, paused_at where it is, and since: the last entry not counted, by
// stream.
func (m shownMetric) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Definition metric.Definition    `json:"definition"`
		Version    int                  `json:"version"`
		CreatedAt  time.Time            `json:"created_at"`
		UpdatedAt  time.Time            `json:"updated_at"`
		PausedAt   *time.Time           `json:"paused_at,omitempty"`
		Since      map[string]events.ID `json:"since,omitempty"`
	}{m.Definition, m.Version, m.CreatedAt.UTC(), m.UpdatedAt.UTC(), utc(m.PausedAt), since(postgres.RegisteredMetric(m))})
}

// metricYAML gives a definition in the form in which it can be applied, below comments with what the registry adds.
func metricYAML(m postgres.RegisteredMetric) (string, error) {
	data, err := json.Marshal(m.Definition)
	if err != nil {
		return "", err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil { // JSON is YAML
		return "", err
	}
	plain(&document)
	var text strings.Builder
	fmt.Fprintf(&text, "# version %d, created %s", m.Version, m.CreatedAt.UTC().Format(time.RFC3339))
	if m.Version > 1 {
		fmt.Fprintf(&text, ", changed %s", m.UpdatedAt.UTC().Format(time.RFC3339))
	}
	text.WriteString("\n")
	if m.PausedAt != nil {
		fmt.Fprintf(&text, "# paused since %s\n", m.PausedAt.UTC().Format(time.RFC3339))
	}
	if since := since(m); len(since) > 0 {
		fmt.Fprintf(&text, "# since %s\n", sinceText(since))
	}
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return "", err
	}
	return text.String(), encoder.Close()
}

// plain takes JSON's style from a YAML document; lists of texts stay on one line.
func plain(node *yaml.Node) {
	if node.Kind != yaml.SequenceNode || slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }) {
		node.Style = 0
	}
	for _, child := range node.Content {
		plain(child)
	}
}

func (a *app) metricDeleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a metric and all its buckets",
		Example:           "  chainmetrics metric delete btc_block_count",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteMetric(cmd.Context(), args[0], yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) deleteMetric(ctx context.Context, name string, yes bool) error {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := store.Metric(ctx, name); err != nil {
		return a.unknownMetric(err)
	}
	if err := a.confirm(fmt.Sprintf("Delete %s and all its buckets? They cannot be brought back.", name), yes); err != nil {
		return err
	}
	buckets, err := store.DeleteMetric(ctx, name)
	if err != nil {
		return a.unknownMetric(err)
	}
	_, err = fmt.Fprintf(a.out, "deleted %s and %s\n", name, plural(int(buckets), "bucket", "buckets"))
	return err
}

// namedMetric gives the registered metric that an argument names; empty where there is none.
func (a *app) namedMetric(ctx context.Context, store *postgres.Store, args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	m, err := store.Metric(ctx, args[0])
	if err != nil {
		return "", a.unknownMetric(err)
	}
	return m.Definition.Name, nil
}

// unknownMetric adds how to find the names of metrics.
func (a *app) unknownMetric(err error) error {
	if errors.Is(err, postgres.ErrUnknownMetric) {
		return advise(err, "see the names with: %s", a.command("metric", "list"))
	}
	return err
}

// plural gives a number, with thousands apart, and the word that goes with it.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(int64(n)) + " " + many
}

// grouped writes a number with commas between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	first := 1
	if n < 0 {
		first = 2
	}
	for i := len(text) - 3; i >= first; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
