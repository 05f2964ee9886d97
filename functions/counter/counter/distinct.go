package counter

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

const (
	// exactUpTo is the number of elements up to which a distinct count is exact, but for a chance of 2^-39 that two of
	// them share a 64-bit hash. Beyond it, HyperLogLog registers hold the count.
	exactUpTo = 8192
	// precision is the number of hash bits that choose a register. The standard error is 1.04/√(2^precision).
	precision = 14
	registers = 1 << precision
	rankBits  = 64 - precision

	distinctDetail = `{"relative_error": 0.0081}`
)

// Forms of an encoded distinct state, after the version.
const (
	formHashes    = 1 // big-endian hashes in ascending order
	formRegisters = 2 // one byte each
)

// distinct counts the different elements that were observed. Its form depends on their number only, so that every split
// of the same observations merges into the same state.
type distinct struct {
	hashes map[uint64]struct{} // nil once there are registers
	ranks  []uint8             // HyperLogLog: the greatest rank seen per register; nil while there are hashes
}

func newDistinct() *distinct { return &distinct{hashes: make(map[uint64]struct{})} }

// Observe adds the elements.
func (d *distinct) Observe(o metric.Observation) error {
	for _, element := range o.Elements {
		d.add(xxhash.Sum64String(element))
	}
	return nil
}

// Merge adds the elements of another distinct state.
func (d *distinct) Merge(other aggregate.State) error {
	o, ok := other.(*distinct)
	if !ok {
		return fmt.Errorf("merge %T into a distinct count", other)
	}
	for hash := range o.hashes {
		d.add(hash)
	}
	if o.ranks != nil {
		d.toRegisters()
		for i, rank := range o.ranks {
			d.ranks[i] = max(d.ranks[i], rank)
		}
	}
	return nil
}

func (d *distinct) add(hash uint64) {
	if d.ranks != nil {
		d.raise(hash)
		return
	}
	d.hashes[hash] = struct{}{}
	if len(d.hashes) > exactUpTo {
		d.toRegisters()
	}
}

func (d *distinct) toRegisters() {
	if d.ranks != nil {
		return
	}
	d.ranks = make([]uint8, registers)
	for hash := range d.hashes {
		d.raise(hash)
	}
	d.hashes = nil
}

// raise notes the rank of a hash, one more than the zeros that lead its lower bits.
func (d *distinct) raise(hash uint64) {
	register := hash >> rankBits
	rank := uint8(min(bits.LeadingZeros64(hash<<precision), rankBits) + 1) //nolint:gosec // at most 51
	d.ranks[register] = max(d.ranks[register], rank)
}

// Encode gives the version, the form and its content.
func (d *distinct) Encode() []byte {
	if d.ranks != nil {
		return append([]byte{encodingVersion, formRegisters}, d.ranks...)
	}
	hashes := make([]uint64, 0, len(d.hashes))
	for hash := range d.hashes {
		hashes = append(hashes, hash)
	}
	slices.Sort(hashes)
	encoded := append(make([]byte, 0, 2+8*len(hashes)), encodingVersion, formHashes)
	for _, hash := range hashes {
		encoded = binary.BigEndian.AppendUint64(encoded, hash)
	}
	return encoded
}

func decodeDistinct(encoded []byte) (aggregate.State, error) {
	if len(encoded) < 2 || encoded[0] != encodingVersion {
		return nil, aggregate.ErrEncoding
	}
	form, content := encoded[1], encoded[2:]
	switch {
	case form == formRegisters && len(content) == registers && slices.Max(content) <= rankBits+1:
		return &distinct{ranks: slices.Clone(content)}, nil
	case form == formHashes && len(content)%8 == 0 && len(content)/8 <= exactUpTo:
		d := newDistinct()
		for i := 0; i < len(content); i += 8 {
			if i > 0 && string(content[i-8:i]) >= string(content[i:i+8]) {
				return nil, aggregate.ErrEncoding
			}
			d.hashes[binary.BigEndian.Uint64(content[i:])] = struct{}{}
		}
		return d, nil
	default:
		return nil, aggregate.ErrEncoding
	}
}

// Value is the number of different elements, with the relative error as detail where it is an estimate.
func (d *distinct) Value() (decimal.Decimal, []byte) {
	if d.ranks == nil {
		return decimal.FromInt64(int64(len(d.hashes))), nil
	}
	return decimal.FromInt64(int64(math.RoundToEven(estimate(d.ranks)))), []byte(distinctDetail)
}

// estimate is the improved raw estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
// arXiv:1702.01284, algorithm 6.
func estimate(ranks []uint8) float64 {
	var histogram [rankBits + 2]float64
	for _, rank := range ranks {
		histogram[rank]++
	}
	const m = float64(registers)
	z := m * tau(1-histogram[rankBits+1]/m)
	for rank := rankBits; rank >= 1; rank-- {
		z = 0.5 * (z + histogram[rank])
	}
	z += m * sigma(histogram[0]/m)
	return m * m / (2 * math.Ln2 * z)
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	sum, weight := x, 1.0
	for {
		x *= x
		before := sum
		sum += x * weight
		weight += weight
		if sum == before {
			return sum
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	sum, weight := 1-x, 1.0
	for {
		x = math.Sqrt(x)
		before := sum
		weight *= 0.5
		sum -= (1 - x) * (1 - x) * weight
		if sum == before {
			return sum / 3
		}
	}
}
