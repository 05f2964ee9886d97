package aggregate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// blockOfPayments is the n-th entry of a feed: a block every eight hours with payments that lack some of their fields.
func blockOfPayments(n uint64) events.Delivery {
	id, at := events.ID{Minor: n}, start.Add(time.Duration(n)*8*time.Hour)
	payment := func(more string) any {
		return json.RawMessage(fmt.Sprintf(`{"type": "payment", "amount": %d.000000000000000001, "to": "a", "a1": 1, "a2": 2, "a3": 3,
			"a4": 4, "a5": 5, "a6": 6, "a7": 7, "a8": 8, "outputs": [{"kind": "x", "value": %d}, {"kind": "y", "value": 1e30}]%s}`,
			n, n, more))
	}
	entry, err := events.NewBlockEntry(id, events.Block{
		Chain: "testchain", Number: n - 1, Hash: hash(n), ParentHash: hash(n - 1), Time: at,
		Fields: map[string]any{
			"number": n - 1, "hash": hash(n), "timestamp": at.Unix(), "type": "block", "reward": n, "miner": fmt.Sprint("m", n%3),
		},
		Events: []any{
			payment(""), payment(`, "text": "x\u0000y", "fee": 7`),
			payment(`, "text": "xy", "odd\u0000name": 5, "odd\ufffdname": 6, "fee": null`),
			payment(`, "chain": "testchain", "odd\ufffdname": 6, "fee": 12345678901234567890.5`),
		},
	}, at)
	if err != nil {
		panic(err)
	}
	return events.NewDelivery(stream, entry, events.ID{Minor: n - 1})
}

// TestRebuildsReadWhatExpressionsLookAt: of the events in the archive only some fields are read, and the buckets are those of the
// stream, which has all.
func TestRebuildsReadWhatExpressionsLookAt(t *testing.T) {
	t.Parallel()
	calculations := []struct{ calculation, aggregate, first string }{ // what they give for the first window
		{`value: 2`, "sum", "16"},
		{`value: event.amount`, "sum", "12.000000000000000008"},
		{`where: has(event.text)`, "sum", "4"},
		{`value: event.fee`, "sum", "24691357802469135795"}, // where it is a number
		{`value: 'event.fee == null ? 1 : 100'`, "sum", "402"},
		{`where: '!has(event.fee)'`, "sum", "2"},
		{`value: 'has(event.type) || has(event.chain) || has(block.type) ? 1 : 2'`, "sum", "16"},
		{`value: 'event.text == "x\u0000y" ? 10 : 1'`, "sum", "22"},
		{`value: 'event["odd\u0000name"]'`, "sum", "10"},
		{`value: 'event["odd\ufffdname"]'`, "sum", "24"},
		{`value: size(event)`, "sum", "104"},
		{`value: event.a1 + event.a2 + event.a3 + event.a4 + event.a5 + event.a6 + event.a7 + event.a8`, "sum", "288"},
		{`value: event.a1 + event.a2 + event.a3 + event.a4 + event.a5 + event.a6 + event.a7 + event.a8 +
      event.amount`, "sum", "300.000000000000000008"},
		{`each: event.outputs
    value: it.value * event.a2`, "sum", "16000000000000000000000000000024"},
		{`value: block.reward`, "sum", "12"},
		{`value: block["reward"] + event.a1`, "sum", "20"},
		{`value: 'size(block) > 4 ? 1 : 2'`, "sum", "8"},
		{`value: event.outputs.map(o, o.kind + block.miner)`, "distinct", "4"},
	}
	var text strings.Builder
	for i, c := range calculations {
		fmt.Fprintf(&text, `
---
name: m%d
type: counter
aggregate: %s
chains: [testchain]
bucket_sizes: [daily]
calculation_logic:
  stream:
    event_type: payment
    %s
`, i, c.aggregate, c.calculation)
	}
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	feed := postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "testchain"}
	if err := store.RegisterStream(t.Context(), feed); err != nil {
		t.Fatal(err)
	}
	pipeline.Apply(t, store, "test.yaml", []byte(strings.TrimPrefix(text.String(), "\n---")))
	all := make([]events.Delivery, 40)
	for i := range all {
		all[i] = blockOfPayments(uint64(i) + 1)
	}
	applyAll(t, all, appliers(store)...)
	before := stored(t, database)
	for i, c := range calculations {
		if got := rows(t, store, fmt.Sprint("m", i), bucket.Daily)[0].Value.String(); got != c.first {
			t.Errorf("%s gives %s, want %s", c.calculation, got, c.first)
		}
	}
	for span := range spans(t, store) {
		outcome, err := aggregate.RebuildSpan(t.Context(), functions.Types[0], store, span)
		if err != nil {
			t.Fatal(err)
		}
		if len(outcome.Changes) > 0 {
			t.Errorf("metric %d: %d buckets were not the states of their events", span.Metric, len(outcome.Changes))
		}
	}
	if diff := cmp.Diff(before, stored(t, database)); diff != "" {
		t.Error(diff)
	}
}
