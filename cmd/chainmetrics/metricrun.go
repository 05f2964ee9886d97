package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

const metricRunHelp = `Compute windows of a metric from archived events, here and now, and show its buckets before and
after. It waits for no turn, and a paused metric is computed too. For many windows there is backfill.

Without --to it is the one window that contains --from. The runs are in "run list"; one that fails is
not begun again.

Output: "table" is for people and may change. "json" is a list of objects; before is null for a bucket that is new,
value for one that has gone, which has no value_json and is not final.`

func (a *app) metricRunCommand() *cobra.Command {
	var (
		f            windowFlags
		size, output string
	)
	cmd := &cobra.Command{
		Use:   "run NAME --bucket SIZE --from TIME [--to TIME]",
		Short: "Compute windows here and now, and show what changes",
		Long:  metricRunHelp,
		Example: `  chainmetrics metric run btc_fees --bucket daily --from 2009-01-12
  chainmetrics metric run btc_fees --bucket hourly --from 2009-01-12 --to 2009-01-13`,
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if size == "" {
				return usage(cmd, "--bucket is missing: want one of %s", strings.Join(bucket.Names(bucket.Sizes()), ", "))
			}
			if f.fromText == "" {
				return usage(cmd, "--from is missing: want %s", timeHelp)
			}
			f.buckets = []string{size}
			return a.metricRun(cmd, args[0], f, output)
		},
	}
	cmd.Flags().StringVarP(&size, "bucket", "b", "", "bucket `size` (required)")
	f.timeRange.add(cmd, "", "windows that contain or follow this `time`: "+timeHelp+" (required)",
		"windows that begin before this `time` (default: one window)")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

func (a *app) metricRun(cmd *cobra.Command, name string, f windowFlags, output string) error {
	if err := f.read(a.now()); err != nil {
		return usage(cmd, "%w", err)
	}
	if f.to.IsZero() {
		f.to = f.from.Add(time.Microsecond)
	}
	ctx := cmd.Context()
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	w, err := a.windows(cmd, store, name, f)
	if err != nil {
		return err
	}
	if err := checkConnection(w.metric.Definition); err != nil {
		return err
	}
	shown := shownBuckets{}
	before := func(s *shownBucket, b postgres.BucketRow) { s.Before = new(b.Value.String()) }
	if err := shown.read(ctx, store, w, before); err != nil {
		return err
	}
	if err := compute(ctx, store, w); err != nil {
		return a.notComputed(err, name)
	}
	after := func(s *shownBucket, b postgres.BucketRow) {
		s.Value, s.Detail, s.Final = new(b.Value.String()), b.Detail, b.Final
	}
	if err := shown.read(ctx, store, w, after); err != nil {
		return err
	}
	if output == outputJSON {
		return writeJSON(a.out, shown.sorted())
	}
	return a.showBuckets(shown.sorted())
}

// compute computes the windows, one by one.
func compute(ctx context.Context, store *postgres.Store, w windows) error {
	kind, err := typeOf(w.metric)
	if err != nil {
		return err
	}
	size := w.sizes[0]
	for _, chain := range w.metric.Definition.Chains {
		for window := range size.Windows(w.from, w.to) {
			span := aggregate.Span{Metric: w.metric.ID, Size: size, Chain: chain, From: window.Start, To: window.End}
			if err := runner.Now(ctx, kind, store, span, runner.CodeVersion()); err != nil {
				return err
			}
		}
	}
	return nil
}

// notComputed adds what can be done where windows could not be computed.
func (a *app) notComputed(err error, name string) error {
	switch {
	case errors.Is(err, runner.ErrUnderWay), errors.Is(err, aggregate.ErrSuperseded):
		return advise(err, "see which runs are under way: %s", a.command("run", "list", name, "--state", "running"))
	case errors.Is(err, aggregate.ErrArchiveBehind):
		return advise(err, "see how far the archive has got: %s", a.command("status"))
	}
	return err
}

// shownBucket is the JSON form of a bucket that was computed; of one that has gone only Before is known.
type shownBucket struct {
	Start      time.Time         `json:"bucket_start"`
	Chain      string            `json:"chain"`
	Dimensions map[string]string `json:"dimensions"`
	Before     *string           `json:"before"`
	Value      *string           `json:"value"`
	Detail     json.RawMessage   `json:"value_json,omitempty"`
	Final      bool              `json:"final"`
}

// shownBuckets are buckets by what tells them apart.
type shownBuckets map[bucket.Key]*shownBucket

// read reads the buckets of windows, and has each be shown by take.
func (s shownBuckets) read(
	ctx context.Context, store *postgres.Store, w windows, take func(*shownBucket, postgres.BucketRow),
) error {
	size := w.sizes[0]
	query := postgres.Query{Metric: w.metric.Definition.Name, Size: size, From: size.Window(w.from).Start, To: w.to}
	buckets, err := store.Buckets(ctx, query)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		key := bucket.Key{Start: b.Window.Start, Chain: b.Chain, Dimensions: dimensionsText(b.Dimensions)}
		if s[key] == nil {
			s[key] = &shownBucket{Start: key.Start, Chain: key.Chain, Dimensions: b.Dimensions}
		}
		take(s[key], b)
	}
	return nil
}

// dimensionsText shows dimensions to people: name=value, …, by name.
func dimensionsText(dimensions map[string]string) string {
	texts := make([]string, 0, len(dimensions))
	for _, name := range slices.Sorted(maps.Keys(dimensions)) {
		texts = append(texts, name+"="+dimensions[name])
	}
	return strings.Join(texts, ", ")
}

func (s shownBuckets) sorted() []*shownBucket {
	all := make([]*shownBucket, 0, len(s))
	for _, key := range slices.SortedFunc(maps.Keys(s), bucket.Key.Compare) {
		all = append(all, s[key])
	}
	return all
}

func (a *app) showBuckets(buckets []*shownBucket) error {
	if len(buckets) == 0 {
		_, err := fmt.Fprintln(a.errors, "computed: no bucket")
		return err
	}
	t := &table{columns: []column{
		{name: "window"},
		{name: "chain"},
		{name: "dimensions"},
		{name: "before", right: true},
		{name: "now", right: true},
		{name: "final"},
	}}
	changed := 0
	for _, b := range buckets {
		before, now := "", ""
		if b.Before != nil {
			before = *b.Before
		}
		if b.Value != nil {
			now = *b.Value
		}
		if before != now {
			changed++
		}
		t.add(b.Start.Format("2006-01-02 15:04"), b.Chain, printable(dimensionsText(b.Dimensions)), before, now, fmt.Sprint(b.Final))
	}
	if err := t.write(a.out, styleOf(a.out), ""); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.errors, "%s, %s changed\n", plural(len(buckets), "bucket", "buckets"), grouped(int64(changed)))
	return err
}
