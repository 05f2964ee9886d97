package chaos_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// newcomer is a metric that is applied in the middle of a load. It counts exactly the blocks after the entry that
// applying it names.
type newcomer struct {
	kind    string // its metric type
	store   *postgres.Store
	applied func() uint64 // blocks that the function has answered for
	since   events.ID
}

const newcomerDefinition = `
name: newcomer
type: %s
calculation_logic: {stream: {event_type: block%s}}
chains: [bitcoin]
bucket_sizes: [monthly]
`

// run applies the metric once the function has come to a height.
func (n *newcomer) run(ctx context.Context, t *testing.T, height uint64) {
	t.Helper()
	value := ", value: event.number"
	if n.kind == "counter" {
		value = "" // which counts 1 for each block
	}
	text := fmt.Sprintf(newcomerDefinition, n.kind, value)
	definitions, err := metric.Parse("newcomer.yaml", []byte(text), functions.Definitions())
	if err != nil {
		t.Error(err)
		return
	}
	for n.applied() < height {
		if !sleep(ctx, 5*time.Millisecond) {
			return
		}
	}
	applied, err := n.store.ApplyMetrics(ctx, definitions)
	if err != nil {
		t.Error(err)
		return
	}
	n.since = applied[0].Since[pipeline.Stream]
	t.Logf("a new metric counts from %s on", n.since)
}

// differences compares the metric with the blocks after the entry that it counts from, then deletes it.
func (n *newcomer) differences(
	t *testing.T, database *pgxpool.Pool, blocks uint64, position func(events.ID) uint64,
) string {
	t.Helper()
	if n.since.IsZero() {
		return "the new metric was not applied\n"
	}
	var counted uint64
	const query = `select coalesce(sum(coalesce((value_json ->> 'count')::numeric, value)), 0)::bigint
		from metric_buckets where metric = 'newcomer'`
	if err := database.QueryRow(t.Context(), query).Scan(&counted); err != nil {
		t.Fatal(err)
	}
	if _, err := n.store.DeleteMetric(t.Context(), "newcomer"); err != nil {
		t.Error(err)
	}
	if want := blocks - position(n.since); counted != want {
		return fmt.Sprintf("the new metric has %d blocks, want the %d after %s\n", counted, want, n.since)
	}
	return ""
}
