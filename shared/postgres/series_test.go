package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

// seriesCall is a call of metric_series. What is nil is left to the definition.
type seriesCall struct {
	metric     string
	size       string
	from, to   *time.Time
	fill       *string
	cumulative *bool
	chain      string // empty: all
	dimensions map[string]string
}

func (c seriesCall) String() string {
	text, _ := json.Marshal([]any{c.metric, c.size, c.from, c.to, c.fill, c.cumulative, c.chain, c.dimensions})
	return string(text)
}

// ofSQL gives the points as lines, ordered.
func (c seriesCall) ofSQL(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `select chain, bucket_start, bucket_end, dimensions, value::text, value_json, final, filled, metric, bucket_size
		from metric_series($1, $2, $3, $4, $5, $6, nullif($7, ''), $8)
		order by chain, dimensions::text collate "C", bucket_start`,
		c.metric, c.size, c.from, c.to, c.fill, c.cumulative, c.chain, c.dimensions)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var (
			s            series.Series
			p            series.Point
			value        string
			metric, size string
		)
		err := row.Scan(&s.Chain, &p.Window.Start, &p.Window.End, &s.Dimensions, &value, &p.Detail, &p.Final, &p.Filled, &metric, &size)
		if err != nil {
			return "", err
		}
		if metric != c.metric || size != c.size {
			return "", fmt.Errorf("a bucket of %s %s", size, metric)
		}
		p.Value, err = decimal.Parse(value)
		return pointLine(s, p), err
	})
}

// ofGo gives the points as lines, ordered, as the command computes them.
func (c seriesCall) ofGo(ctx context.Context, store *postgres.Store) ([]string, error) {
	registered, err := store.Metric(ctx, c.metric)
	if err != nil {
		return nil, err
	}
	var (
		definition = registered.Definition
		kind       = functions.Definition(definition.Type)
		options    = series.Options{Cumulative: definition.Cumulative, Level: kind.Level}
		fill       = definition.Fill
	)
	if options.Size, err = bucket.ParseSize(c.size); err != nil {
		return nil, err
	}
	if c.fill != nil {
		fill = *c.fill
	}
	if options.Fill, err = series.ParseFill(fill); err != nil {
		return nil, err
	}
	if c.cumulative != nil {
		options.Cumulative = *c.cumulative
	}
	if c.from != nil {
		options.From = *c.from
	}
	if c.to != nil {
		options.To = *c.to
	}
	if err := options.Check(definition, kind); err != nil {
		return nil, err
	}
	rows, err := store.Buckets(ctx, postgres.Query{
		Metric: c.metric, Size: options.Size, From: options.ReadFrom(), To: options.To, Before: options.ReadBefore(),
		Chain: c.chain, Dimensions: c.dimensions,
	})
	if err != nil {
		return nil, err
	}
	buckets := make([]series.Bucket, len(rows))
	for i, row := range rows {
		buckets[i] = series.Bucket(row)
	}
	all, err := series.Build(options, buckets)
	lines := []string{}
	for _, s := range all {
		for _, p := range s.Points {
			lines = append(lines, pointLine(s, p))
		}
	}
	return lines, err
}

func pointLine(s series.Series, p series.Point) string {
	dimensions, _ := json.Marshal(s.Dimensions)
	return fmt.Sprintf("%s %s %s to %s: %s %s final %t filled %t", s.Chain, dimensions, p.Window.Start.UTC().Format(time.RFC3339),
		p.Window.End.UTC().Format(time.RFC3339), p.Value, p.Detail, p.Final, p.Filled)
}

// seriesMetrics are metrics whose buckets differ in what they leave behind, with each default once.
func seriesMetrics() []metric.Definition {
	flow, level, spread, total := definition("flow", "1"), definition("level", "1"), definition("spread", "1"), definition("total", "1")
	level.Type, level.Aggregate, level.Fill = "gauge", "avg", "previous"
	spread.Type, spread.Aggregate, spread.Fill = "histogram", "sketch", "zero"
	total.Aggregate, total.Cumulative = "count", true
	all := []metric.Definition{flow, level, spread, total}
	for i := range all {
		all[i].BucketSizes = bucket.Sizes()
		all[i].Chains = []string{"bitcoin", "litecoin"}
	}
	return all
}

