package decimal

import (
	"math"
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
	f, _ := strconv.ParseFloat(d.number.Text('e'), 64) // its only error is an infinity
	return f
}

var powersOfTen = func() (powers [23]float64) {
	powers[0] = 1
	for i := 1; i < len(powers); i++ {
		powers[i] = powers[i-1] * 10
	}
	return powers
}()
