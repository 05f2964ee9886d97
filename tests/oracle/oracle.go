// Package oracle computes the buckets of all example metrics of Bitcoin once more, straight from a block file.
//
// It shares no code with what it proves: it has its own parser, its own calendar, its own addresses, and plain loops in
// place of expressions. What it reads are the first years of the chain: no witnesses, no multisignatures.
package oracle

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Key names a bucket.
type Key struct {
	Metric     string
	Size       string
	Start      string // RFC 3339, UTC
	Dimensions string // a JSON object of strings
}

// MedianTimeSuffix ends the names of metrics by median time past; the others are by header time.
const MedianTimeSuffix = "_median_time"

// Buckets gives what every bucket of every example metric of some metric types shows, or of all where none is named.
func Buckets(path string, types ...string) (map[Key]Value, error) {
	chain, starts, err := open(path)
	if err != nil {
		return nil, err
	}
	buckets := map[Key]Value{}
	for name, m := range measures {
		if len(types) == 0 || slices.Contains(types, m.kind()) {
			m.take(name, m.sizes, chain, starts, buckets)
		}
	}
	return buckets, nil
}

// BucketsByBothTimes gives the buckets of all sizes, whatever those of the example metrics, and for each of these by
// header time a second metric by median time past.
func BucketsByBothTimes(path string) (map[Key]Value, error) {
	chain, starts, err := open(path)
	if err != nil {
		return nil, err
	}
	buckets := map[Key]Value{}
	for name, m := range measures {
		if !strings.HasSuffix(name, MedianTimeSuffix) {
			m.take(name, allSizes, chain, starts, buckets)
			m.take(name+MedianTimeSuffix, allSizes, chain, starts, buckets)
		}
	}
	return buckets, nil
}

// open reads a chain, and computes the beginning of each window once.
func open(path string) (chain []*block, starts map[window]string, err error) {
	if chain, err = readChain(path); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	starts = map[window]string{}
	for _, b := range chain {
		for _, size := range allSizes {
			starts[window{size, b.time}] = start(size, b.time)
			starts[window{size, b.medianTime}] = start(size, b.medianTime)
		}
	}
	return chain, starts, nil
}

// take adds the buckets of a metric, whose name says by which time they are.
func (m measure) take(name string, sizes []string, chain []*block, starts map[window]string, buckets map[Key]Value) {
	readings, sets := map[Key][]reading{}, map[Key]map[string]bool{}
	for _, b := range chain {
		at := b.time
		if strings.HasSuffix(name, MedianTimeSuffix) {
			at = b.medianTime
		}
		for _, size := range sizes {
			key := Key{Metric: name, Size: size, Start: starts[window{size, at}], Dimensions: none}
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
				readings[key] = append(readings[key], reading{at, amount})
			})
		}
	}
	for key, read := range readings {
		buckets[key] = m.show(read)
	}
	for key, set := range sets {
		buckets[key] = Value{Value: fmt.Sprint(len(set))}
	}
}

// show gives what a bucket shows of its readings.
func (m measure) show(readings []reading) Value {
	switch m.kind() {
	case "counter":
		sum := new(big.Int)
		for _, r := range readings {
			sum.Add(sum, big.NewInt(r.amount))
		}
		return Value{Value: decimal(sum, m.digits)}
	case "histogram":
		return histogram(readings, m.digits)
	}
	return gauge(readings, m.shows, m.digits)
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
