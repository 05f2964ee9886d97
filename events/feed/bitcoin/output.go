package bitcoin

import (
	"fmt"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// outputs is what the blocks so far have paid and none has spent. The zero value is the state before the base.
type outputs struct {
	next    int            // the height above the base of the block to be applied next
	last    chainhash.Hash // of the block applied last
	byPoint map[wire.OutPoint]output
}

// output is an amount in satoshi and the script that tells who may spend it.
type output struct {
	value  int64
	script string
}

// apply spends a block's inputs, adds its outputs, and gives what was spent by transaction and input. It fails where an
// input spends what nobody paid, and then has to start over.
func (o *outputs) apply(b *block, message *wire.MsgBlock) ([][]output, error) {
	if o.byPoint == nil {
		o.byPoint = map[wire.OutPoint]output{}
	}
	spent := make([][]output, len(message.Transactions))
	for i, tx := range message.Transactions {
		if i > 0 {
			spent[i] = make([]output, len(tx.TxIn))
			for j, in := range tx.TxIn {
				out, ok := o.byPoint[in.PreviousOutPoint]
				if !ok {
					*o = outputs{}
					return nil, fmt.Errorf("block %s: transaction %d spends %s, which no block before it pays",
						b.hash, i, in.PreviousOutPoint)
				}
				delete(o.byPoint, in.PreviousOutPoint)
				spent[i][j] = out
			}
		}
		hash := tx.TxHash()
		for j, out := range tx.TxOut {
			if !txscript.IsUnspendable(out.PkScript) {
				o.byPoint[wire.OutPoint{Hash: hash, Index: uint32(j)}] = output{value: out.Value, script: string(out.PkScript)}
			}
		}
	}
	o.next, o.last = b.height+1, b.hash
	return spent, nil
}

// recipients gives the form of a script, as Bitcoin Core names it, and the addresses that it pays.
func (c *Chain) recipients(script []byte) (form string, addresses []string) {
	class, found, _, err := txscript.ExtractPkScriptAddrs(script, c.params)
	addresses = make([]string, len(found))
	for i, address := range found {
		addresses[i] = address.EncodeAddress()
	}
	if err != nil {
		return txscript.NonStandardTy.String(), []string{}
	}
	if version, _, err := txscript.ExtractWitnessProgramInfo(script); class == txscript.NonStandardTy && err == nil && version > 0 {
		class = txscript.WitnessUnknownTy
	}
	return class.String(), addresses
}
