// Package decimal is exact decimal arithmetic over bounded numbers.
package decimal

import (
	"errors"

	"github.com/cockroachdb/apd/v3"
)

var (
	// ErrSyntax says that a text or an encoding is no decimal number.
	ErrSyntax = errors.New("not a decimal number")
	// ErrRange says that a number is greater than 10^1000 or has digits after the thousandth decimal place.
	ErrRange = errors.New("number out of range")
	// ErrDivisionByZero says that there is no quotient.
	ErrDivisionByZero = errors.New("division by zero")
)

// limit is the greatest exponent: every number lies between -10^limit and 10^limit, both included, and is a multiple of
// 10^-limit. Quotients have quotientDigits significant digits.
const (
	limit          = 1000
	quotientDigits = 38
)

// Contexts of apd. An exact one holds every product of two numbers within the limit.
var (
	exact    = context(4*limit + 1000)
	quotient = context(quotientDigits)
	wide     = context(6*limit + 1000) // whole quotients of what was shifted by up to limit places
)

func context(precision uint32) apd.Context {
	return apd.Context{
		Precision:   precision,
		MaxExponent: apd.MaxExponent,
		MinExponent: apd.MinExponent,
		Rounding:    apd.RoundHalfEven,
	}
}

// Decimal is a number of at most 10^1000 in absolute value, with at most 1000 decimal places. Its zero value is 0. It is a
// value: no operation changes its operands, and copies are independent. Use [Decimal.Equal], not ==.
type Decimal struct {
	_ [0]func() // == would compare representations, of which a number has many
	// Never an infinity, NaN or a negative zero. Coefficients of up to 128 bits lie inside; larger ones are shared by copies,
	// so that number is written once, before anybody else sees it.
	number apd.Decimal
}

// FromInt64 gives n.
func FromInt64(n int64) Decimal {
	var d Decimal
	d.number.SetInt64(n)
	return d
}

// FromUint64 gives n.
func FromUint64(n uint64) Decimal {
	var d Decimal
	d.number.Coeff.SetUint64(n)
	return d
}

// Add gives d + x exactly, or [ErrRange].
func (d Decimal) Add(x Decimal) (Decimal, error) {
	var sum Decimal
	_, err := exact.Add(&sum.number, &d.number, &x.number)
	return sum.checked(err)
}

// Sub gives d - x exactly, or [ErrRange].
func (d Decimal) Sub(x Decimal) (Decimal, error) {
	var difference Decimal
	_, err := exact.Sub(&difference.number, &d.number, &x.number)
	return difference.checked(err)
}

// Mul gives d × x exactly, or [ErrRange].
func (d Decimal) Mul(x Decimal) (Decimal, error) {
	var product Decimal
	_, err := exact.Mul(&product.number, &d.number, &x.number)
	return product.checked(err)
}

// Quo gives d / x to 38 significant digits, half-even, or [ErrDivisionByZero] or [ErrRange].
func (d Decimal) Quo(x Decimal) (Decimal, error) {
	if x.IsZero() {
		return Decimal{}, ErrDivisionByZero
	}
	var result Decimal
	_, err := quotient.Quo(&result.number, &d.number, &x.number)
	return result.reduced().checked(err)
}

// Rem gives the exact remainder of d / x, where the quotient is truncated to a whole number; it has the sign of d. It fails
// with [ErrDivisionByZero].
func (d Decimal) Rem(x Decimal) (Decimal, error) {
	if x.IsZero() {
		return Decimal{}, ErrDivisionByZero
	}
	var remainder Decimal
	_, err := exact.Rem(&remainder.number, &d.number, &x.number)
	return remainder.checked(err)
}

// Neg gives -d.
func (d Decimal) Neg() Decimal {
	if !d.IsZero() {
		d.number.Negative = !d.number.Negative
	}
	return d
}

// Shift gives d × 10^places exactly, or [ErrRange].
func (d Decimal) Shift(places int) (Decimal, error) {
	if d.IsZero() {
		return Decimal{}, nil
	}
	if places < -4*limit || places > 4*limit {
		return Decimal{}, ErrRange
	}
	d.number.Exponent += int32(places)
	return d.checked(nil)
}

// Round gives the multiple of 10^-places nearest to d, half-even.
func (d Decimal) Round(places int) Decimal {
	switch {
	case places >= limit || d.number.Exponent >= 0 && places >= 0:
		return d
	case places < -limit:
		return Decimal{}
	}
	exponent := int32(-places)
	if d.number.Exponent >= exponent {
		return d
	}
	var rounded Decimal
	if _, err := exact.Quantize(&rounded.number, &d.number, exponent); err != nil {
		panic("decimal: round a number within the limit: " + err.Error())
	}
	return rounded.normal()
}

// Floor gives the greatest whole number that is not greater than d.
func (d Decimal) Floor() Decimal {
	if d.number.Exponent >= 0 {
		return d
	}
	var floor Decimal
	if _, err := exact.Floor(&floor.number, &d.number); err != nil {
		panic("decimal: floor of a number within the limit: " + err.Error())
	}
	return floor.normal()
}

// Cmp is negative where d < x, positive where d > x, and zero where they are the same number.
func (d Decimal) Cmp(x Decimal) int { return d.number.Cmp(&x.number) }

// Equal tells whether d and x are the same number.
func (d Decimal) Equal(x Decimal) bool { return d.Cmp(x) == 0 }

// Sign is -1, 0 or 1, as d is negative, zero or positive.
func (d Decimal) Sign() int { return d.number.Sign() }

// IsZero tells whether d is 0.
func (d Decimal) IsZero() bool { return d.number.IsZero() }

// Places is the number of decimal places that d has, without zeros at its end.
func (d Decimal) Places() int {
	if d.number.Exponent >= 0 {
		return 0
	}
	return max(0, -int(d.reduced().number.Exponent))
}

// HasMorePlacesThan tells whether d has more decimal places than n, without zeros at its end.
func (d Decimal) HasMorePlacesThan(n int) bool {
	return -int(d.number.Exponent) > n && d.Places() > n
}

// Int64 gives d where it is a whole number that fits.
func (d Decimal) Int64() (n int64, ok bool) {
	n, err := d.number.Int64()
	return n, err == nil
}

// checked gives a result within the limit, or ErrRange. It takes the error of the operation that gave d.
func (d Decimal) checked(err error) (Decimal, error) {
	if err != nil || d.number.Form != apd.Finite {
		return Decimal{}, ErrRange
	}
	d = d.normal()
	if d.number.Exponent >= -limit && d.number.Exponent <= limit-39 && d.number.Coeff.BitLen() <= 128 { // 39 digits
		return d, nil
	}
	if d.number.Exponent < -limit {
		if d = d.reduced(); d.number.Exponent < -limit {
			return Decimal{}, ErrRange
		}
	}
	if d.number.NumDigits()+int64(d.number.Exponent) > limit && d.beyondGreatest() {
		return Decimal{}, ErrRange
	}
	return d, nil
}

func (d Decimal) beyondGreatest() bool {
	magnitude := apd.Decimal{Exponent: d.number.Exponent, Coeff: d.number.Coeff}
	return magnitude.Cmp(apd.New(1, limit)) > 0
}

// normal removes the sign and the exponent of a zero.
func (d Decimal) normal() Decimal {
	if d.number.IsZero() {
		return Decimal{}
	}
	return d
}

// reduced gives the representation whose coefficient is no multiple of ten.
func (d Decimal) reduced() Decimal {
	var r Decimal
	r.number.Reduce(&d.number)
	return r.normal()
}