// sparse puts random buckets of a metric, in a few dozen windows of each size, and gives the time that those cover.
func sparse(
	t *testing.T, store *postgres.Store, conn *pgx.Conn, random *rand.Rand, d metric.Definition,
) map[bucket.Size]bucket.Window {
	t.Helper()
	registered, err := store.Metric(t.Context(), d.Name)
	if err != nil {
		t.Fatal(err)
	}
	const windows = 24
	var (
		spans   = make(map[bucket.Size]bucket.Window)
		effects = aggregate.Effects{Mark: mark(1)}
	)
	for _, size := range d.BucketSizes {
		first := size.Window(at("2011-12-29 21:37:00")) // before the end of a year, in the end before a leap day
		last := first
		for n := range windows {
			if n > 0 {
				last = size.Window(last.End)
			}
			for i, chain := range d.Chains {
				for j, dimensions := range []string{`{}`, `{"to":"a"}`, `{"kind":"x","to":"a"}`} {
					if n < 5*i+3*j || random.IntN(4) > 0 {
						continue // each chain and set begins later than the one before
					}
					b := aggregate.Bucket{
						Key:   bucket.Key{Metric: registered.ID, Size: size, Start: last.Start, Chain: chain, Dimensions: dimensions},
						State: []byte{1}, Value: number(t, fmt.Sprintf("%d.%02d", random.IntN(40)-20, random.IntN(100))),
						Detail: fmt.Appendf(nil, `{"count": %d, "last": %d.5}`, n, random.IntN(100)),
					}
					effects.Buckets = append(effects.Buckets, b)
				}
			}
		}
		spans[size] = bucket.Window{Start: first.Start, End: last.End}
	}
	put(t, store, effects)
	execute(t, conn, `insert into windows (metric_id, bucket_size, bucket_start, chain, final, base_version)
		select distinct metric_id, bucket_size, bucket_start, chain, true, 1
		from metrics_data
		where metric_id = $1 and hashtext(bucket_start || chain) % 3 <> 0`, registered.ID)
	return spans
}

// seriesCalls gives calls for every size, fill and sum of a metric, each of a random range, chain and set of dimensions.
func seriesCalls(d metric.Definition, spans map[bucket.Size]bucket.Window, random *rand.Rand) (calls []seriesCall) {
	var fills []*string
	for _, name := range series.FillNames() {
		fills = append(fills, &name)
	}
	no, yes := false, true
	for _, size := range d.BucketSizes {
		span := spans[size]
		moment := func() *time.Time {
			if random.IntN(3) == 0 {
				return nil
			}
			length := span.End.Sub(span.Start)
			moment := span.Start.Add(time.Duration((random.Float64()*1.4 - 0.2) * float64(length))).Truncate(time.Microsecond)
			if random.IntN(2) == 0 {
				moment = size.Window(moment).Start
			}
			return &moment
		}
		for _, fill := range append(fills, nil) {
			for _, cumulative := range []*bool{&no, &yes, nil} {
				call := seriesCall{
					metric: d.Name, size: size.String(), fill: fill, cumulative: cumulative, from: moment(), to: moment(),
					chain:      []string{"", "", "bitcoin", "litecoin"}[random.IntN(4)],
					dimensions: []map[string]string{nil, nil, {"to": "a"}, {"kind": "x"}}[random.IntN(4)],
				}
				if call.from != nil && call.to != nil && call.to.Before(*call.from) && random.IntN(4) > 0 {
					call.from, call.to = call.to, call.from
				}
				calls = append(calls, call)
			}
		}
	}
	return calls
}

// TestSeriesInSQL: metric_series shows what series.Build shows.
func TestSeriesInSQL(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	conn := connect(t, url)
	execute(t, conn, "set timezone = 'America/New_York'")
	random := rand.New(rand.NewPCG(2009, 1))
	definitions := seriesMetrics()
	apply(t, store, definitions...)
	var refused, filled, plain int
	for _, d := range definitions {
		spans := sparse(t, store, conn, random, d)
		for _, call := range seriesCalls(d, spans, random) {
			want, wantError := call.ofGo(t.Context(), store)
			got, err := call.ofSQL(t.Context(), conn)
			if (err == nil) != (wantError == nil) {
				t.Fatalf("%s: got %v, want %v", call, err, wantError)
			}
			if diff := cmp.Diff(want, got); err == nil && diff != "" {
				t.Fatalf("%s (-want +got):\n%s", call, diff)
			}
			if err != nil {
				refused++
			}
			for _, line := range got {
				if strings.HasSuffix(line, "filled true") {
					filled++
				} else {
					plain++
				}
			}
		}
	}
	if refused < 10 || filled < 1000 || plain < 1000 {
		t.Errorf("%d calls were refused, %d windows filled, %d not: the calls show too little", refused, filled, plain)
	}
}

