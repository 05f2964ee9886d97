// Package oracle computes the buckets of all example metrics of Bitcoin once more, straight from a block file.
//
// It shares no code with what it proves: it has its own parser, its own calendar, its own addresses, and plain loops in
// place of expressions. What it reads are the first years of the chain: no witnesses, no multisignatures.
package oracle

import (
	"fmt"
	"math/big"
	"strings"
)

// Key names a bucket.
type Key struct {
	Metric     string
	Size       string
	Start      string // RFC 3339, UTC
	Dimensions string // a JSON object of strings
}

// Buckets gives the value of every bucket of every example metric, as plain decimal text without trailing zeros.
func Buckets(path string) (map[Key]string, error) {
	chain, err := readChain(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	starts := map[window]string{}
	for _, b := range chain {
		for _, size := range allSizes {
			starts[window{size, b.time}] = start(size, b.time)
			starts[window{size, b.medianTime}] = start(size, b.medianTime)
		}
	}
	buckets := map[Key]string{}
	for name, m := range measures {
		sums, sets := map[Key]*big.Int{}, map[Key]map[string]bool{}
		for _, b := range chain {
			at := b.time
			if strings.HasSuffix(name, "_median_time") {
				at = b.medianTime
			}
			for _, size := range m.sizes {
				key := Key{Metric: name, Size: size, Start: starts[window{size, at}], Dimensions: "{}"}
				if m.elements != nil {
					if sets[key] == nil {
						sets[key] = map[string]bool{}
					}
					for _, element := range m.elements(b) {
						sets[key][element] = true
					}
					continue
				}
				m.amounts(b, func(dimensions string, amount int64) {
					key.Dimensions = dimensions
					if sums[key] == nil {
						sums[key] = new(big.Int)
					}
					sums[key].Add(sums[key], big.NewInt(amount))
				})
			}
		}
		for key, sum := range sums {
			buckets[key] = decimal(sum, m.digits)
		}
		for key, set := range sets {
			buckets[key] = fmt.Sprint(len(set))
		}
	}
	return buckets, nil
}

// window is a bucket size, and a time that it holds.
type window struct {
	size string
	at   int64
}

// decimal writes a number of units, each the given power of a tenth.
func decimal(units *big.Int, digits int) string {
	text := fmt.Sprintf("%0*s", digits+1, new(big.Int).Abs(units))
	whole, fraction := text[:len(text)-digits], strings.TrimRight(text[len(text)-digits:], "0")
	if units.Sign() < 0 {
		whole = "-" + whole
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}
