package bitcoin

import (
	"math/big"
	"strconv"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// target expands the compact form in which a header states the number that its hash must not exceed: one byte of
// exponent, three of mantissa with a sign bit, as Bitcoin Core's arith_uint256::SetCompact. Negative targets give zero.
func target(bits uint32) *big.Int {
	mantissa := big.NewInt(int64(bits & 0x007fffff))
	if bits&0x00800000 != 0 {
		return new(big.Int)
	}
	if shift := 8 * (int(bits>>24) - 3); shift < 0 {
		mantissa.Rsh(mantissa, uint(-shift))
	} else {
		mantissa.Lsh(mantissa, uint(shift))
	}
	return mantissa
}

// work is the expected number of hashes behind a header: 2^256 / (target+1), as Bitcoin Core's GetBlockProof.
func work(bits uint32) *big.Int {
	hashes := new(big.Int).Lsh(big.NewInt(1), 256)
	return hashes.Div(hashes, new(big.Int).Add(target(bits), big.NewInt(1)))
}

// proven tells whether a hash meets its header's target and that target is within the network's limit.
func proven(hash chainhash.Hash, bits uint32, limit *big.Int) bool {
	goal := target(bits)
	if goal.Sign() == 0 || goal.Cmp(limit) > 0 {
		return false
	}
	bigEndian := make([]byte, len(hash))
	for i, b := range hash {
		bigEndian[len(hash)-1-i] = b
	}
	return new(big.Int).SetBytes(bigEndian).Cmp(goal) <= 0
}

// difficulty is how much harder than the easiest target of mainnet (bits 1d00ffff) a block is, with the 16 significant
// digits that Bitcoin Core's getblock shows, in plain notation.
func difficulty(bits uint32) string {
	ratio := float64(0xffff) / float64(bits&0x00ffffff)
	for shift := bits >> 24; shift < 29; shift++ {
		ratio *= 256
	}
	for shift := bits >> 24; shift > 29; shift-- {
		ratio /= 256
	}
	shown, err := strconv.ParseFloat(strconv.FormatFloat(ratio, 'g', 16, 64), 64)
	if err != nil {
		shown = ratio
	}
	return strconv.FormatFloat(shown, 'f', -1, 64)
}

const (
	firstSubsidy = 50_0000_0000 // satoshi
	halvings     = 64           // after which nothing is created
)

// subsidy is what a block at a height may create, in satoshi. It halves every interval blocks.
func subsidy(number, interval uint64) int64 {
	if number/interval >= halvings {
		return 0
	}
	return firstSubsidy >> (number / interval)
}