// TestSeriesInSQLRefuses: metric_series refuses what series.Options and series.Build refuse, and says why.
func TestSeriesInSQLRefuses(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	conn := connect(t, url)
	flow, level := definition("flow", "1"), definition("level", "1")
	level.Type, level.Aggregate = "gauge", "last"
	apply(t, store, flow, level)
	bucketOfLevel := bucketOf(t, store, "level")
	bucketOfLevel.Detail = []byte(`{"last": "much"}`)
	put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{bucketOf(t, store, "flow"), bucketOfLevel}})
	for arguments, want := range map[string]string{
		`'flaw', 'daily'`:                                                `unknown metric "flaw"`,
		`null, 'daily'`:                                                  `unknown metric "<NULL>"`,
		`'flow', 'weekly'`:                                               `bucket size is not kept: flow has no weekly buckets, only hourly, daily`,
		`'flow', 'yearly'`:                                               `bucket size is not kept: flow has no yearly buckets, only hourly, daily`,
		`'flow', 'daily', fill => 'linear'`:                              `unknown fill "linear": want one of none, zero, previous`,
		`'level', 'daily', cumulative => true`:                           `buckets do not add up: level is a gauge of aggregate last, which has no running total`,
		`'flow', 'daily', '2009-01-04Z', '2009-01-04Z'`:                  `empty range: 2009-01-04 00:00:00+00 is not before 2009-01-04 00:00:00+00`,
		`'flow', 'daily', 'infinity'`:                                    `empty range: infinity is not before infinity`,
		`'flow', 'hourly', '1700-01-01Z', '2026-01-01Z', 'zero'`:         ``,
		`'flow', 'daily', '1700-01-01Z', '9999-01-01Z', 'zero'`:          fmt.Sprintf("too many points: more than %d, ask for a shorter range or larger buckets", series.MaxPoints),
		`'level', 'daily', to_time => '2009-01-05Z', fill => 'previous'`: `a bucket has no level last: {"last": "much"}`,
		`'level', 'daily', fill => 'previous'`:                           ``,
	} {
		_, err := conn.Exec(t.Context(), "select from metric_series("+arguments+")")
		var refusal *pgconn.PgError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", arguments, err)
		case want != "" && (!errors.As(err, &refusal) || refusal.Message != want):
			t.Errorf("%s: got %v, want %s", arguments, err, want)
		}
	}
}

// TestSeriesInSQLKnowsTheTypes: what metric types say of their buckets is known to the functions in SQL.
func TestSeriesInSQLKnowsTheTypes(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	conn := connect(t, url)
	for _, kind := range functions.Definitions() {
		for _, a := range kind.Aggregates {
			d := metric.Definition{Type: kind.Name, Aggregate: a.Name}
			var additive bool
			var level string
			err := conn.QueryRow(t.Context(), "select adds_up($1), coalesce(level_name($1), '')", d).Scan(&additive, &level)
			if err != nil {
				t.Fatal(err)
			}
			if additive != kind.Additive(d) || level != kind.Level {
				t.Errorf("%s %s: adds up %t, level %q; want %t, %q", kind.Name, a.Name, additive, level, kind.Additive(d), kind.Level)
			}
		}
	}
}

// TestSeriesInSQLNeedsNoTables: who may read metric_buckets and metric_registry, as docs/observability.md asks for, may call metric_series.
func TestSeriesInSQLNeedsNoTables(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	conn := connect(t, url)
	apply(t, store, definition("flow", "1"))
	put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{bucketOf(t, store, "flow")}})
	execute(t, conn, "begin") // and never commit: a role belongs to the whole server
	execute(t, conn, "create role reader")
	execute(t, conn, "grant select on metric_buckets, metric_registry to reader")
	execute(t, conn, "set role reader")
	for _, way := range series.FillNames() {
		got := column[int64](t, conn, `select count(*) from metric_series('flow', 'daily', '2009-01-04Z', '2009-01-06Z', $1)`, way)
		if want := map[string]int64{"none": 0, "zero": 2, "previous": 2}[way]; got[0] != want {
			t.Errorf("%s: %d points, want %d", way, got[0], want)
		}
	}
}
