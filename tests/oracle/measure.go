package oracle

import "fmt"

// measure says what a metric measures: amounts are summed or, with a shows, read one by one; elements are counted once each.
type measure struct {
	sizes    []string
	digits   int // after the point of an amount's unit
	amounts  func(b *block, add func(dimensions string, amount int64))
	elements func(b *block) []string
	shows    string // of a gauge: the reading that is the value; "spread" for a histogram, whose value is the mean
}

const spread = "spread"

// kind is the metric type.
func (m measure) kind() string {
	switch m.shows {
	case "":
		return "counter"
	case spread:
		return "histogram"
	}
	return "gauge"
}

const satoshi = 8 // digits

var (
	allSizes     = []string{"minutely", "10-minutely", "hourly", "daily", "weekly", "monthly"}
	fromHours    = []string{"hourly", "daily", "weekly", "monthly"}
	hoursToWeeks = []string{"hourly", "daily", "weekly"}
	daysToMonths = []string{"daily", "weekly", "monthly"}
)

const (
	none        = "{}" // dimensions
	halvesEvery = 210_000
)

// measures has every example metric, by its name.
var measures = map[string]measure{
	"btc_block_count":             {sizes: allSizes, amounts: perBlock(one)},
	"btc_block_count_median_time": {sizes: allSizes, amounts: perBlock(one)},
	"btc_block_count_by_version": {sizes: daysToMonths, amounts: func(b *block, add func(string, int64)) {
		add(fmt.Sprintf(`{"version":"%d"}`, b.version), 1)
	}},
	"btc_empty_block_count": {sizes: hoursToWeeks, amounts: func(b *block, add func(string, int64)) {
		if len(b.transactions) == 1 {
			add(none, 1)
		}
	}},
	"btc_late_header_count": {sizes: hoursToWeeks, amounts: func(b *block, add func(string, int64)) {
		if b.parent != nil && b.time < b.parent.time {
			add(none, 1)
		}
	}},
	"btc_block_size":   {sizes: hoursToWeeks, amounts: perBlock(func(b *block) int64 { return int64(b.size) })},
	"btc_block_weight": {sizes: hoursToWeeks, amounts: perBlock(func(b *block) int64 { return 4 * int64(b.size) })},

	"btc_issuance":             {sizes: fromHours, digits: satoshi, amounts: perBlock(subsidy)},
	"btc_issuance_median_time": {sizes: fromHours, digits: satoshi, amounts: perBlock(subsidy)},
	"btc_fees":                 {sizes: hoursToWeeks, digits: satoshi, amounts: perBlock(fees)},
	"btc_miner_revenue": {sizes: hoursToWeeks, digits: satoshi, amounts: perBlock(func(b *block) int64 {
		return paid(b.transactions[0])
	})},

	"btc_transaction_count":             {sizes: allSizes, amounts: perBlock(transactions)},
	"btc_transaction_count_median_time": {sizes: hoursToWeeks, amounts: perBlock(transactions)},
	"btc_payment_count":                 {sizes: hoursToWeeks, amounts: perPayment(func(transaction) int64 { return 1 })},
	"btc_input_count": {sizes: hoursToWeeks, amounts: perBlock(func(b *block) (count int64) {
		for _, tx := range b.transactions[1:] {
			count += int64(len(tx.inputs))
		}
		return count
	})},
	"btc_output_count": {sizes: hoursToWeeks, amounts: perBlock(func(b *block) (count int64) {
		for _, tx := range b.transactions {
			count += int64(len(tx.outputs))
		}
		return count
	})},
	"btc_output_value": {sizes: hoursToWeeks, digits: satoshi, amounts: perBlock(func(b *block) (value int64) {
		for _, tx := range b.transactions {
			value += paid(tx)
		}
		return value
	})},
	"btc_transfer_value":             {sizes: hoursToWeeks, digits: satoshi, amounts: perPayment(paid)},
	"btc_transfer_value_median_time": {sizes: hoursToWeeks, digits: satoshi, amounts: perPayment(paid)},

	"btc_new_outputs":      {sizes: hoursToWeeks, amounts: perForm(func(output) int64 { return 1 })},
	"btc_new_output_value": {sizes: hoursToWeeks, digits: satoshi, amounts: perForm(func(o output) int64 { return o.value })},

	"btc_block_height":             {sizes: hoursToWeeks, amounts: perBlock(height), shows: "last"},
	"btc_block_height_median_time": {sizes: hoursToWeeks, amounts: perBlock(height), shows: "last"},
	"btc_difficulty":               {sizes: daysToMonths, amounts: perBlock(one), shows: "last"}, // readBlock refuses another
	"btc_largest_block":            {sizes: hoursToWeeks, amounts: perBlock(func(b *block) int64 { return int64(b.size) }), shows: "max"},
	"btc_median_time_behind": {sizes: hoursToWeeks, shows: "avg", amounts: perBlock(func(b *block) int64 {
		return b.time - b.medianTime
	})},

	"btc_block_interval":             {sizes: hoursToWeeks, amounts: intervals, shows: spread},
	"btc_block_interval_median_time": {sizes: hoursToWeeks, amounts: intervals, shows: spread},
	"btc_block_size_spread":          {sizes: hoursToWeeks, amounts: perBlock(func(b *block) int64 { return int64(b.size) }), shows: spread},
	"btc_output_value_spread": {sizes: hoursToWeeks, digits: satoshi, shows: spread, amounts: perForm(func(o output) int64 {
		return o.value
	})},

	"btc_active_addresses":             {sizes: hoursToWeeks, elements: addresses},
	"btc_active_addresses_median_time": {sizes: hoursToWeeks, elements: addresses},
}

func perBlock(amount func(*block) int64) func(*block, func(string, int64)) {
	return func(b *block, add func(string, int64)) { add(none, amount(b)) }
}

// perPayment leaves coinbases out.
func perPayment(amount func(transaction) int64) func(*block, func(string, int64)) {
	return func(b *block, add func(string, int64)) {
		for _, tx := range b.transactions[1:] {
			add(none, amount(tx))
		}
	}
}

// perForm goes by the form of each output's script.
func perForm(amount func(output) int64) func(*block, func(string, int64)) {
	return func(b *block, add func(string, int64)) {
		for _, tx := range b.transactions {
			for _, out := range tx.outputs {
				add(fmt.Sprintf(`{"type":%q}`, out.form), amount(out))
			}
		}
	}
}

func one(*block) int64 { return 1 }

func height(b *block) int64 { return int64(b.height) }

// intervals leaves the genesis block out.
func intervals(b *block, add func(string, int64)) {
	if b.parent != nil {
		add(none, b.time-b.parent.time)
	}
}

func transactions(b *block) int64 { return int64(len(b.transactions)) }

// subsidy begins with 50 bitcoin and halves every 210,000 blocks.
func subsidy(b *block) int64 {
	reward := int64(50 * 100_000_000)
	for height := b.height; height >= halvesEvery; height -= halvesEvery {
		reward /= 2
	}
	return reward
}

func fees(b *block) int64 { return paid(b.transactions[0]) - subsidy(b) }

func paid(tx transaction) (value int64) {
	for _, out := range tx.outputs {
		value += out.value
	}
	return value
}

// addresses gives those that a block's transactions spend from and pay.
func addresses(b *block) (all []string) {
	add := func(out output) {
		if out.address != "" {
			all = append(all, out.address)
		}
	}
	for i, tx := range b.transactions {
		for _, in := range tx.inputs {
			if i > 0 {
				add(in.spent)
			}
		}
		for _, out := range tx.outputs {
			add(out)
		}
	}
	return all
}
