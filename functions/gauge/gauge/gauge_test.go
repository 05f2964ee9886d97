package gauge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/gauge/gauge"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// reading makes an observation at a second, of the event at a height and an index, at a place of its list.
func reading(t *testing.T, second int64, height, index uint64, element int, number string) metric.Observation {
	t.Helper()
	n, err := decimal.Parse(number)
	if err != nil {
		t.Fatal(err)
	}
	return metric.Observation{
		Time:   time.Unix(second, 0).UTC(),
		Place:  metric.Place{Event: events.ID{Major: height, Minor: index}, Element: element},
		Number: n,
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	type row struct {
		second        int64
		height, index uint64
		element       int
		number        string
	}
	cases := map[string]struct {
		readings []row
		want     map[string]string // by aggregate
		detail   string
	}{
		"one": {
			[]row{{1, 1, 0, 0, "7"}},
			map[string]string{"first": "7", "last": "7", "min": "7", "max": "7", "avg": "7"},
			`{"first":7,"last":7,"min":7,"max":7,"avg":7,"count":1}`,
		},
		"time before height, height before index, index before element": {
			[]row{{2, 1, 9, 9, "5"}, {1, 3, 0, 0, "2"}, {1, 2, 9, 0, "1"}, {2, 1, 10, 0, "6"}, {2, 1, 10, 1, "4"}},
			map[string]string{"first": "1", "last": "4", "min": "1", "max": "6", "avg": "3.6"},
			`{"first":1,"last":4,"min":1,"max":6,"avg":3.6,"count":5}`,
		},
		"heights are numbers, not texts": {
			[]row{{1, 10, 0, 0, "10"}, {1, 9, 0, 0, "9"}},
			map[string]string{"first": "9", "last": "10", "avg": "9.5"},
			`{"first":9,"last":10,"min":9,"max":10,"avg":9.5,"count":2}`,
		},
		"an average of wei is rounded once, half-even": {
			[]row{{1, 1, 0, 0, "100000000000000000000000"}, {2, 1, 0, 0, "100000000000000000000001"}, {3, 1, 0, 0, "100000000000000000000001"}},
			map[string]string{"avg": "100000000000000000000000.666666666666666667"},
			`{"first":100000000000000000000000,"last":100000000000000000000001,"min":100000000000000000000000,` +
				`"max":100000000000000000000001,"avg":100000000000000000000000.666666666666666667,"count":3}`,
		},
		"a level below zero": {
			[]row{{1, 1, 0, 0, "-0.5"}, {2, 1, 0, 0, "-1.5"}},
			map[string]string{"first": "-0.5", "last": "-1.5", "min": "-1.5", "max": "-0.5", "avg": "-1"},
			`{"first":-0.5,"last":-1.5,"min":-1.5,"max":-0.5,"avg":-1,"count":2}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for aggregate, want := range c.want {
				state := gauge.Type{}.NewState(metric.Definition{Aggregate: aggregate})
				for _, r := range c.readings {
					if err := state.Observe(reading(t, r.second, r.height, r.index, r.element, r.number)); err != nil {
						t.Fatal(err)
					}
				}
				value, detail := state.Value()
				if value.String() != want || string(detail) != c.detail {
					t.Errorf("%s is %s with %s, want %s with %s", aggregate, value, detail, want, c.detail)
				}
			}
		})
	}
}

// TestStateIsCompact holds the encoding to a size: buckets of a gauge are written again with every batch.
func TestStateIsCompact(t *testing.T) {
	t.Parallel()
	for n, most := range map[int]int{1: 24, 1000: 60} {
		state := gauge.Type{}.NewState(metric.Definition{Aggregate: "last"})
		for i := range n {
			if err := state.Observe(reading(t, 1_700_000_000+int64(i), 18_937_382, uint64(i), 0, fmt.Sprint(1_000_000+i))); err != nil {
				t.Fatal(err)
			}
		}
		if size := len(state.Encode()); size > most {
			t.Errorf("%d readings take %d bytes, want at most %d", n, size, most)
		}
	}
}
