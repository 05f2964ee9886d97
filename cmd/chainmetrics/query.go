package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

const queryHelp = `Read the buckets of a metric as a time series.

--from and --to take windows that begin in [from, to), in UTC; without them, everything. Each is
` + timeHelp + `.

--fill says what to show for windows without a bucket: none, zero, or previous (the last value before; of a gauge, the
level at which it stood last). --cumulative shows running totals since the metric's first bucket; only sums and counts
have them, since others do not add up. Both default to what the metric's definition says.

--show takes names in value_json, such as p50,p99 of a histogram, and shows each as a further column.

--as-of shows what had been published by a moment: the values, as they were shown then, of the windows that had been
final, and are called so, though they may have been open again. See their later changes with "chainmetrics revision list".

An answer says how far it holds: the entry of the chain's stream up to which everything is in it, and the low-water
time, before which all that was expected is. Of a metric that is made of a query, or derived from others, it says which
windows hold that.

Output: "table" is for people and may change. "csv" has a header line and the columns bucket_start, bucket_end, chain,
one for each dimension, value, final, filled, one for each name of --show. "json" is an object with metric, unit,
bucket_size, fill, cumulative, holds, buckets; with --as-of as_of instead of holds. Each of holds has chain, stream and
watermark (where it comes by one stream), incomplete (windows have still to be computed, or could not be: "chainmetrics run
list"), low_water. Each bucket has bucket_start, bucket_end, chain, dimensions, value (exact, therefore a string), value_json
where the metric type has one (all of it, whatever --show says), final (confirmed by the batch layer), filled (no
bucket is stored for this window).`

const queryExample = `  chainmetrics query btc_block_count --bucket daily
  chainmetrics query btc_block_count --bucket weekly --from 2009-01 --to 2009-06 --fill zero
  chainmetrics query btc_issuance --bucket daily --cumulative --output csv
  chainmetrics query btc_block_count --bucket hourly --from 7d --output json
  chainmetrics query btc_fees --bucket daily --as-of 2026-11-01T12:00:00Z`

// queryFlags is what the command line asks for.
type queryFlags struct {
	timeRange

	bucket     string
	chain      string
	dimensions []string
	fill       string
	cumulative bool
	show       []string
	asOf       string
	output     string
}

