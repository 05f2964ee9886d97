package counter_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

func TestSumIsExact(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		numbers []string
		want    string
	}{
		"none":                    {nil, "0"},
		"beyond 2^64":             {[]string{"18446744073709551615", "18446744073709551615", "3"}, "36893488147419103233"},
		"wei to the last":         {[]string{"100000000000000000000000", "1", "-99999999999999999999999"}, "2"},
		"parts of a whole":        {[]string{"0.1", "0.2", "-0.3"}, "0"},
		"negative":                {[]string{"-1", "-2"}, "-3"},
		"shown half-even down":    {[]string{"0.0000000000000000005"}, "0"},
		"shown half-even up":      {[]string{"0.0000000000000000015"}, "0.000000000000000002"},
		"rounded only when shown": {[]string{"0.0000000000000000005", "0.0000000000000000005"}, "0.000000000000000001"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := counter.Type{}.NewState(metric.Definition{Aggregate: "sum"})
			for _, n := range c.numbers {
				observe(t, state, metric.Observation{Number: number(t, n)})
			}
			if got, _ := state.Value(); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestSumRefusesWhatCouldOverflow(t *testing.T) {
	t.Parallel()
	state := counter.Type{}.NewState(metric.Definition{Aggregate: "sum"})
	for _, n := range []string{"1e901", "-1e901"} {
		if err := state.Observe(metric.Observation{Number: number(t, n)}); err == nil {
			t.Errorf("%s was added", n)
		}
	}
	if got, _ := state.Value(); !got.IsZero() {
		t.Errorf("refused numbers left %s", got)
	}
}

func TestDistinctIsExactThenWithinItsError(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 1000, 8192, 8193, 20_000, 100_000, 1_000_000} {
		state := counter.Type{}.NewState(metric.Definition{Aggregate: "distinct"})
		for i := range n {
			address := "address " + strconv.Itoa(i)
			observe(t, state, metric.Observation{Elements: []string{address, address}})
		}
		value, detail := state.Value()
		got, _ := value.Int64()
		if n <= 8192 && (got != int64(n) || detail != nil) {
			t.Errorf("%d elements: got %d, detail %s", n, got, detail)
		}
		if off := math.Abs(float64(got)/float64(n) - 1); n > 8192 && (off > 3*0.0081 || detail == nil) {
			t.Errorf("%d elements: got %d, off by %.4f, detail %s", n, got, off, detail)
		}
	}
}

func observe(t *testing.T, state aggregate.State, o metric.Observation) {
	t.Helper()
	if err := state.Observe(o); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, text string) decimal.Decimal {
	t.Helper()
	d, err := decimal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
