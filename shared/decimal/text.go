package decimal

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// Longest texts that are read, and the longest exponents in them.
const (
	maxTextLength     = 2*limit + 100
	maxExponentDigits = 6
)

// Parse reads a number as JSON writes it (RFC 8259, section 6), which may have an exponent. It fails with [ErrSyntax] or
// [ErrRange]; texts of more than 2100 bytes are out of range.
func Parse(text string) (Decimal, error) {
	if len(text) > maxTextLength {
		return Decimal{}, fmt.Errorf("parse a number of %d characters: %w", len(text), ErrRange)
	}
	d, err := parse(text)
	if err != nil {
		return Decimal{}, fmt.Errorf("parse %.40q: %w", text, err)
	}
	return d, nil
}

func parse(text string) (Decimal, error) {
	rest, negative := strings.CutPrefix(text, "-")
	whole, rest := leadingDigits(rest)
	if whole == "" || len(whole) > 1 && whole[0] == '0' {
		return Decimal{}, ErrSyntax
	}
	var fraction string
	if after, found := strings.CutPrefix(rest, "."); found {
		if fraction, rest = leadingDigits(after); fraction == "" {
			return Decimal{}, ErrSyntax
		}
	}
	var exponent int
	outside := false
	if rest != "" {
		var err error
		if exponent, outside, err = parseExponent(rest); err != nil {
			return Decimal{}, err
		}
	}
	var d Decimal
	if !setCoefficient(&d.number.Coeff, whole, fraction) {
		return Decimal{}, ErrSyntax
	}
	d = d.normal()
	if d.IsZero() {
		return d, nil
	}
	if outside {
		return Decimal{}, ErrRange
	}
	d.number.Negative = negative
	d.number.Exponent = int32(exponent - len(fraction)) //nolint:gosec // bounded by the lengths of the texts
	return d.checked(nil)
}

// parseExponent reads "e", a sign and digits. An exponent is outside where only zero may have it.
func parseExponent(text string) (exponent int, outside bool, err error) {
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false, ErrSyntax
	}
	text = text[1:]
	negative := strings.HasPrefix(text, "-")
	if negative || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	digits, rest := leadingDigits(text)
	if digits == "" || rest != "" {
		return 0, false, ErrSyntax
	}
	digits = strings.TrimLeft(digits, "0")
	if len(digits) > maxExponentDigits {
		return 0, true, nil
	}
	for _, digit := range []byte(digits) {
		exponent = exponent*10 + int(digit-'0')
	}
	if negative {
		exponent = -exponent
	}
	return exponent, false, nil
}

func leadingDigits(text string) (digits, rest string) {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return text[:n], text[n:]
}

// wordDigits is how many digits always fit 64 bits; twice as many fit 128.
const wordDigits = 19

// setCoefficient reads digits. Most numbers are read without what big.Int does for any.
func setCoefficient(coefficient *apd.BigInt, whole, fraction string) bool {
	switch digits := whole + fraction; {
	case len(digits) <= wordDigits:
		coefficient.SetUint64(word(digits))
	case len(digits) <= 2*wordDigits:
		split := len(digits) - wordDigits
		high, low := bits.Mul64(word(digits[:split]), 1e19)
		low, carry := bits.Add64(low, word(digits[split:]), 0)
		var number [16]byte
		binary.BigEndian.PutUint64(number[:8], high+carry)
		binary.BigEndian.PutUint64(number[8:], low)
		coefficient.SetBytes(number[:])
	default:
		_, ok := coefficient.SetString(digits, 10)
		return ok
	}
	return true
}

func word(digits string) (n uint64) {
	for i := range len(digits) {
		n = n*10 + uint64(digits[i]-'0')
	}
	return n
}

// String gives the number in plain notation, without an exponent and without superfluous zeros. The same number has always
// the same text.
func (d Decimal) String() string {
	text := d.number.Text('f')
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// MarshalText gives [Decimal.String].
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [Parse] reads.
func (d *Decimal) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
