package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/functions/histogram/histogram"
	"github.com/chainmetrics/chainmetrics/functions/scheduler/scheduler"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/binding"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	stream  = "blockchain_events:testchain"
	metrics = `
name: gas
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: large_gas
type: counter
complexity: large
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [daily]
`
)

var genesis = time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)

// chain is blocks from a height to another, one every half hour.
func chain(epoch, from, to uint64, predecessor events.ID) (all []events.Delivery) {
	for height := from; height < to; height++ {
		at := genesis.Add(time.Duration(height) * 30 * time.Minute)
		hash := fmt.Sprintf("h%d-%d", epoch, height)
		entry, err := events.NewBlockEntry(events.ID{Major: epoch, Minor: height + 1}, events.Block{
			Chain: "testchain", Number: height, Hash: hash, ParentHash: "p", Time: at,
			Fields: map[string]any{"number": height, "hash": hash, "timestamp": at.Unix(), "gas_used": height},
		}, at)
		if err != nil {
			panic(err)
		}
		all = append(all, events.NewDelivery(stream, entry, predecessor))
		predecessor = all[len(all)-1].ID
	}
	return all
}

// broker takes events as an answer says, and checks each against its schema.
type broker struct {
	t      *testing.T
	schema map[string]*jsonschema.Schema
	url    string

	mu     sync.Mutex
	answer func(event.Event) int // nil: 202
	taken  []event.Event
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, schema: map[string]*jsonschema.Schema{}}
	for _, ceType := range events.Types() {
		text := events.Schema(ceType)
		if text == nil {
			continue
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource(ceType, document); err != nil {
			t.Fatal(err)
		}
		b.schema[ceType] = compiler.MustCompile(ceType)
	}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		b.t.Errorf("no CloudEvent has come: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	data, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data()))
	if err == nil {
		err = b.schema[e.Type()].Validate(data)
	}
	if err := errors.Join(err, e.Validate()); err != nil || r.Header.Get("ce-type") == "" {
		b.t.Errorf("%s: %v", e, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	status := http.StatusAccepted
	if b.answer != nil {
		status = b.answer(*e)
	}
	if status == http.StatusAccepted {
		b.taken = append(b.taken, *e)
	}
	w.WriteHeader(status)
}

func (b *broker) answers(answer func(event.Event) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// drain gives what has been taken, and forgets it: requests by what they ask for, notices by their ids.
func (b *broker) drain() (requests, notices []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.taken {
		if e.Type() == events.TypeRunRequested {
			requests = append(requests, fmt.Sprint(e.Subject(), " ", e.Extensions()["metrictype"], " ", e.Extensions()["complexity"]))
		} else {
			notices = append(notices, e.ID())
		}
	}
	b.taken = nil
	slices.Sort(requests)
	slices.Sort(notices)
	return requests, notices
}

// world is a scheduler with a function and the archive over a database.
type world struct {
	store     *postgres.Store
	database  *pgxpool.Pool
	function  *runner.Function
	archive   *archive.Function
	broker    *broker
	scheduler *scheduler.Function
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := harness.Database(t)
	w := &world{store: pipeline.Store(t, url), database: pipeline.Database(t, url), broker: newBroker(t)}
	pipeline.Apply(t, w.store, "test.yaml", []byte(metrics))
	w.execute(t, "delete from outbox")
	w.function = runner.NewFunction(counter.Type{}, w.store)
	w.archive = archive.NewFunction(archive.Config{}, w.store)
	w.scheduler = w.over(t, w.store)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	return w
}

// over makes a scheduler over a store.
func (w *world) over(t *testing.T, store scheduler.Store) *scheduler.Function {
	t.Helper()
	to, err := scheduler.NewBroker(binding.Config{Sink: w.broker.url, Overrides: `{"extensions":{"team":"data"}}`})
	if err != nil {
		t.Fatal(err)
	}
	return scheduler.NewFunction(store, to)
}

func (w *world) apply(t *testing.T, batch []events.Delivery) {
	t.Helper()
	if _, _, err := w.archive.Apply(t.Context(), stream, batch); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.function.Apply(t.Context(), stream, batch); err != nil {
		t.Fatal(err)
	}
}

var now = genesis.AddDate(1, 0, 0)

func (w *world) sweep(t *testing.T) {
	t.Helper()
	if err := w.scheduler.Tick(t.Context(), events.Tick{Function: "scheduler"}, now); err != nil {
		t.Fatal(err)
	}
}

// run carries out what is queued of a size and complexity.
func (w *world) run(t *testing.T, size, complexity string) {
	t.Helper()
	tick := events.Tick{Function: "counter", BucketSize: size, Complexity: complexity}
	if err := w.function.Tick(t.Context(), tick, now); err != nil {
		t.Fatal(err)
	}
}

func (w *world) execute(t *testing.T, statement string) {
	t.Helper()
	if _, err := w.database.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func (w *world) expect(t *testing.T, query, want string) {
	t.Helper()
	var got string
	if err := w.database.QueryRow(t.Context(), "select coalesce(("+query+")::text, '')").Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
	}
}

// asked sweeps, and compares what is asked for.
func (w *world) asked(t *testing.T, want ...string) {
	t.Helper()
	w.sweep(t)
	got, _ := w.broker.drain()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("asked for (-want +got)\n%s", diff)
	}
}

// TestSweepAsksForWork of every kind, once, until somebody has heard or long enough has passed.
func TestSweepAsksForWork(t *testing.T) {
	t.Parallel()
	const daily, hourly, large = "gas/daily counter small", "gas/hourly counter small", "large_gas/daily counter large"
	w := newWorld(t)
	w.broker.answers(func(e event.Event) int { // its requests come again with the next sweep
		if e.Extensions()["bucketsize"] == "hourly" {
			return http.StatusServiceUnavailable
		}
		return http.StatusAccepted
	})
	w.asked(t, daily, large)
	w.broker.answers(nil)
	w.asked(t, hourly)
	w.asked(t)
	w.execute(t, "update run_requests set asked_at = asked_at - interval '6 min' where metric_id = 2")
	w.asked(t, large)
	w.run(t, "daily", "small")
	w.run(t, "hourly", "small")
	w.asked(t)

	// One that another has begun, or has been faster with, needs nobody.
	w.execute(t, `insert into runs (metric_id, bucket_size, bucket_start, chain, reason)
		select metric_id, bucket_size, bucket_start, chain, 'due' from runs where metric_id = 1 and bucket_size = 'daily' limit 1`)
	w.execute(t, `insert into runs (metric_id, bucket_size, bucket_start, chain, reason, state, lease)
		select metric_id, bucket_size, bucket_start, chain, 'due', 'running', 7 from runs where state = 'queued' and metric_id = 1`)
	w.asked(t)
	w.execute(t, "delete from runs where state = 'running'")
	w.asked(t, daily)
	w.execute(t, "delete from runs where state = 'queued' and metric_id = 1")
	tick := events.Tick{Function: "counter", Metric: "gas", BucketSize: "daily", Complexity: "small"}
	if err := w.function.Tick(t.Context(), tick, now); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select count(*) from run_requests where metric_id = 1", "0")

	// A run whose process has died.
	w.execute(t, `update runs set state = 'running', lease = 1, lease_until = now() - interval '1 s'
		where run_id = (select max(run_id) from runs where metric_id = 1 and bucket_size = 'hourly')`)
	w.asked(t)
	w.execute(t, "update runs set not_before = now() where state = 'queued'")
	w.asked(t, hourly)
	w.run(t, "hourly", "small")

	// A reorganisation.
	revert := events.Revert{Ancestor: events.ID{Minor: 91}, Number: 90, Hash: "h0-90"}
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain", revert, genesis.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, []events.Delivery{events.NewDelivery(stream, entry, events.ID{Minor: 100})})
	w.apply(t, chain(1, 91, 92, events.ID{Major: 1}))
	w.asked(t, daily, hourly)
	w.run(t, "daily", "large")
	w.run(t, "daily", "small")
	w.run(t, "hourly", "small")
	w.asked(t)
	w.expect(t, "select string_agg(distinct state, ', ') from runs", "succeeded")
}

// TestSweepRefusesOtherTicks.
func TestSweepRefusesOtherTicks(t *testing.T) {
	t.Parallel()
	f := scheduler.NewFunction(nil, nil)
	if err := f.Tick(t.Context(), events.Tick{Function: "archive"}, now); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("the archive's tick: %v", err)
	}
}

// ids gives the ids of all notices, in the order of texts.
func (w *world) ids(t *testing.T) (all []string) {
	t.Helper()
	const query = `select coalesce(array_agg(outbox_id::text order by outbox_id::text collate "C"), '{}') from outbox`
	if err := w.database.QueryRow(t.Context(), query).Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// dying is a store whose process is killed before it notes how sending went.
type dying struct{ *postgres.Store }

var errKilled = errors.New("killed")

func (dying) SettleNotices(context.Context, []postgres.Settlement) error { return errKilled }

// TestNoticesAreSentAtLeastOnce, under one id, also where a sweep is killed after sending.
func TestNoticesAreSentAtLeastOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "daily", "")
	w.run(t, "hourly", "")
	w.expect(t, `select count(*) || ' ' || count(distinct (metric, bucket_size, bucket_start, chain)) from outbox`, "53 53")
	w.expect(t, "select count(*) from windows where final", "53")
	all := w.ids(t)
	tick := events.Tick{Function: "scheduler"}
	if err := w.over(t, dying{w.store}).Tick(t.Context(), tick, now); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	taken := func() []string {
		_, notices := w.broker.drain()
		return notices
	}
	if diff := cmp.Diff(all, taken()); diff != "" {
		t.Errorf("sent (-all +taken)\n%s", diff)
	}
	w.sweep(t)
	if got := taken(); got != nil {
		t.Errorf("while they are leased %q are sent", got)
	}
	w.execute(t, "update outbox set leased_until = now() - interval '1 s'")
	w.sweep(t)
	if diff := cmp.Diff(all, taken()); diff != "" {
		t.Errorf("sent again (-all +taken)\n%s", diff)
	}
	w.execute(t, "update outbox set leased_until = now() - interval '1 s'")
	w.sweep(t)
	if got := taken(); got != nil {
		t.Errorf("once sent %q are sent again", got)
	}
	w.execute(t, "update outbox set sent_at = timestamptz '2025-01-24 00:00:00Z' where bucket_size = 'daily'") // now is the 31st
	w.sweep(t)
	w.expect(t, "select count(*) from outbox", "53")
	w.execute(t, "update outbox set sent_at = sent_at - interval '1 s' where bucket_size = 'daily'")
	w.sweep(t)
	w.expect(t, "select count(*) from outbox", "49")
}

// TestTwoSchedulersShareTheWork: nothing is sent twice.
func TestTwoSchedulersShareTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "hourly", "")
	for range 6 {
		w.execute(t, `insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
			select type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details from outbox`)
	}
	var sweeps sync.WaitGroup
	for range 3 {
		other := w.over(t, w.store)
		sweeps.Go(func() {
			if err := other.Tick(t.Context(), events.Tick{Function: "scheduler"}, now); err != nil {
				t.Error(err)
			}
		})
	}
	sweeps.Wait()
	requests, notices := w.broker.drain()
	if diff := cmp.Diff([]string{"gas/daily counter small", "large_gas/daily counter large"}, requests); diff != "" {
		t.Errorf("asked for (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(w.ids(t), notices); diff != "" {
		t.Errorf("sent (-all +taken)\n%s", diff)
	}
}

