package bitcoin

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// Read gives the block at a height. Heights are best read in ascending order: where input values are kept, what lies
// between is read too, and a lower height means to start over. It fails with [ErrNoBlock] and [ErrDamaged].
func (c *Chain) Read(ctx context.Context, number uint64) (*Block, error) {
	b, ok := c.at(number)
	if !ok {
		return nil, fmt.Errorf("block %d: %w", number, ErrNoBlock)
	}
	if c.config.InputValues {
		if err := c.replay(ctx, b.height); err != nil {
			return nil, err
		}
	}
	message, err := c.load(b)
	if err != nil {
		return nil, err
	}
	return c.describe(b, message)
}

// replay brings the unspent outputs to the state before the block at a height above the base.
func (c *Chain) replay(ctx context.Context, height int) error {
	if c.unspent.next > height || c.unspent.next > 0 && c.unspent.last != c.blocks[c.best[c.unspent.next-1]].hash {
		c.unspent = outputs{}
	}
	for c.unspent.next < height {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := &c.blocks[c.best[c.unspent.next]]
		message, err := c.load(b)
		if err != nil {
			return err
		}
		if _, err := c.unspent.apply(b, message); err != nil {
			return err
		}
		if c.unspent.next%replayReport == 0 {
			c.log.InfoContext(ctx, "collecting unspent outputs", "number", c.unspent.next, "until", height,
				"outputs", len(c.unspent.byPoint))
		}
	}
	return nil
}

const replayReport = 20_000 // blocks between log lines

// load reads and verifies a block, from another copy where the first is damaged.
func (c *Chain) load(b *block) (*wire.MsgBlock, error) {
	var wrong []error
	for _, at := range slices.Concat([]place{b.place}, c.copies[c.byHash[b.hash]]) {
		message, err := c.loadFrom(at, b.hash)
		if err == nil {
			return message, nil
		}
		wrong = append(wrong, fmt.Errorf("block %s in %s at %d: %w", b.hash, at.file.path, at.offset, err))
	}
	return nil, errors.Join(wrong...)
}

func (c *Chain) loadFrom(at place, hash chainhash.Hash) (*wire.MsgBlock, error) {
	if c.reading == nil || c.path != at.file.path {
		if err := c.Close(); err != nil {
			return nil, err
		}
		src, err := at.file.open()
		if err != nil {
			return nil, err
		}
		c.reading, c.path = src, at.file.path
	}
	data := make([]byte, at.size)
	if _, err := c.reading.ReadAt(data, at.offset); err != nil {
		return nil, err
	}
	return decode(data, hash)
}

// decode reads a block and verifies that its transactions are those that its header stands for.
func decode(data []byte, hash chainhash.Hash) (*wire.MsgBlock, error) {
	var message wire.MsgBlock
	rest := bytes.NewReader(data)
	if err := message.Deserialize(rest); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch root, unique := merkleRoot(message.Transactions); {
	case rest.Len() > 0:
		return nil, fmt.Errorf("%w: %d bytes follow its transactions", ErrDamaged, rest.Len())
	case message.BlockHash() != hash:
		return nil, fmt.Errorf("%w: its header has changed", ErrDamaged)
	case root != message.Header.MerkleRoot:
		return nil, fmt.Errorf("%w: its transactions do not have its merkle root", ErrDamaged)
	case !unique:
		return nil, fmt.Errorf("%w: transactions are repeated", ErrDamaged)
	case !isCoinbase(message.Transactions[0]):
		return nil, fmt.Errorf("%w: its first transaction is no coinbase", ErrDamaged)
	}
	return &message, nil
}

// merkleRoot hashes transaction ids in pairs, the last one of an odd row with itself. Where two neighbours are the same,
// a list that repeats its end has that root too (CVE-2012-2459), so it is not unique.
func merkleRoot(transactions []*wire.MsgTx) (root chainhash.Hash, unique bool) {
	row := make([]chainhash.Hash, len(transactions))
	for i, tx := range transactions {
		row[i] = tx.TxHash()
	}
	unique = true
	for len(row) > 1 {
		next := row[:0]
		for i := 0; i < len(row); i += 2 {
			left, right := row[i], row[min(i+1, len(row)-1)]
			unique = unique && (left != right || i+1 == len(row))
			next = append(next, chainhash.DoubleHashH(append(left[:], right[:]...)))
		}
		row = next
	}
	if len(row) == 0 {
		return root, false
	}
	return row[0], unique
}

func isCoinbase(tx *wire.MsgTx) bool {
	return len(tx.TxIn) == 1 && tx.TxIn[0].PreviousOutPoint.Index == wire.MaxPrevOutIndex &&
		tx.TxIn[0].PreviousOutPoint.Hash == chainhash.Hash{}
}

