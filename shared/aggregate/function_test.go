package aggregate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const stream = "blockchain_events:test"

const transfers = `
name: transfers
type: counter
calculation_logic: {stream: {event_type: transfer, value: event.amount, dimensions: {to: event.to}}}
chains: [testchain]
bucket_sizes: [hourly, weekly, monthly]
`

const count = `
name: transfer_count
type: counter
calculation_logic: {stream: {event_type: transfer}}
aggregate: count
chains: [testchain]
bucket_sizes: [daily]
`

// TestAnyBatchingGivesTheSameBuckets cuts a stream into overlapping, repeated batches, given to two functions at once.
func TestAnyBatchingGivesTheSameBuckets(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	pipeline.Apply(t, store, "test.yaml", []byte(transfers+"---"+count))
	const entries = 400
	all := make([]events.Delivery, entries)
	for i := range all {
		all[i] = transfer(uint64(i+1), 1)
	}
	applyRaggedly(t, store, all, func() {})
	want := map[string]string{}
	for i := range entries {
		d := transfer(uint64(i+1), 1)
		want[bucket.Daily.Window(d.Time).Start.Format(time.DateOnly)] += "."
	}
	for day, marks := range want {
		want[day] = fmt.Sprint(len(marks))
	}
	if diff := cmp.Diff(want, values(t, store, "transfer_count", bucket.Daily)); diff != "" {
		t.Error(diff)
	}
	total := map[string]int{}
	for _, value := range rows(t, store, "transfers", bucket.Monthly) {
		n, _ := value.Value.Int64()
		total[value.Dimensions["to"]] += int(n)
	}
	if diff := cmp.Diff(map[string]int{"a": entries / 2, "b": entries / 2}, total); diff != "" {
		t.Error(diff)
	}
}

// applyRaggedly gives two functions at once all entries, in batches of any size that overlap and come again.
func applyRaggedly(t *testing.T, store *postgres.Store, all []events.Delivery, between func()) {
	t.Helper()
	var applying sync.WaitGroup
	for n := range 2 {
		function := aggregate.NewFunction(counter.Type{}, store)
		applying.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 1))
			for mark := (watermark.Mark{}); mark.ID.Minor < uint64(len(all)); between() {
				from := max(0, int(mark.ID.Minor)-random.IntN(20))
				reached, _, err := function.Apply(t.Context(), stream, all[from:min(len(all), from+1+random.IntN(40))])
				if err != nil && !errors.Is(err, watermark.ErrGap) {
					t.Error(err)
					return
				}
				mark = reached
			}
		})
	}
	applying.Wait()
}

// TestDefinitionsApplyFromOneEntryOn adds a metric while a function holds the definitions before it.
func TestDefinitionsApplyFromOneEntryOn(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	pipeline.Apply(t, store, "test.yaml", []byte(transfers))
	function := aggregate.NewFunction(counter.Type{}, store)
	apply(t, function, 2, transfer(1, 1), transfer(2, 1))
	pipeline.Apply(t, store, "test.yaml", []byte(count))
	apply(t, function, 1, transfer(2, 1), transfer(3, 1)) // overlaps what was applied under the old definitions
	want := map[string]string{"2024-01-01": "1"}
	if diff := cmp.Diff(want, values(t, store, "transfer_count", bucket.Daily)); diff != "" {
		t.Error(diff)
	}
	registered, err := store.Metric(t.Context(), "transfer_count")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]events.ID{stream: {Minor: 2}}, registered.Since); diff != "" {
		t.Error(diff)
	}
}

// TestTroublesAreRecorded applies, in one batch, an entry that cannot be read, an event that an expression fails on, one
// of a type that belongs to another stream, and a revert, among good ones.
func TestTroublesAreRecorded(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	pipeline.Apply(t, store, "test.yaml", []byte(transfers+"---"+count))
	function := aggregate.NewFunction(counter.Type{}, store)
	mint := delivery(1, "mint", map[string]any{})
	mint.Stream = "blockchain_events:other"
	if _, _, err := function.Apply(t.Context(), mint.Stream, []events.Delivery{mint}); err != nil {
		t.Fatal(err)
	}

	broken := transfer(2, 1)
	broken.Data = json.RawMessage(`{"type":`)
	failing := func(n uint64) events.Delivery {
		return delivery(n, "transfer", map[string]any{"amount": "much", "to": "a"})
	}
	revert := events.Delivery{
		Stream: stream, ID: events.ID{Major: 1}, Predecessor: events.ID{Minor: 5}, Type: events.TypeRevert, Hash: "r",
		Chain: "testchain", Appended: start, Data: json.RawMessage(`{"ancestor": "0-4", "number": 3, "hash": "` + hash(4) + `"}`),
	}
	apply(t, function, 6, failing(1), broken, failing(3), delivery(4, "mint", map[string]any{}), transfer(5, 8), revert)

	if diff := cmp.Diff(map[string]string{"2024-01-01": "3"}, values(t, store, "transfer_count", bucket.Daily)); diff != "" {
		t.Error(diff)
	}
	troubles, err := store.Troubles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if troubles.DeadLetters != 2 {
		t.Errorf("%d dead letters, want 2", troubles.DeadLetters)
	}
	trouble := postgres.MetricTrouble{
		Metric: "transfers", Stream: stream, Reason: "value: not a number", Count: 2, Sample: events.ID{Minor: 3},
	}
	seen := cmpopts.IgnoreFields(postgres.MetricTrouble{}, "FirstSeen", "LastSeen")
	if diff := cmp.Diff([]postgres.MetricTrouble{trouble}, troubles.MetricErrors, seen); diff != "" {
		t.Error(diff)
	}
	if len(troubles.PendingReverts) != 1 {
		t.Errorf("pending reverts %+v, want one", troubles.PendingReverts)
	}
}

