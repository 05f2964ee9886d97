package decimal_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

func parse(t testing.TB, text string) decimal.Decimal {
	t.Helper()
	d, err := decimal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestArithmetic(t *testing.T) {
	t.Parallel()
	add, sub, mul := decimal.Decimal.Add, decimal.Decimal.Sub, decimal.Decimal.Mul
	quo, rem := decimal.Decimal.Quo, decimal.Decimal.Rem
	tests := map[string]struct {
		operation func(a, b decimal.Decimal) (decimal.Decimal, error)
		a, b      string
		want      string
		err       error
	}{
		"no binary fraction":  {add, "0.1", "0.2", "0.3", nil},
		"beyond 2^64":         {add, "18446744073709551615", "18446744073709551615", "36893488147419103230", nil},
		"beyond 2^128":        {add, "340282366920938463463374607431768211455", "1", "340282366920938463463374607431768211456", nil},
		"far apart":           {add, "1e900", "1e-900", "1" + strings.Repeat("0", 900) + "." + strings.Repeat("0", 899) + "1", nil},
		"wei":                 {add, "1e23", "1", "100000000000000000000001", nil},
		"to zero":             {sub, "1.50", "1.5", "0", nil},
		"below zero":          {sub, "1", "2", "-1", nil},
		"negative zero":       {mul, "-1", "0", "0", nil},
		"exact product":       {mul, "1.5", "-1.5", "-2.25", nil},
		"whole quotient":      {quo, "6", "2", "3", nil},
		"third":               {quo, "1", "3", "0." + strings.Repeat("3", 38), nil},
		"two thirds":          {quo, "2", "3", "0." + strings.Repeat("6", 37) + "7", nil},
		"39 digits, tie low":  {quo, "1" + strings.Repeat("0", 36) + "25", "1", "1" + strings.Repeat("0", 36) + "20", nil},
		"39 digits, tie up":   {quo, "1" + strings.Repeat("0", 36) + "35", "1", "1" + strings.Repeat("0", 36) + "40", nil},
		"zero divided":        {quo, "0", "7", "0", nil},
		"by zero":             {quo, "1", "0", "", decimal.ErrDivisionByZero},
		"zero by zero":        {quo, "0", "0", "", decimal.ErrDivisionByZero},
		"remainder":           {rem, "7.5", "2", "1.5", nil},
		"sign of dividend":    {rem, "-7", "2", "-1", nil},
		"remainder far":       {rem, "1e1000", "7e-1000", "0." + strings.Repeat("0", 999) + "2", nil},
		"remainder by zero":   {rem, "1", "0.0", "", decimal.ErrDivisionByZero},
		"greatest":            {mul, "1e500", "1e500", "1" + strings.Repeat("0", 1000), nil},
		"too great":           {add, "1e1000", "1e-1000", "", decimal.ErrRange},
		"too great, negative": {sub, "-1e1000", "1", "", decimal.ErrRange},
		"smallest":            {mul, "5e-600", "2e-401", "0." + strings.Repeat("0", 999) + "1", nil},
		"too small":           {mul, "1e-600", "1e-401", "", decimal.ErrRange},
		"quotient too small":  {quo, "1e-990", "3", "", decimal.ErrRange},
		"quotient too great":  {quo, "1e990", "1e-11", "", decimal.ErrRange},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.operation(parse(t, test.a), parse(t, test.b))
			if !errors.Is(err, test.err) {
				t.Fatalf("got error %v, want %v", err, test.err)
			}
			if err == nil && got.String() != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		number string
		places int
		want   string
	}{
		"half to even, down": {"2.5", 0, "2"},
		"half to even, up":   {"3.5", 0, "4"},
		"below one half":     {"0.4", 0, "0"},
		"one half":           {"0.5", 0, "0"},
		"above one half":     {"0.51", 0, "1"},
		"far below":          {"0.0001", 0, "0"},
		"negative":           {"-2.5", 0, "-2"},
		"carries":            {"9.995", 2, "10"},
		"18 places":          {"0.0000000000000000015", 18, "0.000000000000000002"},
		"nothing to do":      {"1.25", 5, "1.25"},
		"tens":               {"25", -1, "20"},
		"to the greatest":    {"6e999", -1000, "1" + strings.Repeat("0", 1000)},
		"beyond the limit":   {"9e999", -1001, "0"},
		"many places":        {"1.5", math.MaxInt, "1.5"},
		"no places":          {"1.5", math.MinInt, "0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := parse(t, test.number).Round(test.places); got.String() != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestShift(t *testing.T) {
	t.Parallel()
	if got, err := parse(t, "5000000000").Shift(-8); err != nil || got.String() != "50" {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := (decimal.Decimal{}).Shift(math.MaxInt); err != nil || !got.IsZero() {
		t.Errorf("got %s, %v", got, err)
	}
	for _, places := range []int{1000, -1001, math.MaxInt, math.MinInt} {
		if got, err := decimal.FromInt64(11).Shift(places); !errors.Is(err, decimal.ErrRange) {
			t.Errorf("11 shifted by %d: got %s, %v", places, got, err)
		}
	}
}

func TestFloor(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{
		"1.9": "1", "-1.1": "-2", "-0.1": "-1", "0.1": "0", "7": "7", "1e3": "1000", "-2.0": "-2",
		"1e-1000": "0", "-1e-1000": "-1", "123456789012345678901234567890.5": "123456789012345678901234567890",
	} {
		if got := parse(t, number).Floor(); got.String() != want {
			t.Errorf("floor of %s: got %s, want %s", number, got, want)
		}
	}
}

func TestInt64(t *testing.T) {
	t.Parallel()
	for number, fits := range map[string]bool{
		"0": true, "1e3": true, "-5.0": true, "9223372036854775807": true, "-9223372036854775808": true,
		"0.5": false, "9223372036854775808": false, "1e1000": false, "1e-1000": false,
	} {
		n, ok := parse(t, number).Int64()
		if ok != fits || ok && !decimal.FromInt64(n).Equal(parse(t, number)) {
			t.Errorf("%s: got %d, %t", number, n, ok)
		}
	}
}

func TestZeroValue(t *testing.T) {
	t.Parallel()
	var zero decimal.Decimal
	if zero.String() != "0" || zero.Sign() != 0 || !zero.IsZero() || !zero.Equal(parse(t, "-0.00e5")) {
		t.Errorf("the zero value is %s", zero)
	}
	if got, err := zero.Add(decimal.FromInt64(math.MinInt64)); err != nil || got.String() != "-9223372036854775808" {
		t.Errorf("got %s, %v", got, err)
	}
	if got := zero.Neg(); got.String() != "0" {
		t.Errorf("got %s", got)
	}
}

// A sum must not change what it was made of, also where the coefficient is too large to lie inside the value.
func TestCopiesAreIndependent(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"1", "1e-40", "340282366920938463463374607431768211455000"} {
		first := parse(t, start)
		before, copied := first.String(), first
		for range 100 {
			next, err := copied.Add(decimal.FromInt64(-7))
			if err != nil {
				t.Fatal(err)
			}
			copied = next.Neg().Round(3)
		}
		if first.String() != before {
			t.Errorf("%s became %s", before, first)
		}
	}
}

func TestSumsAreExact(t *testing.T) {
	t.Parallel()
	var sum decimal.Decimal
	want := new(big.Int)
	for i := range int64(100_000) {
		wei := new(big.Int).Add(new(big.Int).Exp(big.NewInt(10), big.NewInt(23), nil), big.NewInt(i))
		want.Add(want, wei)
		var err error
		if sum, err = sum.Add(parse(t, wei.String())); err != nil {
			t.Fatal(err)
		}
	}
	if sum.String() != want.String() {
		t.Errorf("got %s, want %s", sum, want)
	}
}

func TestQuoRound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		d, x   string
		places int
		want   string
	}{
		"down":               {"1", "3", 4, "0.3333"},
		"up":                 {"2", "3", 4, "0.6667"},
		"half to even below": {"1", "8", 2, "0.12"},
		"half to even above": {"3", "8", 2, "0.38"},
		"half of nothing":    {"1", "2", 0, "0"},
		"negative":           {"-3", "8", 2, "-0.38"},
		"by a negative":      {"3", "-8", 2, "-0.38"},
		"only rounded once":  {"3333333333333333333333333333333333333333", "3e20", 18, "11111111111111111111.111111111111111111"},
		"of greatest":        {"1e1000", "1", 18, "1" + strings.Repeat("0", 1000)},
		"by smallest":        {"1e-1000", "1e-1000", 1000, "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(t, test.d).QuoRound(parse(t, test.x), test.places)
			if err != nil || got.String() != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
	if _, err := parse(t, "1").QuoRound(decimal.Decimal{}, 2); !errors.Is(err, decimal.ErrDivisionByZero) {
		t.Errorf("by zero: %v", err)
	}
	if _, err := parse(t, "1e1000").QuoRound(parse(t, "0.1"), 2); !errors.Is(err, decimal.ErrRange) {
		t.Errorf("beyond the greatest: %v", err)
	}
}

func TestSqrt(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]string{
		"0": "0", "144": "12", "1e-1000": "0." + strings.Repeat("0", 499) + "1", "1e1000": "1" + strings.Repeat("0", 500),
		"2": "1.4142135623730950488016887242096980786",
	} {
		if got, err := parse(t, of).Sqrt(); err != nil || got.String() != want {
			t.Errorf("root of %s: got %s, %v, want %s", of, got, err, want)
		}
	}
	if _, err := parse(t, "-1").Sqrt(); !errors.Is(err, decimal.ErrRange) {
		t.Errorf("root of -1: %v", err)
	}
}

// Every operation agrees with exact rational arithmetic.
func FuzzArithmetic(f *testing.F) {
	for _, seed := range [][2]string{{"1", "3"}, {"-2.5e-300", "1e999"}, {"18446744073709551616", "-0.1"}, {"0", "1e-1000"}, {"25e-1", "2"}} {
		f.Add(seed[0], seed[1], 0)
	}
	f.Fuzz(func(t *testing.T, left, right string, places int) {
		a, errA := decimal.Parse(left)
		b, errB := decimal.Parse(right)
		if errA != nil || errB != nil {
			return
		}
		x, y := rational(t, a), rational(t, b)
		if got, want := a.Cmp(b), x.Cmp(y); got != want {
			t.Fatalf("%s compared to %s: got %d, want %d", a, b, got, want)
		}
		if got, err := a.Add(b); err == nil {
			equal(t, "sum", got, new(big.Rat).Add(x, y))
		}
		if got, err := a.Sub(b); err == nil {
			equal(t, "difference", got, new(big.Rat).Sub(x, y))
		}
		if got, err := a.Mul(b); err == nil {
			equal(t, "product", got, new(big.Rat).Mul(x, y))
		}
		if got, err := a.Shift(places % 100); err == nil {
			back, err := got.Shift(-(places % 100))
			if err != nil || !back.Equal(a) {
				t.Fatalf("%s shifted by %d and back: got %s, %v", a, places%100, back, err)
			}
		}
		floor := rational(t, a.Floor())
		if below := new(big.Rat).Sub(x, floor); !floor.IsInt() || below.Sign() < 0 || below.Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("floor of %s: got %s", a, a.Floor())
		}
		equal(t, "rounded", a.Round(places%20), nearest(x, places%20))
		if want, _ := x.Float64(); a.Float64() != want {
			t.Fatalf("%s as a float: got %v, want %v", a, a.Float64(), want)
		}
		if n := max(places, -places) % 20; a.HasMorePlacesThan(n) != (a.Places() > n) {
			t.Fatalf("%s has more places than %d: %t", a, n, a.HasMorePlacesThan(n))
		}
		if unit := powerOfTen(-a.Places()); !new(big.Rat).Quo(x, unit).IsInt() || a.Places() > 0 &&
			new(big.Rat).Quo(x, powerOfTen(1-a.Places())).IsInt() {
			t.Fatalf("%s has %d places", a, a.Places())
		}
		if b.IsZero() {
			return
		}
		exact := new(big.Rat).Quo(x, y)
		if got, err := a.QuoRound(b, max(places, -places)%40); err == nil {
			equal(t, "rounded quotient", got, nearest(exact, max(places, -places)%40))
		}
		if got, err := a.Quo(b); err == nil {
			equal(t, "quotient", got, nearest(exact, 37-magnitude(exact)))
		}
		got, err := a.Rem(b)
		if err != nil {
			t.Fatalf("remainder of %s by %s: %v", a, b, err)
		}
		whole := new(big.Int).Quo(exact.Num(), exact.Denom())
		equal(t, "remainder", got, new(big.Rat).Sub(x, new(big.Rat).Mul(y, new(big.Rat).SetInt(whole))))
	})
}

func rational(t *testing.T, d decimal.Decimal) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(d.String())
	if !ok {
		t.Fatalf("%s is no number", d)
	}
	return r
}

