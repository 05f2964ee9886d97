package oracle

import (
	"fmt"
	"math/big"
	"slices"
)

// Value is what a bucket shows: plain decimal texts without trailing zeros.
type Value struct {
	Value string
	// Exact holds those members of value_json that have one right text; nil where there is no value_json.
	Exact map[string]string
	// Quantiles are the exact ones, of which those in value_json are estimates.
	Quantiles map[string]string
}

// reading is an amount with the second at which it counts.
type reading struct {
	at     int64
	amount int64
}

// shownPlaces is the number of decimal places of what is shown.
const shownPlaces = 18

// gauge gives what a gauge shows of readings, which come in the order of the chain.
func gauge(readings []reading, shows string, digits int) Value {
	inTime := slices.Clone(readings)
	slices.SortStableFunc(inTime, func(a, b reading) int { return int(a.at - b.at) })
	amounts := sorted(readings)
	exact := map[string]string{
		"first": decimal(big.NewInt(inTime[0].amount), digits),
		"last":  decimal(big.NewInt(inTime[len(inTime)-1].amount), digits),
		"min":   decimal(big.NewInt(amounts[0]), digits),
		"max":   decimal(big.NewInt(amounts[len(amounts)-1]), digits),
		"avg":   rounded(mean(amounts, digits)),
		"count": fmt.Sprint(len(amounts)),
	}
	return Value{Value: exact[shows], Exact: exact}
}

// histogram gives what a histogram shows of readings.
func histogram(readings []reading, digits int) Value {
	amounts := sorted(readings)
	average := mean(amounts, digits)
	exact := map[string]string{
		"count":  fmt.Sprint(len(amounts)),
		"sum":    rounded(new(big.Rat).Mul(average, big.NewRat(int64(len(amounts)), 1))),
		"mean":   rounded(average),
		"min":    decimal(big.NewInt(amounts[0]), digits),
		"max":    decimal(big.NewInt(amounts[len(amounts)-1]), digits),
		"stddev": "null",
	}
	if len(amounts) > 1 {
		squares := new(big.Rat)
		for _, amount := range amounts {
			off := new(big.Rat).Sub(unit(amount, digits), average)
			squares.Add(squares, off.Mul(off, off))
		}
		variance := squares.Quo(squares, big.NewRat(int64(len(amounts)-1), 1))
		root := new(big.Float).SetPrec(400).SetRat(variance)
		exactRoot, _ := root.Sqrt(root).Rat(nil)
		exact["stddev"] = rounded(exactRoot)
	}
	quantiles := map[string]string{}
	for _, percent := range []int{25, 50, 75, 90, 95, 99} {
		rank := percent * (len(amounts) - 1) / 100
		quantiles[fmt.Sprintf("p%d", percent)] = decimal(big.NewInt(amounts[rank]), digits)
	}
	return Value{Value: exact["mean"], Exact: exact, Quantiles: quantiles}
}

func sorted(readings []reading) []int64 {
	amounts := make([]int64, len(readings))
	for i, r := range readings {
		amounts[i] = r.amount
	}
	slices.Sort(amounts)
	return amounts
}

// unit gives an amount in the metric's unit.
func unit(amount int64, digits int) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	return new(big.Rat).SetFrac(big.NewInt(amount), scale)
}

func mean(amounts []int64, digits int) *big.Rat {
	sum := new(big.Rat)
	for _, amount := range amounts {
		sum.Add(sum, unit(amount, digits))
	}
	return sum.Quo(sum, big.NewRat(int64(len(amounts)), 1))
}

// rounded writes a number to 18 decimal places, half-even.
func rounded(n *big.Rat) string {
	scaled := new(big.Rat).Mul(n, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(shownPlaces), nil)))
	floor := new(big.Int).Div(scaled.Num(), scaled.Denom())
	over := new(big.Rat).Sub(scaled, new(big.Rat).SetInt(floor))
	if half := over.Cmp(big.NewRat(1, 2)); half > 0 || half == 0 && floor.Bit(0) == 1 {
		floor.Add(floor, big.NewInt(1))
	}
	return decimal(floor, shownPlaces)
}