// TestWhatIsRefusedBlocksNothing: it is tried five times, what fails for another reason for ever.
func TestWhatIsRefusedBlocksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "hourly", "")
	all := w.ids(t)
	formless := all[5]
	w.execute(t, "update outbox set type = 'dev.chainmetrics.run.started.v1' where outbox_id = "+formless)
	statuses := map[string]int{
		all[0]: http.StatusBadRequest, all[1]: http.StatusServiceUnavailable, all[2]: http.StatusNotFound, all[3]: http.StatusTooManyRequests,
		all[4]: http.StatusMovedPermanently,
	}
	w.broker.answers(func(e event.Event) int {
		if status, bad := statuses[e.ID()]; bad {
			return status
		}
		return http.StatusAccepted
	})
	for range 7 {
		w.sweep(t)
		w.execute(t, "update outbox set leased_until = now() - interval '1 s'")
	}
	if _, notices := w.broker.drain(); len(notices) != len(all)-6 {
		t.Errorf("%d of %d are sent", len(notices), len(all))
	}
	w.expect(t, "select string_agg(refusals || ' ' || error, '; ' order by error, outbox_id) from outbox where sent_at is null",
		strings.Join([]string{
			`0 answered 404: ""`, `0 answered 429: ""`, `0 answered 503: ""`,
			"5 notice " + formless + `: invalid event: type "dev.chainmetrics.run.started.v1" is none of a notice`,
			`5 refused: answered 301: ""`, `5 refused: answered 400: ""`,
		}, "; "))
	w.broker.answers(nil)
	w.sweep(t)
	if _, notices := w.broker.drain(); len(notices) != 3 {
		t.Errorf("when the Broker takes all, %q are sent", notices)
	}
}