func (a *app) queryCommand() *cobra.Command {
	var f queryFlags
	cmd := &cobra.Command{
		Use:               "query METRIC",
		Short:             "Read the buckets of a metric",
		Long:              queryHelp,
		Example:           queryExample,
		Args:              oneArg("METRIC"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.query(cmd, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.bucket, "bucket", "b", "", "bucket `size`: "+strings.Join(bucket.Names(bucket.Sizes()), ", ")+" (required)")
	f.add(cmd, "", "first `time`, included", "last `time`, excluded")
	flags.StringVar(&f.chain, "chain", "", "only this `chain`")
	flags.StringArrayVarP(&f.dimensions, "dimension", "d", nil, "only buckets with this dimension, `name=value`; repeatable")
	flags.StringVar(&f.fill, "fill", "", "windows without a bucket: "+strings.Join(series.FillNames(), ", ")+" (default: the metric's)")
	flags.BoolVar(&f.cumulative, "cumulative", false, "running totals (default: the metric's)")
	flags.StringSliceVar(&f.show, "show", nil, "`names` in value_json, as further columns: p50,p99")
	flags.StringVar(&f.asOf, "as-of", "", "what had been published by this `time`")
	outputFlag(cmd, &f.output, outputTable, outputCSV, outputJSON)
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	complete(cmd, "fill", series.FillNames())
	return cmd
}

func (a *app) query(cmd *cobra.Command, name string, f queryFlags) error {
	options, query, err := a.readQuery(cmd, f)
	if err != nil {
		return err
	}
	store, err := a.openStore(cmd.Context())
	if err != nil {
		return err
	}
	defer store.Close()
	registered, err := store.Metric(cmd.Context(), name)
	if err != nil {
		return a.unknownMetric(err)
	}
	definition := registered.Definition
	if !cmd.Flags().Changed("fill") {
		if options.Fill, err = series.ParseFill(definition.Fill); err != nil {
			return fmt.Errorf("read definition of %s: %w", name, err)
		}
	}
	if !cmd.Flags().Changed("cumulative") {
		options.Cumulative = definition.Cumulative
	}
	if err := options.Check(definition, functions.Definition(definition.Type)); err != nil {
		return err
	}
	if err := checkDimensions(definition, query.Dimensions); err != nil {
		return err
	}
	if err := checkShow(cmd, definition, f.show); err != nil {
		return err
	}
	all, standings, err := readSeries(cmd.Context(), store, definition, options, query)
	if err != nil {
		return err
	}
	if f.output == outputJSON {
		answer := answerOf(definition, options, all)
		answer.hold(query.AsOf, standings)
		return writeJSON(a.out, answer)
	}
	switch {
	case f.output == outputCSV:
		err = a.queryCSV(definition, f.show, all)
	case len(all) == 0:
		_, err = fmt.Fprintln(a.errors, f.nothing(registered))
	default:
		err = a.queryTable(definition, f.show, options, all)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.errors, a.holdsText(definition, query.AsOf, standings))
	return err
}

// holdsText says how far an answer holds.
func (a *app) holdsText(definition metric.Definition, asOf time.Time, standings []postgres.Standing) string {
	if !asOf.IsZero() {
		return "as it was published by " + asOf.Format(time.RFC3339Nano) + "\n"
	}
	var text strings.Builder
	for _, s := range standings {
		if definition.Calculation.Stream == nil {
			text.WriteString(printable(s.Chain) + ": " + a.runsHold(definition.Name, s) + "\n")
			continue
		}
		whole := ""
		switch {
		case s.Incomplete:
			whole = ", but for windows that have still to be computed from the archive, or could not be"
		case !s.LowWater.IsZero():
			whole = ", and all that was expected before " + s.LowWater.Format(time.RFC3339)
		}
		fmt.Fprintf(&text, "%s: holds %s up to entry %s%s\n", printable(s.Chain), printable(s.Stream), s.Watermark, whole)
	}
	return text.String()
}

// runsHold says how far the buckets of a metric hold that runs alone compute.
func (a *app) runsHold(name string, s postgres.Standing) string {
	switch {
	case s.Incomplete:
		return "windows have still to be computed, or could not be: " + a.command("run", "list", name)
	case s.LowWater.IsZero():
		return "no window was due yet"
	}
	return "windows that end by " + s.LowWater.Format(time.RFC3339) + " hold all that was expected"
}

// nothing says why there may be no buckets of a metric.
func (f queryFlags) nothing(m postgres.RegisteredMetric) string {
	text := fmt.Sprintf("%s has no %s buckets yet", m.Definition.Name, f.bucket)
	if f.fromText != "" || f.toText != "" || f.chain != "" || len(f.dimensions) > 0 {
		text = fmt.Sprintf("no %s bucket of %s matches the filters", f.bucket, m.Definition.Name)
	}
	if since := since(m); len(since) > 0 {
		text += ": it counts from after " + sinceText(since)
	}
	return text
}

// readQuery reads the flags. Whatever is wrong with them is wrong usage.
func (a *app) readQuery(cmd *cobra.Command, f queryFlags) (options series.Options, query postgres.Query, err error) {
	if f.bucket == "" {
		return options, query, usage(cmd, "--bucket is missing: want one of %s", strings.Join(bucket.Names(bucket.Sizes()), ", "))
	}
	var wrong []error
	read := func(flag string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	options.Size, err = bucket.ParseSize(f.bucket)
	read("bucket", err)
	wrong = append(wrong, f.read(a.now()))
	options.Fill, err = series.ParseFill(f.fill)
	read("fill", err)
	query.Chain = f.chain
	query.Dimensions, err = parseDimensions(f.dimensions)
	read("dimension", err)
	query.AsOf, err = parseTime(f.asOf, a.now())
	if err == nil && query.AsOf.After(a.now()) {
		err = fmt.Errorf("%s has not come yet", f.asOf)
	}
	read("as-of", err)
	options.Cumulative = f.cumulative
	if err := errors.Join(wrong...); err != nil {
		return options, query, usage(cmd, "%w", err)
	}
	options.From, options.To = f.begun(a.now())
	return options, query, nil
}

func parseDimensions(texts []string) (map[string]string, error) {
	dimensions := make(map[string]string, len(texts))
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is not of the form name=value", text)
		}
		if _, twice := dimensions[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		dimensions[name] = value
	}
	return dimensions, nil
}

func checkDimensions(definition metric.Definition, dimensions map[string]string) error {
	names := definition.Calculation.DimensionNames()
	for name := range dimensions {
		if !slices.Contains(names, name) {
			known := "it has none"
			if len(names) > 0 {
				known = "it has " + strings.Join(names, ", ")
			}
			return fmt.Errorf("%s has no dimension %q: %s", definition.Name, name, known)
		}
	}
	return nil
}

// readSeries reads the buckets that the options need, and makes series of them. The query says which chain and
// dimensions, and as of when.
func readSeries(ctx context.Context, store *postgres.Store, definition metric.Definition, options series.Options,
	query postgres.Query,
) ([]series.Series, []postgres.Standing, error) {
	query.Metric, query.Size, query.From, query.To = definition.Name, options.Size, options.ReadFrom(), options.To
	query.Before, options.Level = options.ReadBefore(), functions.Definition(definition.Type).Level
	answer, err := store.Answer(ctx, query)
	if err != nil {
		return nil, nil, fmt.Errorf("read buckets of %s: %w", definition.Name, err)
	}
	buckets := make([]series.Bucket, len(answer.Buckets))
	for i, row := range answer.Buckets {
		buckets[i] = series.Bucket(row)
	}
	all, err := series.Build(options, buckets)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", definition.Name, err)
	}
	return all, answer.Standings, nil
}

func (a *app) queryTable(
	definition metric.Definition, show []string, options series.Options, all []series.Series,
) error {
	names := definition.Calculation.DimensionNames()
	head := []column{{name: "start"}, {name: "chain"}}
	for _, name := range names {
		head = append(head, column{name: name})
	}
	value := "value"
	if options.Cumulative {
		value = "total"
	}
	if definition.Unit != "" {
		value += " (" + definition.Unit + ")"
	}
	head = append(head, column{name: printable(value), right: true})
	for _, name := range show {
		head = append(head, column{name: printable(name), right: true})
	}
	t := &table{columns: head}
	for _, s := range all {
		for _, p := range s.Points {
			row := []string{windowText(options.Size, p.Window), printable(s.Chain)}
			for _, name := range names {
				row = append(row, printable(s.Dimensions[name]))
			}
			details, err := detailTexts(p.Detail, show, "-")
			if err != nil {
				return err
			}
			row = append(row, p.Value.String())
			for _, text := range details {
				row = append(row, printable(text))
			}
			t.add(row...)
		}
	}
	return t.write(a.out, styleOf(a.out), "")
}

// windowText gives the start of a window, as precisely as its size needs.
func windowText(size bucket.Size, w bucket.Window) string {
	switch size {
	case bucket.Minutely, bucket.TenMinutely, bucket.Hourly:
		return w.Start.Format("2006-01-02 15:04")
	case bucket.Monthly:
		return w.Start.Format("2006-01")
	case bucket.Daily, bucket.Weekly:
	}
	return w.Start.Format("2006-01-02")
}

func (a *app) queryCSV(definition metric.Definition, show []string, all []series.Series) error {
	names := definition.Calculation.DimensionNames()
	w := csv.NewWriter(a.out)
	head := append([]string{"bucket_start", "bucket_end", "chain"}, names...)
	records := [][]string{append(append(head, "value", "final", "filled"), show...)}
	for _, s := range all {
		for _, p := range s.Points {
			record := []string{p.Window.Start.Format(time.RFC3339), p.Window.End.Format(time.RFC3339), s.Chain}
			for _, name := range names {
				record = append(record, s.Dimensions[name])
			}
			details, err := detailTexts(p.Detail, show, "")
			if err != nil {
				return err
			}
			record = append(record, p.Value.String(), strconv.FormatBool(p.Final), strconv.FormatBool(p.Filled))
			records = append(records, append(record, details...))
		}
	}
	if err := w.WriteAll(records); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// queryAnswer is the JSON form of an answer; the command's help documents it.
type queryAnswer struct {
	Metric     string        `json:"metric"`
	Unit       string        `json:"unit,omitempty"`
	Size       bucket.Size   `json:"bucket_size"`
	Fill       series.Fill   `json:"fill"`
	Cumulative bool          `json:"cumulative"`
	AsOf       *time.Time    `json:"as_of,omitempty"`
	Holds      []queryHolds  `json:"holds,omitempty"`
	Buckets    []queryBucket `json:"buckets"`
}

type queryHolds struct {
	Chain      string     `json:"chain"`
	Stream     string     `json:"stream,omitempty"`
	Watermark  *events.ID `json:"watermark,omitempty"`
	Incomplete bool       `json:"incomplete"`
	LowWater   *time.Time `json:"low_water"` // null: not known
}

// hold says how far the answer holds.
func (q *queryAnswer) hold(asOf time.Time, standings []postgres.Standing) {
	if !asOf.IsZero() {
		q.AsOf = &asOf
	}
	for _, s := range standings {
		holds := queryHolds{Chain: s.Chain, Stream: s.Stream, Incomplete: s.Incomplete}
		if s.Stream != "" {
			holds.Watermark = &s.Watermark
		}
		if !s.LowWater.IsZero() {
			holds.LowWater = &s.LowWater
		}
		q.Holds = append(q.Holds, holds)
	}
}

type queryBucket struct {
	Start      time.Time         `json:"bucket_start"`
	End        time.Time         `json:"bucket_end"`
	Chain      string            `json:"chain"`
	Dimensions map[string]string `json:"dimensions"`
	Value      decimal.Decimal   `json:"value"`
	Detail     json.RawMessage   `json:"value_json,omitempty"`
	Final      bool              `json:"final"`
	Filled     bool              `json:"filled"`
}

func answerOf(definition metric.Definition, options series.Options, all []series.Series) queryAnswer {
	answer := queryAnswer{
		Metric:     definition.Name,
		Unit:       definition.Unit,
		Size:       options.Size,
		Fill:       max(options.Fill, series.None),
		Cumulative: options.Cumulative,
		Buckets:    []queryBucket{},
	}
	for _, s := range all {
		dimensions := s.Dimensions
		if dimensions == nil {
			dimensions = map[string]string{}
		}
		for _, p := range s.Points {
			answer.Buckets = append(answer.Buckets, queryBucket{
				Start: p.Window.Start, End: p.Window.End, Chain: s.Chain, Dimensions: dimensions,
				Value: p.Value, Detail: p.Detail, Final: p.Final, Filled: p.Filled,
			})
		}
	}
	return answer
}