// describe gives a block's fields. The unspent outputs, where they are kept, move on over it.
func (c *Chain) describe(b *block, message *wire.MsgBlock) (*Block, error) {
	var spent [][]output // by transaction and input
	if c.config.InputValues {
		var err error
		if spent, err = c.unspent.apply(b, message); err != nil {
			return nil, err
		}
	}
	header := &message.Header
	number := c.First() + uint64(b.height)                //nolint:gosec // not negative
	interval := uint64(c.params.SubsidyReductionInterval) //nolint:gosec // positive
	described := &Block{
		Hash: b.hash.String(), Number: number, PreviousBlockHash: header.PrevBlock.String(),
		Version: header.Version, MerkleRoot: header.MerkleRoot.String(), Timestamp: header.Timestamp.Unix(),
		MedianTime: c.medianTime(b), Nonce: strconv.FormatUint(uint64(header.Nonce), 16),
		Bits: fmt.Sprintf("%08x", header.Bits), Difficulty: json.Number(difficulty(header.Bits)),
		Size: message.SerializeSize(), StrippedSize: message.SerializeSizeStripped(),
		CoinbaseParam:    hex.EncodeToString(message.Transactions[0].TxIn[0].SignatureScript),
		TransactionCount: len(message.Transactions), Subsidy: subsidy(number, interval),
	}
	described.Weight = 3*described.StrippedSize + described.Size
	if b.height > 0 {
		since := int64(b.time) - int64(c.blocks[b.parent].time)
		described.SecondsSinceParent = &since
	}
	described.Transactions = make([]Transaction, len(message.Transactions))
	if c.config.InputValues {
		described.InputValue = new(int64)
	}
	for i, tx := range message.Transactions {
		described.Transactions[i] = c.describeTransaction(tx, i, described)
		t := &described.Transactions[i]
		if spent != nil && i > 0 {
			c.describeSpent(t, spent[i])
		}
		described.InputCount += t.InputCount
		described.OutputCount += t.OutputCount
		described.OutputValue += t.OutputValue
		if described.InputValue != nil {
			*described.InputValue += *t.InputValue
		}
	}
	described.Fees = described.Transactions[0].OutputValue - described.Subsidy
	return described, nil
}

func (c *Chain) describeTransaction(tx *wire.MsgTx, index int, in *Block) Transaction {
	size, stripped := tx.SerializeSize(), tx.SerializeSizeStripped()
	weight := 3*stripped + size
	t := Transaction{
		Type: "transaction", Hash: tx.TxHash().String(), Size: size, Weight: weight, VirtualSize: (weight + 3) / 4,
		Version: tx.Version, LockTime: tx.LockTime, BlockNumber: in.Number, BlockHash: in.Hash,
		BlockTimestamp: in.Timestamp, IsCoinbase: index == 0, Index: index,
		OutputCount: len(tx.TxOut), Inputs: []Input{}, Outputs: make([]Output, len(tx.TxOut)),
	}
	for i, out := range tx.TxOut {
		form, addresses := c.recipients(out.PkScript)
		t.Outputs[i] = Output{
			Index: i, ScriptHex: hex.EncodeToString(out.PkScript), Type: form, Addresses: addresses, Value: out.Value,
		}
		t.OutputValue += out.Value
	}
	if t.IsCoinbase {
		t.InputValue, t.Fee = new(int64), new(int64)
		return t
	}
	t.InputCount, t.Inputs = len(tx.TxIn), make([]Input, len(tx.TxIn))
	for i, in := range tx.TxIn {
		t.Inputs[i] = Input{
			Index: i, SpentTransactionHash: in.PreviousOutPoint.Hash.String(), SpentOutputIndex: in.PreviousOutPoint.Index,
			ScriptHex: hex.EncodeToString(in.SignatureScript), Sequence: in.Sequence,
		}
	}
	return t
}

func (c *Chain) describeSpent(t *Transaction, spent []output) {
	t.InputValue, t.Fee = new(int64), new(int64)
	for i, out := range spent {
		form, addresses := c.recipients([]byte(out.script))
		t.Inputs[i].Spent = &Spent{Type: form, Addresses: addresses, Value: out.value}
		*t.InputValue += out.value
	}
	*t.Fee = *t.InputValue - t.OutputValue
}

const medianSpan = 11 // blocks

func (c *Chain) medianTime(b *block) *int64 {
	if b.height < medianSpan-1 && c.First() > 0 {
		return nil
	}
	first := max(0, b.height-medianSpan+1)
	times := make([]int64, 0, medianSpan)
	for _, i := range c.best[first : b.height+1] {
		times = append(times, int64(c.blocks[i].time))
	}
	slices.Sort(times)
	return &times[len(times)/2]
}
