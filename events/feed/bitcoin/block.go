package bitcoin

import (
	"encoding/json"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// Block is a block in the field names of bitcoin-etl, and what analysts want besides. Amounts are in satoshi, sizes in
// bytes, times in seconds since 1970. Fields that are not known are absent.
type Block struct {
	Hash              string `json:"hash"`
	Number            uint64 `json:"number"`
	PreviousBlockHash string `json:"previous_block_hash"` // zeros for the genesis block
	Version           int32  `json:"version"`
	MerkleRoot        string `json:"merkle_root"`
	Timestamp         int64  `json:"timestamp"` // as the miner states it: may lie before the parent's
	// MedianTime is the median time past as of this block: the median of the timestamps of this block and the ten before
	// it, getblock's mediantime. It never decreases. Blocks whose ten predecessors lie before the base have none; near
	// the genesis block it is over those that exist, of an even number the later of the two in the middle.
	MedianTime *int64      `json:"median_time,omitempty"`
	Nonce      string      `json:"nonce"` // hexadecimal without leading zeros
	Bits       string      `json:"bits"`  // eight hexadecimal digits
	Difficulty json.Number `json:"difficulty"`

	Size             int    `json:"size"`
	StrippedSize     int    `json:"stripped_size"` // without witnesses
	Weight           int    `json:"weight"`        // three times stripped size plus size
	CoinbaseParam    string `json:"coinbase_param"`
	TransactionCount int    `json:"transaction_count"`

	Subsidy     int64  `json:"subsidy"`
	Fees        int64  `json:"fees"`        // what the coinbase took beyond the subsidy; negative where it took less
	InputCount  int    `json:"input_count"` // of all transactions but the coinbase
	InputValue  *int64 `json:"input_value,omitempty"`
	OutputCount int    `json:"output_count"` // of all transactions
	OutputValue int64  `json:"output_value"`
	// SecondsSinceParent is the difference of the timestamps, which may be negative; absent for the base.
	SecondsSinceParent *int64 `json:"seconds_since_parent,omitempty"`

	Transactions []Transaction `json:"-"`
}

// Transaction is a transaction in the field names of bitcoin-etl.
type Transaction struct {
	Type           string   `json:"type"` // transaction
	Hash           string   `json:"hash"` // the transaction id, without witnesses
	Size           int      `json:"size"`
	VirtualSize    int      `json:"virtual_size"` // a quarter of the weight, rounded up
	Weight         int      `json:"weight"`
	Version        int32    `json:"version"`
	LockTime       uint32   `json:"lock_time"`
	BlockNumber    uint64   `json:"block_number"`
	BlockHash      string   `json:"block_hash"`
	BlockTimestamp int64    `json:"block_timestamp"`
	IsCoinbase     bool     `json:"is_coinbase"`
	Index          int      `json:"index"` // within the block, from 0
	InputCount     int      `json:"input_count"`
	InputValue     *int64   `json:"input_value,omitempty"`
	OutputCount    int      `json:"output_count"`
	OutputValue    int64    `json:"output_value"`
	Fee            *int64   `json:"fee,omitempty"` // 0 for a coinbase
	Inputs         []Input  `json:"inputs"`        // none for a coinbase
	Outputs        []Output `json:"outputs"`
}

// Input spends an output. What that output says is absent where input values are not kept.
type Input struct {
	Index                int    `json:"index"`
	SpentTransactionHash string `json:"spent_transaction_hash"`
	SpentOutputIndex     uint32 `json:"spent_output_index"`
	ScriptHex            string `json:"script_hex"`
	Sequence             uint32 `json:"sequence"`
	*Spent
}

// Spent is what an input's output says.
type Spent struct {
	Type      string   `json:"type"`
	Addresses []string `json:"addresses"`
	Value     int64    `json:"value"`
}

// Output is an amount and the script that tells who may spend it.
type Output struct {
	Index     int      `json:"index"`
	ScriptHex string   `json:"script_hex"`
	Type      string   `json:"type"`      // Bitcoin Core's name of the script's form: pubkey, pubkeyhash, scripthash, …
	Addresses []string `json:"addresses"` // a pubkey's is that of its hash; none where the form has none
	Value     int64    `json:"value"`
}

// Event gives the block as an entry's content, without the name of its chain.
func (b *Block) Event() events.Block {
	transactions := make([]any, len(b.Transactions))
	for i := range b.Transactions {
		transactions[i] = &b.Transactions[i]
	}
	return events.Block{
		Number: b.Number, Hash: b.Hash, ParentHash: b.PreviousBlockHash,
		Time: time.Unix(b.Timestamp, 0).UTC(), Fields: b, Events: transactions,
	}
}
