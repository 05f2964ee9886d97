package decimal

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// QuoRound gives d / x rounded once to a number of decimal places, half-even, or [ErrDivisionByZero] or [ErrRange].
func (d Decimal) QuoRound(x Decimal, places int) (Decimal, error) {
	if x.IsZero() {
		return Decimal{}, ErrDivisionByZero
	}
	if places < 0 || places > limit {
		return Decimal{}, ErrRange
	}
	// With a whole divisor and a dividend of whole units of the last place, the quotient is whole, and its remainder decides.
	dividend, divisor := apd.Decimal{}, apd.Decimal{}
	dividend.Set(&d.number)
	divisor.Set(&x.number)
	dividend.Exponent += int32(places)
	var whole, remainder apd.Decimal
	if _, err := wide.QuoInteger(&whole, &dividend, &divisor); err != nil {
		return Decimal{}, ErrRange
	}
	if _, err := wide.Rem(&remainder, &dividend, &divisor); err != nil {
		return Decimal{}, ErrRange
	}
	var twice apd.Decimal
	if _, err := wide.Add(&twice, &remainder, &remainder); err != nil {
		return Decimal{}, ErrRange
	}
	twice.Negative, divisor.Negative = false, false
	up := twice.Cmp(&divisor)
	if up > 0 || up == 0 && whole.Coeff.Bit(0) == 1 {
		away := apd.New(1, 0)
		away.Negative = d.number.Negative != x.number.Negative
		if _, err := wide.Add(&whole, &whole, away); err != nil {
			return Decimal{}, ErrRange
		}
	}
	result := Decimal{number: whole}
	result.number.Exponent -= int32(places)
	return result.checked(nil)
}

// Sqrt gives the square root of d to 38 significant digits, half-even, or [ErrRange] where d is negative.
func (d Decimal) Sqrt() (Decimal, error) {
	if d.Sign() < 0 {
		return Decimal{}, ErrRange
	}
	var root Decimal
	_, err := quotient.Sqrt(&root.number, &d.number)
	return root.reduced().checked(err)
}

// Float64 gives the float nearest to d, half-even: an infinity where d is greater than all of them, zero where it is
// smaller.
func (d Decimal) Float64() float64 {
	const exactDigits, exactPower = 53, 22 // integers of so many bits, and powers of ten up to it, are floats
	if n, e := &d.number.Coeff, d.number.Exponent; n.BitLen() <= exactDigits && -exactPower <= e && e <= exactPower {
		magnitude := float64(n.Uint64())
		if e < 0 {
			magnitude /= powersOfTen[-e] // one rounding of two floats that are exact
		} else {
			magnitude *= powersOfTen[e]
		}
		return math.Copysign(magnitude, float64(d.Sign()))
	}
	if n, e := &d.number.Coeff, d.number.Exponent; n.BitLen() <= 128 && -exactDivisor <= e && e < 0 {
		return math.Copysign(ratio(n, int(-e)), float64(d.Sign()))
	}
	f, _ := strconv.ParseFloat(d.number.Text('e'), 64) // its only error is an infinity
	return f
}

// exactDivisor is the greatest power of ten that has 64 bits.
const exactDivisor = 19

// ratio gives the float nearest to n / 10^places, half-even, of n with 1 to 128 bits. It divides to 64 bits of the quotient, of
// which the last one also stands for what is left, so that there is one rounding, of more bits than a float has.
func ratio(n *apd.BigInt, places int) float64 {
	var words [16]byte
	n.FillBytes(words[:])
	high, low := binary.BigEndian.Uint64(words[:]), binary.BigEndian.Uint64(words[8:])
	divisor := uint64(1)
	for range places {
		divisor *= 10
	}
	// Both begin with a bit that is set, the numerator a place lower where the quotient would have 65 bits.
	scale := 0
	if high == 0 {
		high, low, scale = low, 0, -64
	}
	up := bits.LeadingZeros64(high)
	high, low, scale = high<<up|low>>(64-up), low<<up, scale-up
	up = bits.LeadingZeros64(divisor)
	divisor, scale = divisor<<up, scale+up
	rest := uint64(0)
	if high >= divisor {
		rest, high, low, scale = low&1, high>>1, high<<63|low>>1, scale+1
	}
	quotient, remainder := bits.Div64(high, low, divisor)
	if remainder|rest != 0 {
		quotient |= 1
	}
	return math.Ldexp(float64(quotient), scale)
}

var powersOfTen = func() (powers [23]float64) {
	powers[0] = 1
	for i := 1; i < len(powers); i++ {
		powers[i] = powers[i-1] * 10
	}
	return powers
}()
