package oracle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
)

// block is a block of the chain. Times are seconds since 1970, amounts satoshi, sizes bytes.
type block struct {
	height       int
	hash, prev   [32]byte
	time         int64
	medianTime   int64 // of this block and the ten before it
	version      int32
	size         int
	transactions []transaction
	parent       *block
}

type transaction struct {
	size    int
	id      [32]byte
	inputs  []input
	outputs []output
}

type input struct {
	id    [32]byte // of the transaction that paid it
	index uint32
	spent output // what it paid
}

type output struct {
	value         int64
	form, address string // of its script
}

// easiest are the bits of a header whose difficulty is 1.
const easiest = 0x1d00ffff

func (tx *transaction) coinbase() bool { return tx.inputs[0].id == [32]byte{} }

// reader takes little-endian numbers off a block's bytes; short says that they ended too early.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n uint64) []byte {
	if r.short = r.short || uint64(len(r.rest)) < n; r.short {
		return make([]byte, min(n, 80))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// count is Bitcoin's variable-length integer: one byte, or 253, 254, 255 before two, four, eight bytes.
func (r *reader) count() uint64 {
	switch first := r.take(1)[0]; first {
	case 253:
		return uint64(binary.LittleEndian.Uint16(r.take(2)))
	case 254:
		return uint64(binary.LittleEndian.Uint32(r.take(4)))
	case 255:
		return binary.LittleEndian.Uint64(r.take(8))
	default:
		return uint64(first)
	}
}

func twice(data []byte) [32]byte {
	once := sha256.Sum256(data)
	return sha256.Sum256(once[:])
}

// text gives a hash as explorers show it.
func text(hash [32]byte) string {
	slices.Reverse(hash[:])
	return hex.EncodeToString(hash[:])
}

// readChain reads a block file that holds one chain without witnesses, in any order, from the genesis block on.
func readChain(path string) ([]*block, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	children := map[[32]byte]*block{}
	for len(data) >= 8 && binary.LittleEndian.Uint32(data) == 0xd9b4bef9 {
		size := int(binary.LittleEndian.Uint32(data[4:]))
		if size < 81 || size > len(data)-8 {
			return nil, fmt.Errorf("block of %d bytes in %d", size, len(data))
		}
		b, err := readBlock(data[8 : 8+size])
		if err != nil {
			return nil, err
		}
		if children[b.prev] != nil {
			return nil, fmt.Errorf("two blocks follow %s", text(b.prev))
		}
		children[b.prev] = b
		data = data[8+size:]
	}
	var chain []*block
	for next := children[[32]byte{}]; next != nil; next = children[next.hash] {
		next.height = len(chain)
		if next.height > 0 {
			next.parent = chain[next.height-1]
		}
		chain = append(chain, next)
		var times []int64
		for _, recent := range chain[max(0, len(chain)-11):] {
			times = append(times, recent.time)
		}
		slices.Sort(times)
		next.medianTime = times[len(times)/2]
	}
	if len(chain) != len(children) {
		return nil, fmt.Errorf("%d of %d blocks connect", len(chain), len(children))
	}
	return chain, spend(chain)
}

func readBlock(data []byte) (*block, error) {
	b := &block{
		hash: twice(data[:80]), prev: [32]byte(data[4:36]), time: int64(binary.LittleEndian.Uint32(data[68:])),
		version: int32(binary.LittleEndian.Uint32(data)), size: len(data),
	}
	if bits := binary.LittleEndian.Uint32(data[72:]); bits != easiest {
		return nil, fmt.Errorf("block %s: its difficulty is not 1, which is all that this parser knows", text(b.hash))
	}
	r := &reader{rest: data[80:]}
	for left := r.count(); left > 0 && !r.short; left-- {
		b.transactions = append(b.transactions, readTransaction(r))
	}
	if r.short || len(r.rest) > 0 {
		return nil, fmt.Errorf("block %s: its transactions do not fill it", text(b.hash))
	}
	return b, nil
}

func readTransaction(r *reader) (tx transaction) {
	start := r.rest
	r.take(4) // version
	for left := r.count(); left > 0 && !r.short; left-- {
		tx.inputs = append(tx.inputs, input{id: [32]byte(r.take(32)), index: binary.LittleEndian.Uint32(r.take(4))})
		r.take(r.count()) // script
		r.take(4)         // sequence
	}
	for left := r.count(); left > 0 && !r.short; left-- {
		value := int64(binary.LittleEndian.Uint64(r.take(8)))
		form, address := readScript(r.take(r.count()))
		tx.outputs = append(tx.outputs, output{value: value, form: form, address: address})
	}
	r.take(4) // lock time
	tx.size = len(start) - len(r.rest)
	tx.id = twice(start[:tx.size])
	return tx
}

// spend finds what each input spends.
func spend(chain []*block) error {
	type point struct {
		id    [32]byte
		index uint32
	}
	unspent := map[point]output{}
	for _, b := range chain {
		for _, tx := range b.transactions {
			if len(tx.inputs) == 0 {
				return errors.New("a transaction without inputs, or with witnesses, which this parser does not know")
			}
			for i := range tx.inputs {
				in := &tx.inputs[i]
				found, ok := unspent[point{in.id, in.index}]
				if !ok && !tx.coinbase() {
					return fmt.Errorf("block %d spends what was not paid", b.height)
				}
				in.spent = found
				delete(unspent, point{in.id, in.index})
			}
			for i, out := range tx.outputs {
				unspent[point{tx.id, uint32(i)}] = out
			}
		}
	}
	return nil
}
