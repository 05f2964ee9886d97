package main_test

import (
	"testing"

	"github.com/chainmetrics/chainmetrics/functions/gauge/gauge"
	"github.com/chainmetrics/chainmetrics/functions/histogram/histogram"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 5)
	entries = append(entries[:2:2], entries[3:]...) // no event on 29 February
	o.deliver(t, entries)

	tests := map[string][]string{
		"daily.txt":          {"test_blocks", "--bucket", "daily"},
		"hourly.txt":         {"test_blocks", "--bucket", "hourly"},
		"monthly.json":       {"test_blocks", "--bucket", "monthly", "--output", "json"},
		"weekly.csv":         {"test_blocks", "--bucket", "weekly", "--output", "csv"},
		"range.csv":          {"test_blocks", "-b", "daily", "--from", "2024-02-28", "--to", "2024-03-01T00:00:00Z", "-o", "csv"},
		"filled.csv":         {"test_blocks", "-b", "daily", "--fill", "zero", "--to", "2024-03-03", "-o", "csv"},
		"previous.csv":       {"test_blocks", "-b", "daily", "--fill", "previous", "--from", "2024-02-29", "-o", "csv"},
		"cumulative.txt":     {"test_blocks", "-b", "daily", "--cumulative"},
		"cumulative.json":    {"test_value", "-b", "daily", "--cumulative", "--fill", "zero", "-d", "kind=normal", "-o", "json"},
		"dimensions.txt":     {"test_value", "-b", "daily"},
		"dimensions.csv":     {"test_value", "-b", "daily", "-o", "csv"},
		"fill-of-metric.csv": {"test_senders", "-b", "daily", "-o", "csv"},
		"nothing.json":       {"test_blocks", "-b", "daily", "--from", "7d", "-o", "json"},
		"as-of.json":         {"test_blocks", "-b", "daily", "--as-of", "2024-06-01T12:00:00Z", "-o", "json"},
		"nothing.csv":        {"test_value", "-b", "daily", "--chain", "other", "-o", "csv"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, "query-"+name, o.must(t, append([]string{"query"}, args...)...))
		})
	}
	refusals := map[string]struct {
		args []string
		want string
	}{
		"unknown metric": {
			[]string{"query", "test_none", "-b", "daily"},
			"chainmetrics: unknown metric: test_none\n  see the names with: " + o.binary + " metric list\n",
		},
		"running total of distinct counts": {
			[]string{"query", "test_senders", "-b", "daily", "--cumulative"},
			"chainmetrics: buckets do not add up: test_senders is a counter of aggregate distinct, which has no running total\n",
		},
		"size that the metric does not keep": {
			[]string{"query", "test_value", "-b", "hourly"},
			"chainmetrics: bucket size is not kept: test_value has no hourly buckets, only daily\n",
		},
		"unknown dimension": {
			[]string{"query", "test_value", "-b", "daily", "-d", "color=red"},
			"chainmetrics: test_value has no dimension \"color\": it has kind\n",
		},
		"too many points": {
			[]string{"query", "test_blocks", "-b", "hourly", "--fill", "zero", "--from", "1700-01"},
			"chainmetrics: read test_blocks: too many points: more than 1000000, ask for a shorter range or larger buckets\n",
		},
	}
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.refused(t, 1, test.want, test.args...)
		})
	}
	t.Run("no buckets is said on standard error", func(t *testing.T) {
		t.Parallel()
		r := o.run(t, "query", "test_blocks", "-b", "daily", "--from", "7d")
		if r.code != 0 || r.out != "" || r.errors != "no daily bucket of test_blocks matches the filters\n"+
			"testchain: holds "+testStream+" up to entry 0-5, and all that was expected before 2024-03-02T23:30:00Z\n" {
			t.Errorf("got %+v", r)
		}
	})
}

// TestQueryShow reads what types with a value_json show of it, and the level of a day without readings.
func TestQueryShow(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"), "-f", file(t, "spread.yaml"))
	entries := chain(t, 5)
	entries = append(entries[:2:2], entries[3:]...) // no event on 29 February
	o.deliver(t, entries)
	o.deliverTo(t, gauge.Type{}, entries)
	o.deliverTo(t, histogram.Type{}, entries)
	tests := map[string][]string{
		"level.txt":        {"test_level", "-b", "daily", "--show", "first,last,count"},
		"level.csv":        {"test_level", "-b", "daily", "--show", "first,last,count", "-o", "csv"},
		"level-later.csv":  {"test_level", "-b", "daily", "--from", "2024-02-29", "--to", "2024-03-02", "-o", "csv"},
		"level.json":       {"test_level", "-b", "daily", "--from", "2024-02-28", "--to", "2024-03-01", "-o", "json"},
		"spread.txt":       {"test_spread", "-b", "daily", "--show", "p50,p99", "--show", "stddev"},
		"spread.csv":       {"test_spread", "-b", "daily", "--show", "min", "-d", "kind=normal", "-o", "csv"},
		"senders-show.csv": {"test_senders", "-b", "daily", "--show", "relative_error", "-o", "csv"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, "query-"+name, o.must(t, append([]string{"query"}, args...)...))
		})
	}
	refusals := map[string]struct {
		args []string
		want string
	}{
		"unknown name": {
			[]string{"query", "test_level", "-b", "daily", "--show", "last,p99"},
			"chainmetrics: --show p99: value_json of test_level has no such name: want one of first, last, min, max, avg, count\n",
		},
		"nothing to show": {
			[]string{"query", "test_blocks", "-b", "daily", "--show", "count"},
			"chainmetrics: --show count: test_blocks has no value_json: leave it out\n",
		},
	}
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.refused(t, 2, test.want+"  see chainmetrics query --help\n", test.args...)
		})
	}
}

func TestQueryOfAMetricThatCameLate(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.deliver(t, chain(t, 3))
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	want := "test_blocks has no daily buckets yet: it counts from after 0-3 of " + testStream + "\n" +
		"testchain: holds " + testStream + " up to entry 0-3, but for windows that have still to be computed from the archive, or could not be\n"
	if r := o.run(t, "query", "test_blocks", "-b", "daily"); r.code != 0 || r.out != "" || r.errors != want {
		t.Errorf("got %+v, want %q", r, want)
	}
}
