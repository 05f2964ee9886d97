package counter

import (
	"encoding/binary"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// shownPlaces is the number of decimal places of a value; the state keeps all.
const shownPlaces = 18

// sum is the exact sum of the observed numbers, and how many there were.
type sum struct {
	counting bool // the value is the count
	count    uint64
	total    decimal.Decimal
}

// Observe adds the number.
func (s *sum) Observe(o metric.Observation) error {
	if err := aggregate.Summable(o.Number); err != nil {
		return err
	}
	return s.add(1, o.Number)
}

// Merge adds another sum.
func (s *sum) Merge(other aggregate.State) error {
	o, ok := other.(*sum)
	if !ok {
		return fmt.Errorf("merge %T into a sum", other)
	}
	return s.add(o.count, o.total)
}

func (s *sum) add(count uint64, number decimal.Decimal) error {
	if s.counting {
		s.count += count
		return nil
	}
	total, err := s.total.Add(number)
	if err != nil {
		return err
	}
	s.count, s.total = s.count+count, total
	return nil
}

// Encode gives the version, the count as a varint and, unless the count is all, the total.
func (s *sum) Encode() []byte {
	encoded := binary.AppendUvarint([]byte{encodingVersion}, s.count)
	if s.counting {
		return encoded
	}
	return s.total.AppendBinary(encoded)
}

func decodeSum(encoded []byte, counting bool) (aggregate.State, error) {
	d := aggregate.NewDecoder(encoded, encodingVersion)
	s := &sum{counting: counting, count: d.Uvarint()}
	if !counting {
		s.total = d.Decimal()
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return s, nil
}

// Value is the sum to 18 decimal places, half-even, or the count.
func (s *sum) Value() (decimal.Decimal, []byte) {
	if s.counting {
		return decimal.FromUint64(s.count), nil
	}
	return s.total.Round(shownPlaces), nil
}
