package gauge

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// shownPlaces is the number of decimal places of a shown number; the state keeps all.
const shownPlaces = 18

// reading is a number with its place among all of them.
type reading struct {
	at     time.Time
	place  metric.Place
	number decimal.Decimal
}

// compare orders readings. Two of one place exist only while a reorganisation is not resolved; then the number decides, so
// that the order of arrival does not.
func (r reading) compare(other reading) int {
	return cmp.Or(r.at.Compare(other.at), r.place.Compare(other.place), r.number.Cmp(other.number))
}

// state is what is known of the readings of a window. The fields after count mean nothing where it is zero.
type state struct {
	shows string // the aggregate that is the value

	count         uint64
	sum, min, max decimal.Decimal
	first, last   reading
}

// Observe adds a reading.
func (s *state) Observe(o metric.Observation) error {
	if err := aggregate.Summable(o.Number); err != nil {
		return err
	}
	r := reading{at: o.Time, place: o.Place, number: o.Number}
	return s.add(&state{count: 1, sum: o.Number, min: o.Number, max: o.Number, first: r, last: r})
}

// Merge adds the readings of another state.
func (s *state) Merge(other aggregate.State) error {
	o, ok := other.(*state)
	if !ok {
		return fmt.Errorf("merge %T into a gauge", other)
	}
	return s.add(o)
}

func (s *state) add(o *state) error {
	if o.count == 0 {
		return nil
	}
	if s.count == 0 {
		shows := s.shows
		*s = *o
		s.shows = shows
		return nil
	}
	sum, err := s.sum.Add(o.sum)
	if err != nil {
		return err
	}
	s.count, s.sum = s.count+o.count, sum
	if o.min.Cmp(s.min) < 0 {
		s.min = o.min
	}
	if o.max.Cmp(s.max) > 0 {
		s.max = o.max
	}
	if o.first.compare(s.first) < 0 {
		s.first = o.first
	}
	if o.last.compare(s.last) > 0 {
		s.last = o.last
	}
	return nil
}

// detail is the form of value_json.
type detail struct {
	First json.Number `json:"first"`
	Last  json.Number `json:"last"`
	Min   json.Number `json:"min"`
	Max   json.Number `json:"max"`
	Avg   json.Number `json:"avg"`
	Count uint64      `json:"count"`
}

// Value is what the aggregate names, to 18 decimal places, half-even; the average is rounded once. The detail has all of
// them.
func (s *state) Value() (decimal.Decimal, []byte) {
	if s.count == 0 {
		return decimal.Decimal{}, nil
	}
	avg, err := s.sum.QuoRound(decimal.FromUint64(s.count), shownPlaces)
	if err != nil { // neither is the count zero nor can the quotient be greater than the sum
		panic(fmt.Sprintf("gauge: average %s over %d: %v", s.sum, s.count, err))
	}
	shown := map[string]decimal.Decimal{
		first: s.first.number.Round(shownPlaces), last: s.last.number.Round(shownPlaces),
		least: s.min.Round(shownPlaces), most: s.max.Round(shownPlaces), mean: avg,
	}
	text := func(name string) json.Number { return json.Number(shown[name].String()) }
	encoded, err := json.Marshal(detail{
		First: text(first), Last: text(last), Min: text(least), Max: text(most), Avg: text(mean), Count: s.count,
	})
	if err != nil {
		panic("gauge: marshal numbers: " + err.Error())
	}
	return shown[s.shows], encoded
}
