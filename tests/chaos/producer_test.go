package chaos_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// mostAhead is how many events a producer appends beyond what is applied, so that the load lasts.
const mostAhead = 600

// producer appends the blocks of a chain to an open stream, as flat events with ids that Redis makes, and somewhat out of
// order.
type producer struct {
	redis  *redis.Client
	events [][]any // fields of each

	mu  sync.Mutex
	ids []events.ID // of those that were appended
}

// newProducer reads the chain. Blocks of the same second keep their order, in which the last one counts.
func newProducer(t *testing.T, client *redis.Client, file string, dice *dice) *producer {
	t.Helper()
	blocks := pipeline.Blocks(t, file)
	for range 5 * len(blocks) {
		if i := dice.below(len(blocks) - 1); blocks[i].Timestamp != blocks[i+1].Timestamp {
			blocks[i], blocks[i+1] = blocks[i+1], blocks[i]
		}
	}
	p := &producer{redis: client}
	for _, block := range blocks {
		p.events = append(p.events, fieldsOf(t, block))
	}
	return p
}

// fieldsOf gives names and values, in which what is no text is JSON.
func fieldsOf(t *testing.T, block *bitcoin.Block) []any {
	t.Helper()
	text, err := json.Marshal(block.Event().Fields)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	values["type"], values["chain"] = json.RawMessage("block"), json.RawMessage("bitcoin")
	var fields []any
	for name, value := range values {
		fields = append(fields, name, strings.Trim(string(value), `"`))
	}
	return fields
}

// run appends, as far as the function follows. It ends early with ctx.
func (p *producer) run(ctx context.Context, t *testing.T, stream string, applied func() uint64) {
	t.Helper()
	for n, fields := range p.events {
		for uint64(n) >= applied()+mostAhead {
			if !sleep(ctx, 5*time.Millisecond) {
				return
			}
		}
		text, err := p.redis.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: fields}).Result()
		if err != nil {
			t.Errorf("append event %d: %v", n, err)
			return
		}
		id, err := events.ParseID(text)
		if err != nil {
			t.Errorf("append event %d: %v", n, err)
			return
		}
		p.mu.Lock()
		p.ids = append(p.ids, id)
		p.mu.Unlock()
	}
}

// position gives how many events lie up to an id.
func (p *producer) position(id events.ID) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, found := slices.BinarySearchFunc(p.ids, id, events.ID.Compare)
	if found {
		n++
	}
	return uint64(n)
}

// register makes the stream an open one.
func (p *producer) register(ctx context.Context, t *testing.T, store *postgres.Store, stream string) {
	t.Helper()
	if err := store.RegisterStream(ctx, postgres.Stream{Name: stream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	if err := p.redis.SAdd(ctx, "chainmetrics:streams", stream).Err(); err != nil {
		t.Fatal(err)
	}
}

// ofBlocksAlone are the metrics that flat events of blocks suffice for: they look at no transaction, and at no block that
// their event is in.
func ofBlocksAlone(definitions []metric.Definition) map[string]bool {
	names := map[string]bool{}
	for _, d := range definitions {
		if s := d.Calculation.Stream; s.EventType == "block" && s.Each == "" && s.Time == "" {
			names[d.Name] = true
		}
	}
	return names
}

// only keeps the buckets of some metrics.
func only(expected map[oracle.Key]oracle.Value, names map[string]bool) map[oracle.Key]oracle.Value {
	kept := map[oracle.Key]oracle.Value{}
	for key, value := range expected {
		if names[key.Metric] {
			kept[key] = value
		}
	}
	return kept
}
