package histogram

import (
	"encoding/binary"
	"math"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// encodingVersion is the first byte of every encoded state.
const encodingVersion = 1

// maxCount is more values than any window has. Sums of counts up to it do not overflow.
const maxCount = 1 << 40

// Encode gives the version; as varints the parts of a power of two and the number of zeros; the sketches of the positive
// and the negative values; and, unless there are no values, sum, sum of squares, least and greatest value, as in
// decimal.Decimal.AppendBinary. A sketch is the number of its bins, and for each of them, in order, its distance from the
// one before (the first: its number, signed) and its count, as varints.
func (s *state) Encode() []byte {
	encoded := binary.AppendUvarint([]byte{encodingVersion}, uint64(s.parts)) //nolint:gosec // never negative
	encoded = binary.AppendUvarint(encoded, s.zeros)
	encoded = s.negative.append(s.positive.append(encoded))
	if s.count == 0 {
		return encoded
	}
	for _, number := range []decimal.Decimal{s.sum, s.squares, s.min, s.max} {
		encoded = number.AppendBinary(encoded)
	}
	return encoded
}

func (s sketch) append(encoded []byte) []byte {
	encoded = binary.AppendUvarint(encoded, uint64(len(s)))
	for i, b := range s {
		if i == 0 {
			encoded = binary.AppendVarint(encoded, int64(b.number))
		} else {
			encoded = binary.AppendUvarint(encoded, uint64(b.number-s[i-1].number)) //nolint:gosec // in ascending order
		}
		encoded = binary.AppendUvarint(encoded, b.count)
	}
	return encoded
}

func decode(encoded []byte, parts int32) (aggregate.State, error) {
	d := aggregate.NewDecoder(encoded, encodingVersion)
	if d.Uvarint() != uint64(parts) { //nolint:gosec // never negative
		d.Refuse()
	}
	s := &state{parts: parts, zeros: d.Uvarint(), positive: decodeSketch(d, parts), negative: decodeSketch(d, parts)}
	for _, n := range []uint64{s.zeros, s.positive.total(), s.negative.total()} {
		if n > maxCount {
			d.Refuse()
		}
		s.count += n
	}
	if s.count > 0 {
		s.sum, s.squares, s.min, s.max = d.Decimal(), d.Decimal(), d.Decimal(), d.Decimal()
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return s, nil
}

func decodeSketch(d *aggregate.Decoder, parts int32) sketch {
	n := d.Uvarint()
	if n > uint64(d.Len()/2) { //nolint:gosec // never negative; a bin takes two bytes at least
		d.Refuse()
		return nil
	}
	limit := int64(parts) * (math.MaxInt16 / 16) // floats have exponents below 1,100
	s := make(sketch, 0, n)
	number := int64(0)
	for i := range n {
		if i == 0 {
			number = d.Varint()
		} else {
			step := d.Uvarint()
			if step == 0 || step > uint64(2*limit) { //nolint:gosec // never negative
				d.Refuse()
				return nil
			}
			number += int64(step) //nolint:gosec // bounded above
		}
		count := d.Uvarint()
		if count == 0 || count > maxCount || number < -limit || number > limit {
			d.Refuse()
			return nil
		}
		s = append(s, bin{int32(number), count}) //nolint:gosec // bounded above
	}
	return s
}