func equal(t *testing.T, what string, got decimal.Decimal, want *big.Rat) {
	t.Helper()
	if rational(t, got).Cmp(want) != 0 {
		t.Fatalf("%s: got %s, want %s", what, got, want.RatString())
	}
}

// nearest rounds half-even to a number of decimal places.
func nearest(x *big.Rat, places int) *big.Rat {
	unit := powerOfTen(-places)
	scaled := new(big.Rat).Quo(x, unit)
	floor := new(big.Int).Div(scaled.Num(), scaled.Denom()) // Euclidean, and denominators are positive
	switch over := new(big.Rat).Sub(scaled, new(big.Rat).SetInt(floor)); over.Cmp(big.NewRat(1, 2)) {
	case 1:
		floor.Add(floor, big.NewInt(1))
	case 0:
		floor.Add(floor, big.NewInt(int64(floor.Bit(0))))
	}
	return new(big.Rat).Mul(new(big.Rat).SetInt(floor), unit)
}

// magnitude gives the power of ten of the first significant digit.
func magnitude(x *big.Rat) int {
	size := new(big.Rat).Abs(x)
	if size.Sign() == 0 {
		return 0
	}
	guess := len(size.Num().String()) - len(size.Denom().String())
	if size.Cmp(powerOfTen(guess)) < 0 {
		guess--
	}
	return guess
}

func powerOfTen(n int) *big.Rat {
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), power)
	}
	return new(big.Rat).SetInt(power)
}

func BenchmarkAdd(b *testing.B) {
	for name, text := range map[string]string{"satoshi": "5000000000", "wei": "1234567890123456789"} {
		b.Run(name, func(b *testing.B) {
			x := parse(b, text)
			var sum decimal.Decimal
			b.ReportAllocs()
			for b.Loop() {
				sum, _ = sum.Add(x)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decimal.Parse("5000000000"); err != nil {
			b.Fatal(err)
		}
	}
}