// abandoned is a store whose caller goes away once the registry is read.
type abandoned struct {
	aggregate.Store
	leave     context.CancelFunc
	committed bool
}

func (s *abandoned) Registry(context.Context, string, string) (aggregate.Registry, error) {
	s.leave()
	return aggregate.Registry{Version: 1}, nil
}

func (s *abandoned) Commit(context.Context, aggregate.CommitRequest, func(aggregate.Current) (aggregate.Effects, error)) error {
	s.committed = true
	return nil
}

// TestNothingIsEvaluatedForNobody: a batch that nobody waits for any more does not keep the next one from its turn.
func TestNothingIsEvaluatedForNobody(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	store := &abandoned{leave: leave}
	function := aggregate.NewFunction(counter.Type{}, store)
	_, _, err := function.Apply(ctx, stream, []events.Delivery{transfer(1, 1)})
	if !errors.Is(err, context.Canceled) || store.committed {
		t.Errorf("got %v, committed: %t", err, store.committed)
	}
}

// TestDefinitionsOfOtherTypesStopTheStream: a function never computes with a definition that it does not understand.
func TestDefinitionsOfOtherTypesStopTheStream(t *testing.T) {
	t.Parallel()
	database := harness.Database(t)
	store := pipeline.Store(t, database)
	pipeline.Apply(t, store, "test.yaml", []byte(transfers+"---"+count))
	const newer = `update metric_registry set definition = definition || '{"aggregate": "median"}' where name = 'transfers'`
	if _, err := pipeline.Database(t, database).Exec(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	_, _, err := aggregate.NewFunction(counter.Type{}, store).Apply(t.Context(), stream, []events.Delivery{transfer(1, 1)})
	want := `compile metric transfers: aggregate: "median" is no aggregate of a counter: write one of sum, count, distinct`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

var start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// transfer is the n-th entry, one every three hours, to a and b in turn.
func transfer(n uint64, amount int) events.Delivery {
	return delivery(n, "transfer", map[string]any{"amount": amount, "to": string(rune('a' + n%2))})
}

func delivery(n uint64, eventType string, fields map[string]any) events.Delivery {
	at := start.Add(time.Duration(n) * 3 * time.Hour)
	fields["type"], fields["chain"], fields["timestamp"] = eventType, "testchain", at.Unix()
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return events.Delivery{
		Stream: stream, ID: events.ID{Minor: n}, Predecessor: events.ID{Minor: n - 1}, Type: events.TypeEvent, Hash: hash(n),
		Chain: "testchain", Time: at, Appended: at, Data: data,
	}
}

func hash(n uint64) string { return fmt.Sprintf("%064x", n) }

func apply(t *testing.T, function *aggregate.Function, want int, batch ...events.Delivery) {
	t.Helper()
	mark, applied, err := function.Apply(t.Context(), stream, batch)
	if err != nil {
		t.Fatal(err)
	}
	if last := batch[len(batch)-1]; applied != want || mark.ID != last.ID || mark.Hash != last.Hash {
		t.Fatalf("applied %d up to %+v, want %d up to %s", applied, mark, want, last.ID)
	}
}

func rows(t *testing.T, store *postgres.Store, name string, size bucket.Size) []postgres.BucketRow {
	t.Helper()
	found, err := store.Buckets(t.Context(), postgres.Query{Metric: name, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func values(t *testing.T, store *postgres.Store, name string, size bucket.Size) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, row := range rows(t, store, name, size) {
		found[row.Window.Start.Format(time.DateOnly)] = row.Value.String()
	}
	return found
}
