package histogram

import (
	"math"
	"slices"
	"sort"
)

// A sketch counts magnitudes in bins whose width grows with them, so that whatever lies in a bin is known within a
// relative error: DDSketch, of C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
// relative-error guarantees", VLDB 2019. Bins are cut as in its linearly interpolated mapping: each power of two, [2^e,
// 2^(e+1)), into equal parts. Against cuts at equal ratios that takes up to 44 % more bins, but a bin's number comes out of
// one multiplication and one subtraction of floats, which every processor rounds in the same way, where logarithms do not:
// states have to be the same on all of them. Bins are never merged to save room, so the error holds for every quantile.
type sketch []bin

// bin is one part of a power of two, and how many values lie in it.
type bin struct {
	number int32 // exponent × parts + part
	count  uint64
}

// partsFor gives the number of parts of a power of two for a relative error. A bin from a to b is shown as 2ab/(a+b), which
// lies within (b-a)/(b+a) of all of it; that is 1/(2 × parts + 1) in the first part, and less in the others. One part more
// than that asks for leaves room for the rounding of what is shown.
func partsFor(relativeError float64) int32 {
	return int32(math.Ceil((1/relativeError-1)/2)) + 1
}

// binOf gives the bin of a finite magnitude greater than zero.
func binOf(magnitude float64, parts int32) int32 {
	fraction, exponent := math.Frexp(magnitude) // 0.5 ≤ fraction < 1
	// The conversions keep compilers from fusing the operations, which would round once instead of twice.
	part := float64(float64(2*fraction-1) * float64(parts))
	return int32(exponent)*parts + min(int32(part), parts-1) //nolint:gosec // exponents of floats have eleven bits
}

// middle gives the magnitude that a bin is shown as.
func middle(number, parts int32) float64 {
	exponent := number / parts
	if number%parts < 0 {
		exponent--
	}
	part := number - exponent*parts
	low := float64(1 + float64(part)/float64(parts))
	high := float64(1 + float64(part+1)/float64(parts))
	return math.Ldexp(float64(float64(low*high)/float64(low+high)), int(exponent)) // twice this, of fractions from a half
}

// add counts n values in a bin.
func (s sketch) add(number int32, n uint64) sketch {
	at := sort.Search(len(s), func(i int) bool { return s[i].number >= number })
	if at < len(s) && s[at].number == number {
		s[at].count += n
		return s
	}
	return slices.Insert(s, at, bin{number, n})
}

// merge adds the counts of another sketch with the same parts.
func (s sketch) merge(other sketch) sketch {
	if len(other) <= 1 {
		for _, b := range other {
			s = s.add(b.number, b.count)
		}
		return s
	}
	merged := make(sketch, 0, len(s)+len(other))
	for len(s) > 0 && len(other) > 0 {
		switch a, b := s[0], other[0]; {
		case a.number < b.number:
			merged, s = append(merged, a), s[1:]
		case a.number > b.number:
			merged, other = append(merged, b), other[1:]
		default:
			merged = append(merged, bin{a.number, a.count + b.count})
			s, other = s[1:], other[1:]
		}
	}
	return append(append(merged, s...), other...)
}

// total gives the number of values.
func (s sketch) total() (n uint64) {
	for _, b := range s {
		n += b.count
	}
	return n
}
