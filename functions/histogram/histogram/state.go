package histogram

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

const (
	// shownPlaces is the number of decimal places of a number that is shown; the state keeps all.
	shownPlaces = 18
	// quantileDigits is the number of significant digits of a quantile, which is an estimate.
	quantileDigits = 7
)

// percentiles are the quantiles that are shown.
var percentiles = [...]uint64{25, 50, 75, 90, 95, 99}

var (
	errMagnitude = errors.New("value: neither zero nor between 10^-300 and 10^300, which is what a histogram holds")
	errPlaces    = errors.New("value: more than 400 decimal places")
)

// Squares of numbers within these bounds, and sums of more of them than there are, stay within the bounds of a decimal, and
// their magnitudes within those of floats.
var (
	greatest  = power(300)
	smallest  = power(-300)
	maxPlaces = 400
)

func power(exponent int) decimal.Decimal {
	d, err := decimal.FromInt64(1).Shift(exponent)
	if err != nil {
		panic(err)
	}
	return d
}

// state is what is known of the values of a window.
type state struct {
	parts              int32 // of a power of two, in both sketches
	count, zeros       uint64
	sum, squares       decimal.Decimal
	min, max           decimal.Decimal // mean nothing where there are no values
	positive, negative sketch          // of the magnitudes
}

// Observe adds a value.
func (s *state) Observe(o metric.Observation) error {
	value := o.Number
	magnitude := value
	if value.Sign() < 0 {
		magnitude = value.Neg()
	}
	switch {
	case value.IsZero():
		return s.add(&state{parts: s.parts, count: 1, zeros: 1})
	case magnitude.Cmp(greatest) > 0 || magnitude.Cmp(smallest) < 0:
		return errMagnitude
	case value.HasMorePlacesThan(maxPlaces):
		return errPlaces
	}
	square, err := value.Mul(value)
	if err != nil {
		return err
	}
	one := state{parts: s.parts, count: 1, sum: value, squares: square, min: value, max: value}
	number := sketch{{binOf(magnitude.Float64(), s.parts), 1}}
	if value.Sign() > 0 {
		one.positive = number
	} else {
		one.negative = number
	}
	return s.add(&one)
}

// Merge adds the values of another state of the same relative error.
func (s *state) Merge(other aggregate.State) error {
	o, ok := other.(*state)
	if !ok || o.parts != s.parts {
		return fmt.Errorf("merge %T of another kind into a histogram", other)
	}
	return s.add(o)
}

func (s *state) add(o *state) error {
	if o.count == 0 {
		return nil
	}
	sum, err := s.sum.Add(o.sum)
	if err != nil {
		return err
	}
	squares, err := s.squares.Add(o.squares)
	if err != nil {
		return err
	}
	if s.count == 0 || o.min.Cmp(s.min) < 0 {
		s.min = o.min
	}
	if s.count == 0 || o.max.Cmp(s.max) > 0 {
		s.max = o.max
	}
	s.count, s.zeros, s.sum, s.squares = s.count+o.count, s.zeros+o.zeros, sum, squares
	s.positive, s.negative = s.positive.merge(o.positive), s.negative.merge(o.negative)
	return nil
}

// quantile gives an estimate of the value of rank ⌊percent × (count-1) / 100⌋, from 0, of the values in order.
func (s *state) quantile(percent uint64) decimal.Decimal {
	high, low := bits.Mul64(percent, s.count-1)
	rank, _ := bits.Div64(high, low, 100)
	for _, b := range slices.Backward(s.negative) {
		if rank < b.count {
			return s.clamp(-middle(b.number, s.parts))
		}
		rank -= b.count
	}
	if rank < s.zeros {
		return decimal.Decimal{}
	}
	rank -= s.zeros
	for _, b := range s.positive {
		if rank < b.count {
			return s.clamp(middle(b.number, s.parts))
		}
		rank -= b.count
	}
	return s.max
}

// clamp gives an estimate as it is shown. The exact quantile lies between the least and the greatest value.
func (s *state) clamp(estimate float64) decimal.Decimal {
	shown, err := decimal.Parse(strconv.FormatFloat(estimate, 'e', quantileDigits-1, 64))
	if err != nil {
		panic("histogram: parse a float: " + err.Error())
	}
	switch {
	case shown.Cmp(s.min) < 0:
		return s.min
	case shown.Cmp(s.max) > 0:
		return s.max
	}
	return shown
}

// detail is the form of value_json.
type detail struct {
	Count         uint64       `json:"count"`
	Sum           json.Number  `json:"sum"`
	Mean          json.Number  `json:"mean"`
	Stddev        *json.Number `json:"stddev"` // null for a single value
	Min           json.Number  `json:"min"`
	Max           json.Number  `json:"max"`
	P25           json.Number  `json:"p25"`
	P50           json.Number  `json:"p50"`
	P75           json.Number  `json:"p75"`
	P90           json.Number  `json:"p90"`
	P95           json.Number  `json:"p95"`
	P99           json.Number  `json:"p99"`
	RelativeError float64      `json:"relative_error"` // of p25 to p99
}

// Value is the mean to 18 decimal places, half-even. The detail has everything.
func (s *state) Value() (decimal.Decimal, []byte) {
	if s.count == 0 {
		return decimal.Decimal{}, nil
	}
	mean, err := s.sum.QuoRound(decimal.FromUint64(s.count), shownPlaces)
	if err != nil {
		panic(fmt.Sprintf("histogram: mean of %d values: %v", s.count, err)) // Observe keeps sums within bounds
	}
	shown := detail{
		Count: s.count, Sum: text(s.sum), Mean: text(mean), Min: text(s.min), Max: text(s.max),
		RelativeError: math.Round(1e6/float64(2*s.parts+1)) / 1e6,
	}
	if s.count > 1 {
		stddev := text(s.stddev())
		shown.Stddev = &stddev
	}
	for i, into := range [...]*json.Number{&shown.P25, &shown.P50, &shown.P75, &shown.P90, &shown.P95, &shown.P99} {
		*into = text(s.quantile(percentiles[i]))
	}
	encoded, err := json.Marshal(shown)
	if err != nil {
		panic("histogram: marshal numbers: " + err.Error())
	}
	return mean, encoded
}

func text(d decimal.Decimal) json.Number { return json.Number(d.Round(shownPlaces).String()) }

// stddev is the standard deviation of a sample, √((Σx² - (Σx)²/n) / (n-1)), to 38 significant digits. The difference is
// exact, so that values which lie close together lose nothing.
func (s *state) stddev() decimal.Decimal {
	n := decimal.FromUint64(s.count)
	root, err := func() (decimal.Decimal, error) {
		whole, err := n.Mul(s.squares)
		if err != nil {
			return whole, err
		}
		squared, err := s.sum.Mul(s.sum)
		if err != nil {
			return squared, err
		}
		difference, err := whole.Sub(squared)
		if err != nil {
			return difference, err
		}
		degrees, err := n.Mul(decimal.FromUint64(s.count - 1))
		if err != nil {
			return degrees, err
		}
		variance, err := difference.Quo(degrees)
		if err != nil {
			return variance, err
		}
		return variance.Sqrt()
	}()
	if err != nil {
		panic(fmt.Sprintf("histogram: deviation of %d values: %v", s.count, err)) // Observe keeps all of these within bounds
	}
	return root
}
