package histogram_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chainmetrics/chainmetrics/functions/histogram/histogram"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

func observe(t testing.TB, state aggregate.State, numbers ...string) {
	t.Helper()
	for _, text := range numbers {
		n, err := decimal.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := state.Observe(metric.Observation{Number: n}); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func TestDetail(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		numbers []string
		mean    string
		detail  string
	}{
		"one": {
			[]string{"3"},
			"3",
			`{"count":1,"sum":3,"mean":3,"stddev":null,"min":3,"max":3,"p25":3,"p50":3,"p75":3,"p90":3,"p95":3,"p99":3,"relative_error":0.009709}`,
		},
		"zeros": {
			[]string{"0", "0"},
			"0",
			`{"count":2,"sum":0,"mean":0,"stddev":0,"min":0,"max":0,"p25":0,"p50":0,"p75":0,"p90":0,"p95":0,"p99":0,"relative_error":0.009709}`,
		},
		"both sides of zero": {
			[]string{"-8", "-8", "0", "16", "16"},
			"3.2",
			`{"count":5,"sum":16,"mean":3.2,"stddev":12.132600710482480887,"min":-8,"max":16,"p25":-8,"p50":0,"p75":16,"p90":16,"p95":16,"p99":16,"relative_error":0.009709}`,
		},
		// A deviation from squares that were rounded would be zero, or not a number.
		"close together and far from zero": {
			[]string{"100000000000000000000000000000", "100000000000000000000000000001", "100000000000000000000000000002"},
			"100000000000000000000000000001",
			`{"count":3,"sum":300000000000000000000000000003,"mean":100000000000000000000000000001,"stddev":1,` +
				`"min":100000000000000000000000000000,"max":100000000000000000000000000002,"p25":100000000000000000000000000002,` +
				`"p50":100000000000000000000000000002,"p75":100000000000000000000000000002,"p90":100000000000000000000000000002,` +
				`"p95":100000000000000000000000000002,"p99":100000000000000000000000000002,"relative_error":0.009709}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := histogram.Type{}.NewState(metric.Definition{RelativeError: 0.01})
			observe(t, state, c.numbers...)
			mean, detail := state.Value()
			if mean.String() != c.mean || string(detail) != c.detail {
				t.Errorf("got  %s %s\nwant %s %s", mean, detail, c.mean, c.detail)
			}
		})
	}
}

// shown gives the quantiles of a state's detail, by percent, and its relative error.
func shown(t *testing.T, state aggregate.State) (map[int]*big.Float, float64) {
	t.Helper()
	_, detail := state.Value()
	var all map[string]json.Number
	if err := json.Unmarshal(detail, &all); err != nil {
		t.Fatal(err)
	}
	quantiles := map[int]*big.Float{}
	for _, percent := range []int{25, 50, 75, 90, 95, 99} {
		f, _, err := big.ParseFloat(all[fmt.Sprintf("p%d", percent)].String(), 10, 500, big.ToNearestEven)
		if err != nil {
			t.Fatal(err)
		}
		quantiles[percent] = f
	}
	relativeError, err := all["relative_error"].Float64()
	if err != nil {
		t.Fatal(err)
	}
	return quantiles, relativeError
}

// TestQuantilesLieWithinTheirError compares quantiles with exact ones, for distributions that make sketches err.
func TestQuantilesLieWithinTheirError(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	distributions := map[string]func(i int) float64{
		"uniform":            func(int) float64 { return random.Float64() },
		"heavy tail":         func(int) float64 { return math.Pow(random.Float64(), -3) },
		"both signs":         func(int) float64 { return random.NormFloat64() * 1e9 },
		"mostly zero":        func(int) float64 { return max(0, random.Float64()-0.8) },
		"all magnitudes":     func(int) float64 { return math.Pow(10, random.Float64()*200-17) },
		"powers of two":      func(i int) float64 { return math.Ldexp(1, i%60) },
		"below powers":       func(i int) float64 { return math.Nextafter(math.Ldexp(1, i%60), 0) },
		"bounds of the bins": func(i int) float64 { return 1 + float64(i%50)/50 },
		"two values":         func(i int) float64 { return []float64{1, 1.0199}[i%2] },
		"descending":         func(i int) float64 { return 1e6 - float64(i) },
	}
	for name, next := range distributions {
		for _, stated := range []float64{0.001, 0.01, 0.05} {
			t.Run(fmt.Sprintf("%s to %v", name, stated), func(t *testing.T) {
				const n = 20_001
				state := histogram.Type{}.NewState(metric.Definition{RelativeError: stated})
				values := make([]*big.Float, n)
				for i := range values {
					d, err := decimal.Parse(fmt.Sprintf("%e", next(i)))
					if err != nil {
						t.Fatal(err)
					}
					if err := state.Observe(metric.Observation{Number: d}); err != nil {
						t.Fatal(err)
					}
					values[i], _, _ = big.ParseFloat(d.String(), 10, 500, big.ToNearestEven)
				}
				slices.SortFunc(values, (*big.Float).Cmp)
				quantiles, relativeError := shown(t, state)
				if relativeError > stated {
					t.Errorf("the error is %v, more than was asked for", relativeError)
				}
				for percent, got := range quantiles {
					exact := values[percent*(n-1)/100]
					off, _ := new(big.Float).Sub(got, exact).Float64()
					size, _ := exact.Float64()
					if math.Abs(off) > stated*math.Abs(size) {
						t.Errorf("p%d is %v, off by more than %v from %v", percent, got, stated, exact)
					}
				}
			})
		}
	}
}

// TestHoursMergeIntoTheDay compares a day's state with that of its hours.
func TestHoursMergeIntoTheDay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	d := metric.Definition{RelativeError: 0.01}
	day, merged := histogram.Type{}.NewState(d), histogram.Type{}.NewState(d)
	for range 24 {
		hour := histogram.Type{}.NewState(d)
		for range random.IntN(500) {
			number := fmt.Sprintf("%.18e", random.ExpFloat64()*1e21)
			observe(t, day, number)
			observe(t, hour, number)
		}
		stored, err := histogram.Type{}.DecodeState(d, hour.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := merged.Merge(stored); err != nil {
			t.Fatal(err)
		}
	}
	if string(merged.Encode()) != string(day.Encode()) {
		t.Error("the hours are not the day")
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	state := histogram.Type{}.NewState(metric.Definition{RelativeError: 0.01})
	observe(t, state, "1e300", "-1e300", "1e-300", "-1e-300", "1e-17")
	before := string(state.Encode())
	for _, text := range []string{"1.1e300", "-1.1e300", "9e-301", "1" + "." + fmt.Sprintf("%0400d", 0) + "1"} {
		n, err := decimal.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := state.Observe(metric.Observation{Number: n}); err == nil {
			t.Errorf("%.20s was taken", text)
		}
	}
	if string(state.Encode()) != before {
		t.Error("refused values left something")
	}
	state.Value() // whose arithmetic has to stay within the bounds of decimals
}

func TestOtherErrorsDoNotMerge(t *testing.T) {
	t.Parallel()
	coarse := histogram.Type{}.NewState(metric.Definition{RelativeError: 0.05})
	fine := histogram.Type{}.NewState(metric.Definition{RelativeError: 0.01})
	if err := fine.Merge(coarse); err == nil {
		t.Error("a coarser state was merged")
	}
	if _, err := (histogram.Type{}).DecodeState(metric.Definition{RelativeError: 0.01}, coarse.Encode()); err == nil {
		t.Error("a coarser state was read")
	}
}
