package etl

import (
	"encoding/json"
	"strings"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// Kinds of rows, which are the event types that they become.
const (
	kindBlock       = "block"
	kindTransaction = "transaction"
	kindLog         = "log"
	kindTransfer    = "token_transfer"
)

// kindOf tells what a file holds by one of its rows, empty where it is none of what the exports have.
func kindOf(r row.Row) string {
	has := func(names ...string) bool {
		for _, name := range names {
			if _, ok := r.Value(name); !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("token_address", columnBlock, "log_index"):
		return kindTransfer
	case has("address", columnBlock, "log_index"):
		return kindLog
	case has(events.FieldHash, columnBlock):
		return kindTransaction
	case has(events.FieldHash, events.FieldNumber, events.FieldTimestamp):
		return kindBlock
	}
	return ""
}

const (
	columnBlock  = "block_number"
	columnParent = "parent_hash"
)

// orders are the columns that say where in their block rows of a kind stand; bitcoin-etl has none, and writes them in order.
var orders = map[string][]string{
	kindTransaction: {"transaction_index", "index"}, kindLog: {"log_index"}, kindTransfer: {"log_index"},
}

// numbers are the columns of numbers, in the schemas of ethereum-etl and bitcoin-etl. All others are texts, also where a
// hash happens to have digits alone, but for those of lists.
var numbers = set(`
	number size stripped_size weight version timestamp transaction_count difficulty total_difficulty gas_limit gas_used
	base_fee_per_gas blob_gas_used excess_blob_gas
	block_number block_timestamp transaction_index value gas gas_price max_fee_per_gas max_priority_fee_per_gas
	max_fee_per_blob_gas transaction_type cumulative_gas_used effective_gas_price status receipt_cumulative_gas_used
	receipt_gas_used receipt_status receipt_effective_gas_price
	virtual_size lock_time index input_count output_count input_value output_value fee
	log_index`)

func set(names string) map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		all[name] = true
	}
	return all
}

// lists are columns of lists.
var lists = set("inputs outputs topics withdrawals blob_versioned_hashes")

// list reads JSON, and what CSV has for it: texts joined by commas or bars, or objects joined by commas.
func list(text string) any {
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(`,|; []'"`, c) })
}

// composite reads what is known to be no number or list: objects, lists and booleans of JSON as such, everything else as text.
func composite(text string) any {
	if text == "true" || text == "false" || text != "" && strings.ContainsRune("{[", rune(text[0])) && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// fields gives a row's columns as an event has them.
func fields(r row.Row, kind string) (map[string]any, error) {
	all := make(map[string]any, len(r.Fields))
	for _, f := range r.Fields {
		switch {
		case f.Name == "nonce" && kind == kindTransaction, numbers[f.Name]:
			if f.Name == events.FieldTimestamp || f.Name == "block_timestamp" {
				at, err := row.ParseTime(f.Value)
				if err != nil {
					return nil, r.Refuse("%s %.40q: %w", f.Name, f.Value, err)
				}
				all[f.Name] = at.Unix()
				continue
			}
			if !json.Valid([]byte(f.Value)) || !strings.ContainsRune("-0123456789", rune(f.Value[0])) {
				return nil, r.Refuse("%s %.40q is no number", f.Name, f.Value)
			}
			all[f.Name] = json.Number(f.Value)
		case f.Name == "is_coinbase":
			all[f.Name] = strings.EqualFold(f.Value, "true")
		case lists[f.Name]:
			all[f.Name] = list(f.Value)
		default:
			all[f.Name] = composite(f.Value)
		}
	}
	all[events.FieldType] = kind
	return all, nil
}
