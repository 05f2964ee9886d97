package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/trial"
	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

const metricTestHelp = `Show what definitions would give, and store nothing. FILE is a file of definitions, a directory of them, or -. Neither
Postgres nor Redis is needed.

--events names what they are computed of:

- with --time or --etl, files as for "chainmetrics feed" with the same flags;
- a folder, or a file *.dat: the block files of Bitcoin Core, of the chain bitcoin unless --chain says otherwise;
- otherwise rows that are events as they stand, with type, chain and timestamp of their own, as an open stream takes them.

Metrics that are made of a query, or derived from others, need Postgres and are left out.

What cannot be read, and what a metric cannot be evaluated for, is told on standard error, with the id that the entry would
have. --from and --to choose windows, not events, so that levels and running totals are as they would be stored.

Output: "table" is for people and may change. "json" is an object with entries, dead_letters (id, reason), metric_errors
(metric, reason, count, sample), and metrics, a list of what "chainmetrics query" answers.`

// trialFlags is what the command line of metric test asks for.
type trialFlags struct {
	timeRange

	rows    rowFlags
	events  []string
	buckets []string
	metrics []string
	show    []string
	output  string
}

func (a *app) metricTestCommand() *cobra.Command {
	var f trialFlags
	cmd := &cobra.Command{
		Use:   "test FILE --events FILE...",
		Short: "Show what definitions would give, storing nothing",
		Long:  metricTestHelp,
		Example: `  chainmetrics metric test examples/metrics/bitcoin.yaml --events blocks/ --metric btc_block_count --from 2009-01 --to 2009-02
  chainmetrics metric test mine.yaml --events sales.csv --chain ethereum --type sale --time sold_at --sort
  chainmetrics metric test mine.yaml --events events.jsonl --bucket hourly --output json`,
		Args: oneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.metricTest(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.events, "events", nil, "`file` of events, or - for standard input; repeatable (required)")
	f.rows.add(cmd)
	f.add(cmd, "", "first `time`, included", "last `time`, excluded")
	flags.StringArrayVarP(&f.buckets, "bucket", "b", nil, "bucket `size`; repeatable (default: daily, or the smallest that the metric has)")
	flags.StringArrayVar(&f.metrics, "metric", nil, "only the metric of this `name`; repeatable")
	flags.StringSliceVar(&f.show, "show", nil, "`names` in value_json, as further columns: p50,p99")
	outputFlag(cmd, &f.output, outputTable, outputJSON)
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	return cmd
}

func (a *app) metricTest(cmd *cobra.Command, file string, f trialFlags) error {
	options, err := a.readTrial(cmd, file, &f)
	if err != nil {
		return err
	}
	definitions, err := a.readDefinitions([]string{file})
	if err != nil {
		return err
	}
	if definitions, err = chosen(definitions, f.metrics); err != nil {
		return err
	}
	definitions, untried := a.ofEvents(definitions)
	if len(definitions) == 0 {
		return errors.Join(untried...)
	}
	for _, reason := range untried {
		if _, err := fmt.Fprintln(a.errors, reason); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(definitions, func(d metric.Definition) bool { return len(f.sizes(d)) > 0 }) {
		return fmt.Errorf("no metric of the file has %s buckets", strings.Join(f.buckets, " or "))
	}
	for _, d := range definitions {
		if err := checkShow(cmd, d, f.show); err != nil {
			return err
		}
	}
	t := trial.New(functions.Types, definitions)
	screen := newScreen(a.errors, a.now)
	if err := screen.phase("try", func() (string, error) {
		err := a.tryEvents(cmd.Context(), t, f, screen)
		return fmt.Sprintf("%s, %s", plural(t.Entries(), "entry", "entries"), plural(len(definitions), "metric", "metrics")), err
	}); err != nil {
		return err
	}
	answers, err := f.answers(t, definitions, options)
	if err != nil {
		return err
	}
	if f.output == outputJSON {
		return writeJSON(a.out, trialOf(t, answers))
	}
	return errors.Join(a.showTroubles(t), a.showAnswers(f, answers))
}

// readTrial reads the flags. Whatever is wrong with them is wrong usage.
func (a *app) readTrial(cmd *cobra.Command, file string, f *trialFlags) (options series.Options, err error) {
	wrong := []error{f.read(a.now())}
	for _, name := range f.buckets {
		if _, err := bucket.ParseSize(name); err != nil {
			wrong = append(wrong, fmt.Errorf("--bucket: %w", err))
		}
	}
	if file == "-" && slices.Contains(f.events, "-") {
		wrong = append(wrong, errors.New("definitions and events cannot both come from standard input"))
	}
	if len(f.events) == 0 {
		wrong = append(wrong, errors.New("--events is missing: name what the metrics are computed of"))
	}
	if err := errors.Join(wrong...); err != nil {
		return options, usage(cmd, "%w", err)
	}
	options.From, options.To = f.begun(a.now())
	if f.rows.etl || f.rows.events.Time != "" {
		return options, f.rows.read(cmd)
	}
	for _, flag := range []string{"type", "type-column", "block", "order", "sort"} {
		if cmd.Flags().Changed(flag) {
			return options, usage(cmd, "--%s is for rows whose time --time names", flag)
		}
	}
	if f.rows.events.Chain != "" && !isBlockFiles(f.events) {
		return options, usage(cmd, "--chain is for block files, and for rows whose time --time names")
	}
	return options, f.rows.readFormat(cmd)
}

// chosen gives the definitions with these names; all, where there are none.
func chosen(definitions []metric.Definition, names []string) ([]metric.Definition, error) {
	if len(names) == 0 {
		return definitions, nil
	}
	var found []metric.Definition
	for _, name := range names {
		i := slices.IndexFunc(definitions, func(d metric.Definition) bool { return d.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("the file does not define %s", printable(name))
		}
		found = append(found, definitions[i])
	}
	return found, nil
}

// ofEvents gives the definitions that are made of events alone, and for each of the others why it cannot be tried here.
func (a *app) ofEvents(definitions []metric.Definition) (some []metric.Definition, untried []error) {
	for _, d := range definitions {
		what := ""
		switch {
		case d.Calculation.SQL != nil:
			what = "is made of a query"
		case d.Calculation.Derived != nil:
			what = "is derived from other metrics"
		default:
			some = append(some, d)
			continue
		}
		run := a.command("metric", "run", d.Name, "--bucket", slices.Min(d.BucketSizes).String(), "--from", "TIME")
		untried = append(untried, fmt.Errorf("%s is not tried, since it %s: apply it, then: %s", d.Name, what, run))
	}
	return some, untried
}

// entryReader gives entries one by one, and [io.EOF] after the last.
type entryReader func() (events.Entry, error)

// tryEvents applies the events that the flags name.
func (a *app) tryEvents(ctx context.Context, t *trial.Trial, f trialFlags, screen *screen) error {
	next, closeFiles, err := a.openEvents(ctx, f)
	if err != nil {
		return err
	}
	for {
		entry, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.Add(ctx, entry)
		}
		if err != nil {
			return errors.Join(err, closeFiles())
		}
		if t.Entries()%1000 == 0 {
			screen.progress(int64(t.Entries()), 0, plural(t.Entries(), "entry", "entries"))
		}
	}
	return errors.Join(t.Flush(ctx), closeFiles())
}

func (a *app) openEvents(ctx context.Context, f trialFlags) (next entryReader, closeFiles func() error, err error) {
	if f.rows.etl || f.rows.events.Time != "" {
		unknown := func(context.Context, uint64) (string, error) { return "", nil }
		opened, err := f.rows.files(a, f.events, unknown).Open(ctx)
		if err != nil {
			return nil, nil, err
		}
		return func() (events.Entry, error) {
			entry, _, err := opened.Next()
			return entry, err
		}, opened.Close, nil
	}
	if isBlockFiles(f.events) {
		return a.openBlocks(ctx, f)
	}
	return a.openPlain(ctx, f)
}

func (a *app) openBlocks(ctx context.Context, f trialFlags) (entryReader, func() error, error) {
	cfg := bitcoin.Config{Files: f.events[0], Network: "mainnet", InputValues: true}
	blocks, err := a.openBlockFiles(ctx, cfg, cmp.Or(f.rows.events.Chain, "bitcoin"), 0, math.MaxUint64)
	if err != nil {
		return nil, nil, err
	}
	return func() (events.Entry, error) {
		entry, _, err := blocks.Next(ctx)
		return entry, err
	}, blocks.Close, nil
}

// openPlain reads rows as entries of an open stream, appended now.
func (a *app) openPlain(ctx context.Context, f trialFlags) (entryReader, func() error, error) {
	rows, err := f.rows.flatFiles(a, f.events).Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	id := events.ID{Major: uint64(a.now().UnixMilli())}
	return func() (events.Entry, error) {
		r, err := rows.NextRow()
		if err != nil {
			return events.Entry{}, err
		}
		id = id.Next()
		return events.Entry{ID: id, Fields: r.Fields}, nil
	}, rows.Close, nil
}

// answer is what a metric would show in buckets of one size.
type answer struct {
	definition metric.Definition
	options    series.Options
	series     []series.Series
}

func (f trialFlags) answers(t *trial.Trial, definitions []metric.Definition, options series.Options) (all []answer, err error) {
	for _, d := range definitions {
		for _, size := range f.sizes(d) {
			options.Size, options.Cumulative, options.Level = size, d.Cumulative, functions.Definition(d.Type).Level
			if options.Fill, err = series.ParseFill(d.Fill); err != nil {
				return nil, fmt.Errorf("read definition of %s: %w", d.Name, err)
			}
			found, err := t.Buckets(d.Name, size)
			if err != nil {
				return nil, err
			}
			built, err := series.Build(options, found)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", d.Name, err)
			}
			all = append(all, answer{d, options, built})
		}
	}
	return all, nil
}

// sizes gives the sizes of a metric that are asked for.
func (f trialFlags) sizes(d metric.Definition) []bucket.Size {
	if len(f.buckets) == 0 {
		if slices.Contains(d.BucketSizes, bucket.Daily) {
			return []bucket.Size{bucket.Daily}
		}
		return []bucket.Size{slices.Min(d.BucketSizes)}
	}
	return slices.DeleteFunc(slices.Clone(d.BucketSizes), func(size bucket.Size) bool {
		return !slices.Contains(f.buckets, size.String())
	})
}

// showTroubles tells what would not be counted.
func (a *app) showTroubles(t *trial.Trial) error {
	var text strings.Builder
	for _, letter := range t.Unreadable() {
		fmt.Fprintf(&text, "cannot be read: %s: %s\n", letter.ID, printable(letter.Reason))
	}
	for _, e := range t.Errors() {
		fmt.Fprintf(&text, "%s: not counted %s, such as in %s: %s\n", e.Metric, plural(int(e.Count), "time", "times"), e.Sample,
			printable(e.Reason))
	}
	_, err := io.WriteString(a.errors, text.String())
	return err
}

func (a *app) showAnswers(f trialFlags, answers []answer) error {
	for i, answer := range answers {
		if i > 0 {
			if _, err := fmt.Fprintln(a.out); err != nil {
				return err
			}
		}
		head := styleOf(a.out).bold(fmt.Sprintf("%s, %s", answer.definition.Name, answer.options.Size))
		if len(answer.series) == 0 {
			head += ": no buckets"
		}
		if _, err := fmt.Fprintln(a.out, head); err != nil {
			return err
		}
		if len(answer.series) == 0 {
			continue
		}
		if err := a.queryTable(answer.definition, f.show, answer.options, answer.series); err != nil {
			return err
		}
	}
	return nil
}

// shownTrial is the JSON form of a trial; the command's help documents it.
type shownTrial struct {
	Entries     int                `json:"entries"`
	DeadLetters []shownUnreadable  `json:"dead_letters"`
	Errors      []shownTrialErrors `json:"metric_errors"`
	Metrics     []queryAnswer      `json:"metrics"`
}

type shownUnreadable struct {
	ID     events.ID `json:"id"`
	Reason string    `json:"reason"`
}

type shownTrialErrors struct {
	Metric string    `json:"metric"`
	Reason string    `json:"reason"`
	Count  int64     `json:"count"`
	Sample events.ID `json:"sample"`
}

func trialOf(t *trial.Trial, answers []answer) shownTrial {
	shown := shownTrial{
		Entries: t.Entries(), DeadLetters: []shownUnreadable{}, Errors: []shownTrialErrors{}, Metrics: []queryAnswer{},
	}
	for _, letter := range t.Unreadable() {
		shown.DeadLetters = append(shown.DeadLetters, shownUnreadable{letter.ID, letter.Reason})
	}
	for _, e := range t.Errors() {
		shown.Errors = append(shown.Errors, shownTrialErrors(e))
	}
	for _, answer := range answers {
		shown.Metrics = append(shown.Metrics, answerOf(answer.definition, answer.options, answer.series))
	}
	return shown
}
