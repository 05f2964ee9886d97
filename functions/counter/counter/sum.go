package counter

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// shownPlaces is the number of decimal places of a value; the state keeps all.
const shownPlaces = 18

// greatest is the largest observation. Sums have room for 10^100 of them before they reach the bounds of a decimal, so
// that merging never fails.
var greatest = func() decimal.Decimal {
	ten900, err := decimal.FromInt64(1).Shift(900)
	if err != nil {
		panic(err)
	}
	return ten900
}()

var errGreatest = errors.New("value: greater than 10^900")

// sum is the exact sum of the observed numbers, and how many there were.
type sum struct {
	counting bool // the value is the count
	count    uint64
	total    decimal.Decimal
}

// Observe adds the number.
func (s *sum) Observe(o metric.Observation) error {
	if o.Number.Cmp(greatest) > 0 || o.Number.Neg().Cmp(greatest) > 0 {
		return errGreatest
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

func decodeSum(encoded []byte, counting bool) (*sum, error) {
	if len(encoded) == 0 || encoded[0] != encodingVersion {
		return nil, errEncoding
	}
	count, size := binary.Uvarint(encoded[1:])
	if size <= 0 || size > 1 && encoded[size] == 0 { // a varint that could be shorter
		return nil, errEncoding
	}
	s, rest := &sum{counting: counting, count: count}, encoded[1+size:]
	if !counting {
		var err error
		if s.total, rest, err = decimal.Decode(rest); err != nil {
			return nil, fmt.Errorf("%w: %w", errEncoding, err)
		}
	}
	if len(rest) > 0 {
		return nil, errEncoding
	}
	return s, nil
}

// Value is the sum to 18 decimal places, half-even, or the count.
func (s *sum) Value() (decimal.Decimal, []byte) {
	if s.counting {
		return decimal.FromInt64(int64(s.count)), nil //nolint:gosec // no stream holds 2^63 events
	}
	return s.total.Round(shownPlaces), nil
}
