package oracle

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"slices"

	"golang.org/x/crypto/ripemd160" //nolint:gosec,staticcheck // Bitcoin's addresses are made with it
)

// opcodes of the two forms of script that the first blocks know.
const (
	opDup         = 0x76
	opHash160     = 0xa9
	opEqualVerify = 0x88
	opCheckSig    = 0xac
)

// readScript names a script's form and gives the address that it pays, empty where the form has none.
func readScript(script []byte) (form, address string) {
	if hash, ok := between(script, []byte{opDup, opHash160, 20}, []byte{opEqualVerify, opCheckSig}); ok && len(hash) == 20 {
		return "pubkeyhash", encode(hash)
	}
	for _, start := range [][]byte{{65, 4}, {33, 2}, {33, 3}} { // length, kind of key
		key, ok := between(script, start[:1], []byte{opCheckSig})
		if ok && len(key) == int(start[0]) && key[0] == start[1] {
			once := sha256.Sum256(key)
			hash := ripemd160.New() //nolint:gosec // see above
			hash.Write(once[:])
			return "pubkey", encode(hash.Sum(nil))
		}
	}
	return "nonstandard", ""
}

func between(script, start, end []byte) (middle []byte, ok bool) {
	middle, starts := bytes.CutPrefix(script, start)
	middle, ends := bytes.CutSuffix(middle, end)
	return middle, starts && ends
}

// encode is base58check with mainnet's version byte, 0.
func encode(hash []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	payload := append([]byte{0}, hash...)
	sum := twice(payload)
	payload = append(payload, sum[:4]...)
	var address []byte
	base, digit := big.NewInt(58), new(big.Int)
	for n := new(big.Int).SetBytes(payload); n.Sign() > 0; {
		n.DivMod(n, base, digit)
		address = append(address, digits[digit.Int64()])
	}
	for _, b := range payload {
		if b != 0 {
			break
		}
		address = append(address, digits[0])
	}
	slices.Reverse(address)
	return string(address)
}
