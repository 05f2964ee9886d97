package gauge

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// encodingVersion is the first byte of every encoded state.
const encodingVersion = 1

// Encode gives the version and the count as a varint. Behind a count of one stands the only reading; behind a greater one
// the first and the last reading, the least and the greatest number, and the sum. A reading is its time in microseconds
// since 1970 as a signed varint, the two parts of its event's place and its place in the list of each as varints, then its
// number. Numbers are as in decimal.Decimal.AppendBinary.
func (s *state) Encode() []byte {
	encoded := binary.AppendUvarint([]byte{encodingVersion}, s.count)
	if s.count == 0 {
		return encoded
	}
	encoded = s.first.append(encoded)
	if s.count == 1 {
		return encoded
	}
	encoded = s.last.append(encoded)
	for _, number := range []decimal.Decimal{s.min, s.max, s.sum} {
		encoded = number.AppendBinary(encoded)
	}
	return encoded
}

func (r reading) append(encoded []byte) []byte {
	encoded = binary.AppendVarint(encoded, r.at.UnixMicro())
	encoded = binary.AppendUvarint(encoded, r.place.Event.Major)
	encoded = binary.AppendUvarint(encoded, r.place.Event.Minor)
	encoded = binary.AppendUvarint(encoded, uint64(r.place.Element)) //nolint:gosec // never negative
	return r.number.AppendBinary(encoded)
}

func decode(encoded []byte, shows string) (aggregate.State, error) {
	d := aggregate.NewDecoder(encoded, encodingVersion)
	s := &state{shows: shows, count: d.Uvarint()}
	switch s.count {
	case 0:
	case 1:
		s.first = decodeReading(d)
		s.last, s.min, s.max, s.sum = s.first, s.first.number, s.first.number, s.first.number
	default:
		s.first, s.last = decodeReading(d), decodeReading(d)
		s.min, s.max, s.sum = d.Decimal(), d.Decimal(), d.Decimal()
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return s, nil
}

func decodeReading(d *aggregate.Decoder) reading {
	r := reading{at: time.UnixMicro(d.Varint()).UTC()}
	r.place.Event.Major, r.place.Event.Minor = d.Uvarint(), d.Uvarint()
	element := d.Uvarint()
	if element > math.MaxInt32 {
		d.Refuse()
	}
	r.place.Element = int(element) //nolint:gosec // bounded above
	r.number = d.Decimal()
	return r
}
