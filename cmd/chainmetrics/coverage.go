package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const coverageHelp = `Show what the archive has of a stream, or of the stream that a metric counts: blocks that are linked
by their hashes, the holes between them, what feeds have declared of files whose rows do not tell
whether one is missing, and what was dropped since.

With --bucket it shows the state of windows, those in the same state together:

  complete  everything has come
  empty     everything has come, and nothing happened
  missing   a hole lies in it
  unknown   it has not ended on the chain, begins before the archive does, or nobody says whether
            everything has come

A metric's window is empty where no event of its types happened. --from and --to name a part: windows
that contain or follow the one, and begin before the other. Each is
` + timeHelp + `.

Output: "table" is for people and may change. "json" is a list with an object for each stream and
chain: archive_floor (null where nothing was dropped), segments, holes and declarations, or periods.
Times are RFC 3339. Heights of a hole are null where only entries are known to be missing.`

const coverageExample = `  chainmetrics coverage
  chainmetrics coverage blockchain_events:bitcoin
  chainmetrics coverage btc_fees --bucket daily --from 2009-01 --to 2009-03`

// coverageFlags is what the command line asks of coverage.
type coverageFlags struct {
	timeRange

	bucket string
	output string
}

func (a *app) coverageCommand() *cobra.Command {
	var f coverageFlags
	cmd := &cobra.Command{
		Use:     "coverage [METRIC|STREAM]",
		Short:   "Show what the archive has, and what is missing",
		Long:    coverageHelp,
		Example: coverageExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "unexpected argument %q after %s", args[1], args[0])
			}
			return nil
		},
		ValidArgsFunction: a.completeCovered,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.coverage(cmd, strings.Join(args, ""), f)
		},
	}
	cmd.Flags().StringVarP(&f.bucket, "bucket", "b", "", "the state of windows of this bucket `size`")
	f.add(cmd, "", "windows that contain or follow this `time` (default: what the archive has first)",
		"windows that begin before this `time` (default: what it has last)")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	outputFlag(cmd, &f.output, outputTable, outputJSON)
	return cmd
}

// completeCovered completes the names of streams and metrics.
func (a *app) completeCovered(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	streams, directive := a.completeStreams(cmd, args, typed)
	metrics, _ := a.completeMetrics(cmd, args, typed)
	return slices.Concat(streams, metrics), directive
}

func (a *app) coverage(cmd *cobra.Command, name string, f coverageFlags) error {
	part, err := a.readPart(cmd, f)
	if err != nil {
		return err
	}
	store, err := a.openStore(cmd.Context())
	if err != nil {
		return err
	}
	defer store.Close()
	covered, err := a.covered(cmd.Context(), store, name)
	if err != nil {
		return err
	}
	if f.bucket != "" {
		return a.showPeriods(cmd.Context(), store, covered, part, f.output)
	}
	if f.output == outputJSON {
		return writeJSON(a.out, shownCoverages(covered.coverages))
	}
	if len(covered.coverages) == 0 {
		_, err := fmt.Fprintln(a.errors, "no stream has brought anything yet")
		return err
	}
	var text strings.Builder
	if err := coverageTable(covered.coverages).write(&text, styleOf(a.out), ""); err != nil {
		return err
	}
	_, err = io.WriteString(a.out, text.String()+a.holeAdvice(covered.coverages))
	return err
}

// covered is what coverage is asked of.
type covered struct {
	coverages  []coverage.Coverage
	metric     string   // empty: streams
	eventTypes []string // that count; nil: any
	delay      time.Duration
}

// covered reads what a name means: a stream, else a metric; all streams where there is none.
func (a *app) covered(ctx context.Context, store *postgres.Store, name string) (covered, error) {
	all, err := store.Coverage(ctx, name)
	if err != nil || name == "" || len(all) > 0 {
		return covered{coverages: all}, err
	}
	streams, err := store.Streams(ctx)
	if err != nil || slices.ContainsFunc(streams, func(s postgres.Stream) bool { return s.Name == name }) {
		return covered{}, err
	}
	m, err := store.Metric(ctx, name)
	if errors.Is(err, postgres.ErrUnknownMetric) {
		return covered{}, advise(fmt.Errorf("neither a metric nor a stream is named %s", name),
			"see the names with: %s or %s", a.command("metric", "list"), a.command("stream", "list"))
	}
	if err != nil {
		return covered{}, err
	}
	if err := a.checkMadeOfEvents(m.Definition); err != nil {
		return covered{}, err
	}
	all, err = store.MetricCoverage(ctx, m)
	return covered{
		coverages: all, metric: name, eventTypes: m.Definition.Calculation.EventTypes(), delay: m.Definition.Delay(),
	}, err
}

// checkMadeOfEvents fails where a metric is not made of archived events.
func (a *app) checkMadeOfEvents(d metric.Definition) error {
	switch derived := d.Calculation.Derived; {
	case derived != nil:
		return advise(fmt.Errorf("%s is derived from %s: ask for the coverage of these", d.Name, strings.Join(derived.Dependencies, ", ")),
			"see what it depends on: %s", a.command("metric", "graph", d.Name))
	case isClockDriven(d):
		return advise(fmt.Errorf("%s is made of no archived events: its windows are due by the clock", d.Name),
			"see which were computed: %s", a.command("run", "list", d.Name))
	}
	return nil
}

func coverageTable(coverages []coverage.Coverage) *table {
	t := &table{columns: []column{
		{name: "stream"}, {name: "chain"}, {name: "what"}, {name: "heights"}, {name: "from"}, {name: "to"},
	}}
	for _, c := range coverages {
		type line struct {
			from, to      time.Time
			what, heights string
		}
		var lines []line
		for _, s := range c.Segments {
			lines = append(lines, line{s.FromTime, s.ToTime, "archived", heightsText(s.From, s.To)})
		}
		for _, h := range c.Holes {
			lines = append(lines, line{h.After, h.Before, "missing", holeHeights(h)})
		}
		for _, d := range c.Declarations {
			l := line{from: d.From, to: d.To, what: "declared"}
			if !d.Archived {
				l.what = "declared, not archived yet"
			}
			if d.EveryHeight {
				l.heights = "every"
			}
			lines = append(lines, l)
		}
		if first, _, _ := c.Extent(); first.Before(c.Floor) {
			lines = append(lines, line{from: first, to: c.Floor, what: "dropped"})
		}
		slices.SortStableFunc(lines, func(a, b line) int { return a.from.Compare(b.from) })
		if len(lines) == 0 {
			t.add(printable(c.Stream), printable(c.Chain), "unknown", "", "", "")
		}
		for _, l := range lines {
			t.add(printable(c.Stream), printable(c.Chain), l.what, l.heights, l.from.Format(time.DateTime), l.to.Format(time.DateTime))
		}
	}
	return t
}

func heightsText(from, to int64) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d to %d", from, to)
}

// holeHeights names what a hole lacks.
func holeHeights(h coverage.Hole) string {
	switch {
	case !h.Known:
		return "entries were lost"
	case h.From > h.To:
		return fmt.Sprintf("%d and %d are of two branches", h.To, h.From)
	}
	return heightsText(h.From, h.To)
}

// holeAdvice says how to fill the holes, if there are any.
func (a *app) holeAdvice(coverages []coverage.Coverage) string {
	if !slices.ContainsFunc(coverages, func(c coverage.Coverage) bool { return len(c.Holes) > 0 }) {
		return ""
	}
	return "\nto fill a hole, import what is missing: " + a.command("import", "FILE...") + "\n"
}
