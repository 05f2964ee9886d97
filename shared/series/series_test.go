package series_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

func date(t testing.TB, text string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02", "2006-01-02T15"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	t.Fatalf("%q is no date", text)
	return time.Time{}
}

// read makes buckets of lines "<start> <value> [<to>] [final]".
func read(t testing.TB, size bucket.Size, lines ...string) []series.Bucket {
	t.Helper()
	buckets := make([]series.Bucket, 0, len(lines))
	for _, line := range lines {
		fields := strings.Fields(line)
		value, err := decimal.Parse(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		b := series.Bucket{Chain: "bitcoin", Window: size.Window(date(t, fields[0])), Value: value}
		for _, field := range fields[2:] {
			if field == "final" {
				b.Final = true
			} else {
				b.Dimensions = map[string]string{"to": field}
			}
		}
		buckets = append(buckets, b)
	}
	return buckets
}

// show writes series as lines "<to>: <start> <value>[ final][ filled]".
func show(all []series.Series) []string {
	var lines []string
	for _, s := range all {
		for _, p := range s.Points {
			line := fmt.Sprintf("%s: %s %s", s.Dimensions["to"], p.Window.Start.Format("2006-01-02T15"), p.Value)
			if p.Final {
				line += " final"
			}
			if p.Filled {
				line += " filled"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func TestBuild(t *testing.T) {
	t.Parallel()
	const huge = "115792089237316195423570985008687907853269984665640564039457584007913129639935.000000000000000001"
	tests := map[string]struct {
		size     bucket.Size // daily unless told
		from, to string
		options  series.Options
		buckets  []string
		want     []string
	}{
		"no buckets": {options: series.Options{Fill: series.Zero}},
		"as stored": {
			buckets: []string{"2009-01-12 3", "2009-01-09 1 final"},
			want:    []string{": 2009-01-09T00 1 final", ": 2009-01-12T00 3"},
		},
		"as stored within a half-open range": {
			from: "2009-01-10", to: "2009-01-12",
			buckets: []string{"2009-01-09 1", "2009-01-10 2", "2009-01-11 3", "2009-01-12 4"},
			want:    []string{": 2009-01-10T00 2", ": 2009-01-11T00 3"},
		},
		"zero, to the ends of the chain": {
			options: series.Options{Fill: series.Zero},
			buckets: []string{"2009-01-09 1 a", "2009-01-11 3 a", "2009-01-10 7 b"},
			want: []string{
				"a: 2009-01-09T00 1", "a: 2009-01-10T00 0 filled", "a: 2009-01-11T00 3",
				"b: 2009-01-09T00 0 filled", "b: 2009-01-10T00 7", "b: 2009-01-11T00 0 filled",
			},
		},
		"zero, to the ends of the range": {
			from: "2009-01-08", to: "2009-01-11", options: series.Options{Fill: series.Zero},
			buckets: []string{"2009-01-09 1"},
			want:    []string{": 2009-01-08T00 0 filled", ": 2009-01-09T00 1", ": 2009-01-10T00 0 filled"},
		},
		"zero in a range without buckets": {
			from: "2009-01-10", to: "2009-01-11", options: series.Options{Fill: series.Zero},
			buckets: []string{"2009-01-09 1"},
			want:    []string{": 2009-01-10T00 0 filled"},
		},
		"previous, for each set of dimensions": {
			options: series.Options{Fill: series.Previous},
			buckets: []string{"2009-01-09 1 a", "2009-01-11 3 a final", "2009-01-10 7 b"},
			want: []string{
				"a: 2009-01-09T00 1", "a: 2009-01-10T00 1 filled", "a: 2009-01-11T00 3 final",
				"b: 2009-01-10T00 7", "b: 2009-01-11T00 7 filled",
			},
		},
		"previous, from before the range": {
			from: "2009-01-11", to: "2009-01-13", options: series.Options{Fill: series.Previous},
			buckets: []string{"2009-01-09 1 final", "2009-01-12 5"},
			want:    []string{": 2009-01-11T00 1 filled", ": 2009-01-12T00 5"},
		},
		"previous, from long before the first": {
			size: bucket.Minutely, from: "1700-01-01", options: series.Options{Fill: series.Previous},
			buckets: []string{"2009-01-09 1"},
			want:    []string{": 2009-01-09T00 1"},
		},
		"previous, without a bucket in a range": {
			from: "2009-01-11", to: "2009-01-12", options: series.Options{Fill: series.Previous},
			buckets: []string{"2009-01-09 1 a", "2009-01-13 5 b"},
			want:    []string{"a: 2009-01-11T00 1 filled"},
		},
		"cumulative is exact": {
			options: series.Options{Cumulative: true},
			buckets: []string{"2009-01-09 " + huge, "2009-01-10 0.000000000000000001", "2009-01-12 -0.000000000000000002"},
			want: []string{
				": 2009-01-09T00 " + huge,
				": 2009-01-10T00 115792089237316195423570985008687907853269984665640564039457584007913129639935.000000000000000002",
				": 2009-01-12T00 115792089237316195423570985008687907853269984665640564039457584007913129639935",
			},
		},
		"cumulative from the very first bucket, final while all are": {
			from: "2009-01-10", options: series.Options{Cumulative: true},
			buckets: []string{"2009-01-09 1 final", "2009-01-10 2 final", "2009-01-11 3", "2009-01-12 4 final"},
			want:    []string{": 2009-01-10T00 3 final", ": 2009-01-11T00 6", ": 2009-01-12T00 10"},
		},
		"cumulative with previous": {
			from: "2009-01-08", to: "2009-01-13", options: series.Options{Cumulative: true, Fill: series.Previous},
			buckets: []string{"2009-01-09 1", "2009-01-11 3"},
			want: []string{
				": 2009-01-09T00 1", ": 2009-01-10T00 1 filled", ": 2009-01-11T00 4", ": 2009-01-12T00 4 filled",
			},
		},
		"cumulative with zero": {
			from: "2009-01-08", to: "2009-01-13", options: series.Options{Cumulative: true, Fill: series.Zero},
			buckets: []string{"2009-01-09 1", "2009-01-11 3"},
			want: []string{
				": 2009-01-08T00 0 filled", ": 2009-01-09T00 1", ": 2009-01-10T00 1 filled", ": 2009-01-11T00 4",
				": 2009-01-12T00 4 filled",
			},
		},
		"hours do not know of daylight saving": {
			size: bucket.Hourly, options: series.Options{Fill: series.Zero},
			buckets: []string{"2009-03-29T00 1", "2009-03-29T04 2"},
			want: []string{
				": 2009-03-29T00 1", ": 2009-03-29T01 0 filled", ": 2009-03-29T02 0 filled", ": 2009-03-29T03 0 filled",
				": 2009-03-29T04 2",
			},
		},
		"weeks begin on Monday, over the end of a year": {
			size: bucket.Weekly, from: "2009-12-22", to: "2010-01-11", options: series.Options{Fill: series.Zero},
			buckets: []string{"2009-12-21 1", "2010-01-04 2"},
			want:    []string{": 2009-12-28T00 0 filled", ": 2010-01-04T00 2"},
		},
		"months of every length": {
			size: bucket.Monthly, options: series.Options{Fill: series.Zero},
			buckets: []string{"2012-01-31 1", "2012-04-01 2"},
			want: []string{
				": 2012-01-01T00 1", ": 2012-02-01T00 0 filled", ": 2012-03-01T00 0 filled", ": 2012-04-01T00 2",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := test.options
			options.Size = test.size
			if options.Size == 0 {
				options.Size = bucket.Daily
			}
			if test.from != "" {
				options.From = date(t, test.from)
			}
			if test.to != "" {
				options.To = date(t, test.to)
			}
			got, err := series.Build(options, read(t, options.Size, test.buckets...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, show(got)); diff != "" {
				t.Errorf("points differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPreviousOfALevel: what a window without readings shows is where the level stood last, whatever the value of the
// bucket before is of.
func TestPreviousOfALevel(t *testing.T) {
	t.Parallel()
	minute := func(n int, value int64, detail string) series.Bucket {
		return series.Bucket{
			Chain: "testchain", Window: bucket.Minutely.Window(date(t, "2009-01-09").Add(time.Duration(n) * time.Minute)),
			Value: decimal.FromInt64(value), Detail: json.RawMessage(detail),
		}
	}
	first, third := minute(1, 5, `{"first": 5, "last": 9}`), minute(3, 7, `{"first": 7, "last": 8}`)
	options := series.Options{Size: bucket.Minutely, Fill: series.Previous, Level: "last"}
	options.To = third.Window.End.Add(time.Minute)
	filled := func(n int, value int64) series.Point {
		return series.Point{Window: minute(n, 0, "").Window, Value: decimal.FromInt64(value), Filled: true}
	}
	stored := func(b series.Bucket) series.Point {
		return series.Point{Window: b.Window, Value: b.Value, Detail: b.Detail}
	}
	all, err := series.Build(options, []series.Bucket{first, third})
	if err != nil {
		t.Fatal(err)
	}
	want := []series.Series{{
		Chain: "testchain", Points: []series.Point{stored(first), filled(2, 9), stored(third), filled(4, 8)},
	}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	for _, detail := range []string{`{}`, `{"last": "much"}`, `null`, ``} {
		if _, err := series.Build(options, []series.Bucket{minute(1, 5, detail)}); err == nil {
			t.Errorf("detail %s has a level", detail)
		}
	}
}

func TestBuildKeepsChainsApart(t *testing.T) {
	t.Parallel()
	buckets := read(t, bucket.Daily, "2009-01-09 1", "2009-01-11 2")
	other := read(t, bucket.Daily, "2015-07-30 8")
	other[0].Chain = "ethereum"
	all, err := series.Build(series.Options{Size: bucket.Daily, Fill: series.Zero, Cumulative: true}, append(other, buckets...))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, s := range all {
		got[s.Chain] = len(s.Points)
	}
	if diff := cmp.Diff(map[string]int{"bitcoin": 3, "ethereum": 1}, got); diff != "" {
		t.Errorf("numbers of points differ (-want +got):\n%s", diff)
	}
}

func TestBuildLeavesTheBucketsAlone(t *testing.T) {
	t.Parallel()
	buckets := read(t, bucket.Daily, "2009-01-11 2", "2009-01-09 1")
	if _, err := series.Build(series.Options{Size: bucket.Daily, Cumulative: true}, buckets); err != nil {
		t.Fatal(err)
	}
	if got := buckets[0].Value.String() + " " + buckets[1].Value.String(); got != "2 1" {
		t.Errorf("values became %s", got)
	}
}

func TestBuildRefusesTooManyPoints(t *testing.T) {
	t.Parallel()
	options := series.Options{Size: bucket.Minutely, From: date(t, "2009-01-01"), To: date(t, "2026-01-01"), Fill: series.Zero}
	_, err := series.Build(options, read(t, bucket.Minutely, "2009-01-09 1"))
	if !errors.Is(err, series.ErrTooLong) {
		t.Errorf("got %v, want %v", err, series.ErrTooLong)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	day := bucket.Daily
	kind := metric.Type{Aggregates: []metric.Aggregate{{Name: "sum", Additive: true}, {Name: "distinct"}}}
	tests := map[string]struct {
		aggregate string
		options   series.Options
		want      error
	}{
		"sum":                    {"sum", series.Options{Size: day, Cumulative: true}, nil},
		"distinct":               {"distinct", series.Options{Size: day}, nil},
		"distinct does not add":  {"distinct", series.Options{Size: day, Cumulative: true}, series.ErrNotAdditive},
		"unknown aggregate":      {"product", series.Options{Size: day, Cumulative: true}, series.ErrNotAdditive},
		"size that is not kept":  {"sum", series.Options{Size: bucket.Hourly}, series.ErrNotKept},
		"range":                  {"sum", series.Options{Size: day, From: date(t, "2009-01-09"), To: date(t, "2009-01-10")}, nil},
		"range without length":   {"sum", series.Options{Size: day, From: date(t, "2009-01-09"), To: date(t, "2009-01-09")}, series.ErrEmptyRange},
		"range that is reversed": {"sum", series.Options{Size: day, From: date(t, "2009-01-10"), To: date(t, "2009-01-09")}, series.ErrEmptyRange},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			definition := metric.Definition{Name: "m", Aggregate: test.aggregate, BucketSizes: []bucket.Size{day, bucket.Weekly}}
			if err := test.options.Check(definition, kind); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestReadFrom(t *testing.T) {
	t.Parallel()
	from := date(t, "2009-01-09")
	tests := map[string]struct {
		options series.Options
		want    time.Time
		before  bool
	}{
		"as stored":       {series.Options{From: from}, from, false},
		"not filled":      {series.Options{From: from, Fill: series.None}, from, false},
		"zero":            {series.Options{From: from, Fill: series.Zero}, from, true},
		"previous":        {series.Options{From: from, Fill: series.Previous}, from, true},
		"previous of all": {series.Options{Fill: series.Previous}, time.Time{}, false},
		"cumulative":      {series.Options{From: from, Cumulative: true}, time.Time{}, false},
		"filled totals":   {series.Options{From: from, Cumulative: true, Fill: series.Zero}, time.Time{}, false},
		"from everything": {series.Options{}, time.Time{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.options.ReadFrom(); !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got := test.options.ReadBefore(); got != test.before {
				t.Errorf("the last bucket before it: got %t, want %t", got, test.before)
			}
		})
	}
}

func TestFillText(t *testing.T) {
	t.Parallel()
	for _, name := range series.FillNames() {
		fill, err := series.ParseFill(name)
		if err != nil || fill.String() != name {
			t.Errorf("%s reads as %v, %v", name, fill, err)
		}
	}
	if fill, err := series.ParseFill(""); fill != series.None || err != nil {
		t.Errorf("nothing reads as %v, %v", fill, err)
	}
	if _, err := series.ParseFill("linear"); err == nil || !strings.Contains(err.Error(), "none, zero, previous") {
		t.Errorf("unknown fill: %v", err)
	}
	if _, err := series.Fill(0).MarshalText(); err == nil {
		t.Error("the zero value has a text form")
	}
}
