package aggregate

import (
	"errors"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

var errNotSummable = errors.New("value: greater than 10^900")

// greatestAddend leaves a sum room for 10^100 numbers before it reaches the bounds of a decimal.
var greatestAddend = func() decimal.Decimal {
	ten900, err := decimal.FromInt64(1).Shift(900)
	if err != nil {
		panic(err)
	}
	return ten900
}()

// Summable refuses numbers that are greater than 10^900 in absolute value. Sums of others can always be merged.
func Summable(n decimal.Decimal) error {
	if n.Cmp(greatestAddend) > 0 || n.Neg().Cmp(greatestAddend) > 0 {
		return errNotSummable
	}
	return nil
}
