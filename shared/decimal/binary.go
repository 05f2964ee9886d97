package decimal

import (
	"encoding/binary"
	"fmt"
)

// maxCoefficientBytes is the length of the greatest coefficient, 10^(2*limit).
const maxCoefficientBytes = 831

// AppendBinary appends the canonical encoding of d, which ends where it says itself: zero is the byte 0. Any other number
// is the unsigned varint 2 × n, plus one where it is negative; the exponent, a power of ten, as a signed (zigzag) varint;
// and the n bytes of the coefficient, big-endian, which is no multiple of ten. The same number has always the same bytes.
func (d Decimal) AppendBinary(b []byte) []byte {
	if d.IsZero() {
		return append(b, 0)
	}
	d = d.reduced()
	coefficient := d.number.Coeff.Bytes()
	header := uint64(len(coefficient)) << 1
	if d.number.Negative {
		header |= 1
	}
	b = binary.AppendUvarint(b, header)
	b = binary.AppendVarint(b, int64(d.number.Exponent))
	return append(b, coefficient...)
}

// Decode reads what [Decimal.AppendBinary] wrote at the beginning of b, and gives the bytes behind it. It fails with
// [ErrSyntax] on anything that AppendBinary does not write.
func Decode(b []byte) (d Decimal, rest []byte, err error) {
	header, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return Decimal{}, nil, fmt.Errorf("decode number: header: %w", ErrSyntax)
	}
	b = b[n:]
	if header == 0 {
		return Decimal{}, b, nil
	}
	exponent, n := binary.Varint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 || exponent < -limit || exponent > limit {
		return Decimal{}, nil, fmt.Errorf("decode number: exponent: %w", ErrSyntax)
	}
	b = b[n:]
	length := header >> 1
	if length == 0 || length > maxCoefficientBytes || length > uint64(len(b)) || b[0] == 0 {
		return Decimal{}, nil, fmt.Errorf("decode number: coefficient: %w", ErrSyntax)
	}
	d.number.Coeff.SetBytes(b[:length])
	d.number.Negative = header&1 == 1
	d.number.Exponent = int32(exponent)
	reduced := d.reduced()
	if reduced.number.Exponent != d.number.Exponent {
		return Decimal{}, nil, fmt.Errorf("decode number: coefficient is a multiple of ten: %w", ErrSyntax)
	}
	if d, err = d.checked(nil); err != nil {
		return Decimal{}, nil, fmt.Errorf("decode number: %w", ErrSyntax)
	}
	return d, b[length:], nil
}