// TestBrokerIsNeeded: without one the program ends at once.
func TestBrokerIsNeeded(t *testing.T) {
	t.Parallel()
	cfg := binding.Config{}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "K_SINK is no http or https URL") {
		t.Errorf("without K_SINK: %v", err)
	}
}

// TestSweepResolvesWhatHasNoMetrics: a function without metrics follows the streams as well, and notes reorganisations.
func TestSweepResolvesWhatHasNoMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	without := runner.NewFunction(histogram.Type{}, w.store)
	if _, _, err := without.Apply(t.Context(), stream, chain(0, 0, 100, events.ID{})); err != nil {
		t.Fatal(err)
	}
	w.execute(t, `insert into pending_reverts (function, stream, entry_id, ancestor_id, ancestor_number, ancestor_hash)
		values ('histogram', '`+stream+`', '0-50', '0-40', 39, 'h0-39')`)
	w.sweep(t)
	w.expect(t, "select count(*) from pending_reverts", "0")
}

// TestWhatDoesNotGetThroughHoldsNothingUp: more notices than are claimed at a time fail again and again.
func TestWhatDoesNotGetThroughHoldsNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute(t, `insert into outbox (type, metric, metric_type, complexity, details, error)
		select 'dev.chainmetrics.metric.changed.v1', 'gas', 'counter', 'small', '{"change": "updated", "version": 1}', 'not now'
		from generate_series(1, 600)`)
	w.execute(t, `insert into outbox (type, metric, metric_type, complexity, details)
		values ('dev.chainmetrics.metric.changed.v1', 'large_gas', 'counter', 'large', '{"change": "updated", "version": 1}')`)
	w.broker.answer = func(e event.Event) int {
		if e.Extensions()["metric"] == "gas" {
			return http.StatusServiceUnavailable
		}
		return http.StatusAccepted
	}
	w.sweep(t)
	w.expect(t, "select string_agg(metric, ', ') from outbox where sent_at is not null", "large_gas")
}

// TestWhatOthersActOnIsSentFirst, however many windows have become final before, also where it could not be sent before; of those some
// come with every claim.
func TestWhatOthersActOnIsSentFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "hourly", "")
	w.execute(t, `insert into outbox (type, metric, metric_type, complexity, details, error)
		select 'dev.chainmetrics.metric.changed.v1', 'gas', 'counter', 'small', '{"change": "updated"}', e
		from (values (null), ('no answer')) as e (e), generate_series(1, 4)`)
	claimed := func(most int) string {
		t.Helper()
		notices, err := w.store.ClaimNotices(t.Context(), most, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, n := range notices {
			text.WriteString(strings.TrimPrefix(n.Type, "dev.chainmetrics.")[:1])
		}
		return text.String()
	}
	for i, want := range []string{"mmmmb", "mmmmbbbbbb", "bbbbb"} {
		if got := claimed([]int{4, 10, 5}[i]); got != want {
			t.Errorf("claim %d has %s, want %s: metric.changed before bucket.finalized", i, got, want)
		}
	}
	w.expect(t, "select count(*) from outbox where leased_until < now()", "37")
}
