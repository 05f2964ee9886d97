package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// paymentMetrics measures the flat events of these tests.
const paymentMetrics = `
name: payments
type: counter
calculation_logic: {stream: {event_type: payment}}
aggregate: count
chains: [bitcoin]
bucket_sizes: [daily]
---
name: paid
type: counter
calculation_logic: {stream: {event_type: payment, value: event.amount, dimensions: {currency: event.currency}}}
chains: [bitcoin]
bucket_sizes: [hourly, weekly]
`

// service is the counter function as a process, with its database.
type service struct {
	*pipeline.Program
	url      string
	database *pgxpool.Pool
}

func startService(t *testing.T, environment map[string]string) service {
	t.Helper()
	database := harness.Database(t)
	pipeline.Apply(t, pipeline.Store(t, database), "payments.yaml", []byte(paymentMetrics))
	s := service{database: pipeline.Database(t, database)}
	s.Program, s.url = pipeline.Function(t, "counter", harness.Build(t, "functions/counter"), database, environment)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, s.url)
	return s
}

// payments gives the deliveries of n payments of a stream, each following the one before it.
func payments(stream string, n uint64) []events.Delivery {
	batch := make([]events.Delivery, 0, n)
	for i := range n {
		entry := events.Entry{ID: events.ID{Major: 1_700_000_000_000, Minor: i + 1}, Fields: []events.Field{
			{Name: events.FieldType, Value: "payment"},
			{Name: events.FieldChain, Value: "bitcoin"},
			{Name: events.FieldTimestamp, Value: "1699999999"},
			{Name: "amount", Value: "18446744073709551616"},
			{Name: "currency", Value: "XYZ"},
		}}
		var before events.ID
		if i > 0 {
			before = batch[i-1].ID
		}
		batch = append(batch, events.NewDelivery(stream, entry, before))
	}
	return batch
}

func cloudEvents(batch []events.Delivery) []event.Event {
	list := make([]event.Event, len(batch))
	for i, d := range batch {
		list[i] = d.CloudEvent()
	}
	return list
}

// answer is what the function has answered.
type answer struct {
	status    int
	watermark string
}

// post sends a request.
func post(t *testing.T, request *http.Request) answer {
	t.Helper()
	a, err := send(request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func send(request *http.Request) (answer, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode < http.StatusMultipleChoices && len(body) > 0 {
		err = fmt.Errorf("answer %d has a body, which Knative's trigger filter would turn into a retry: %q", response.StatusCode, body)
	}
	a := answer{status: response.StatusCode, watermark: response.Header.Get(receiver.HeaderWatermark)}
	return a, errors.Join(err, response.Body.Close())
}

// sendMeanwhile sends a request that takes its time.
func sendMeanwhile(t *testing.T, request *http.Request) <-chan answer {
	t.Helper()
	answered := make(chan answer, 1)
	var sending sync.WaitGroup
	sending.Go(func() {
		a, err := send(request)
		if err != nil {
			t.Error(err)
		}
		answered <- a
	})
	t.Cleanup(sending.Wait)
	return answered
}

func request(t *testing.T, url, contentType string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// modes are the ways in which HTTP carries CloudEvents.
var modes = map[string]func(t *testing.T, url string, batch []event.Event) []*http.Request{
	"binary": func(t *testing.T, url string, batch []event.Event) []*http.Request {
		t.Helper()
		return singly(t, binding.WithForceBinary, url, batch)
	},
	"structured": func(t *testing.T, url string, batch []event.Event) []*http.Request {
		t.Helper()
		return singly(t, binding.WithForceStructured, url, batch)
	},
	"batched": func(t *testing.T, url string, batch []event.Event) []*http.Request {
		t.Helper()
		r, err := cehttp.NewHTTPRequestFromEvents(t.Context(), url, batch)
		if err != nil {
			t.Fatal(err)
		}
		return []*http.Request{r}
	},
}

// singly makes a request of each event.
func singly(t *testing.T, mode func(context.Context) context.Context, url string, batch []event.Event) []*http.Request {
	t.Helper()
	requests := make([]*http.Request, len(batch))
	for i := range batch {
		requests[i] = request(t, url, "", nil)
		if err := cehttp.WriteRequest(mode(t.Context()), binding.ToMessage(&batch[i]), requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	return requests
}

func TestContentModes(t *testing.T) {
	t.Parallel()
	const n = 5
	for mode, requests := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			counter := startService(t, nil)
			batch := payments("blockchain_events", n)
			last := ""
			for range 2 { // the second time changes nothing
				for _, r := range requests(t, counter.url, cloudEvents(batch)) {
					got := post(t, r)
					if got.status != http.StatusNoContent {
						t.Fatalf("answer %d", got.status)
					}
					last = got.watermark
				}
			}
			if want := batch[n-1].ID.String(); last != want {
				t.Errorf("watermark %s, want %s", last, want)
			}
			counter.expect(t, paymentBuckets(n))
		})
	}
}

// paymentBuckets gives what n payments lead to: sums beyond 64 bits.
func paymentBuckets(n int64) map[string]string {
	sum := new(big.Int).Lsh(big.NewInt(n), 64).String()
	return map[string]string{
		"payments daily {}":               strconv.FormatInt(n, 10),
		`paid hourly {"currency": "XYZ"}`: sum,
		`paid weekly {"currency": "XYZ"}`: sum,
	}
}

// expect compares all buckets with values by metric, size and dimensions.
func (s service) expect(t *testing.T, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	const query = `select metric || ' ' || bucket_size || ' ' || dimensions::text, value::text from metric_buckets`
	rows, err := s.database.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	var key, value string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { got[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	counter := startService(t, map[string]string{"MAX_BODY_BYTES": "20000"})
	const structured, batched = event.ApplicationCloudEventsJSON, event.ApplicationCloudEventsBatchJSON
	encode := func(value any) []byte {
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	good := cloudEvents(payments("blockchain_events", 3))
	with := func(change func(*event.Event)) []byte {
		changed := good[0].Clone()
		change(&changed)
		return encode(changed)
	}
	cases := map[string]struct {
		contentType string
		body        []byte
		want        int
	}{
		"no CloudEvent":       {"application/json", []byte(`{"hello": "world"}`), http.StatusBadRequest},
		"no content":          {"", nil, http.StatusBadRequest},
		"broken JSON":         {structured, []byte(`{"specversion": "1.0", "id":`), http.StatusBadRequest},
		"broken batch":        {batched, []byte(`[{"specversion": "1.0"`), http.StatusBadRequest},
		"batch of no events":  {batched, []byte(`[]`), http.StatusBadRequest},
		"batch that is none":  {batched, []byte(`{}`), http.StatusBadRequest},
		"avro":                {"application/cloudevents+avro", encode(good[0]), http.StatusBadRequest},
		"future version":      {structured, bytes.Replace(encode(good[0]), []byte(`"1.0"`), []byte(`"9.9"`), 1), http.StatusBadRequest},
		"other type":          {structured, with(func(ce *event.Event) { ce.SetType("com.example.other") }), http.StatusBadRequest},
		"ping":                {structured, with(func(ce *event.Event) { ce.SetType("dev.knative.sources.ping") }), http.StatusBadRequest},
		"without sequence":    {structured, with(func(ce *event.Event) { ce.SetExtension(events.ExtensionSequence, nil) }), http.StatusBadRequest},
		"without predecessor": {structured, with(func(ce *event.Event) { ce.SetExtension(events.ExtensionPredecessor, nil) }), http.StatusBadRequest},
		"break in the batch":  {batched, encode([]event.Event{good[0], good[2]}), http.StatusBadRequest},
		"two streams":         {batched, encode(append(cloudEvents(payments("a", 1)), cloudEvents(payments("b", 2))[1])), http.StatusBadRequest},
		"gap":                 {batched, encode(good[1:]), http.StatusConflict},
		"body over the limit": {batched, encode(cloudEvents(payments("blockchain_events", 100))), http.StatusRequestEntityTooLarge},
		"huge single event":   {structured, append(bytes.Repeat([]byte(" "), 30_000), encode(good[0])...), http.StatusRequestEntityTooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := post(t, request(t, counter.url, c.contentType, c.body)); got.status != c.want {
				t.Errorf("answer %d, want %d", got.status, c.want)
			}
		})
	}
	t.Cleanup(func() {
		if counter.Ended() {
			t.Error("the function did not survive")
		}
	})
}

func TestRefusedBatchLeavesNothing(t *testing.T) {
	t.Parallel()
	counter := startService(t, nil)
	batch := cloudEvents(payments("blockchain_events", 3))
	batch[2].SetType("com.example.other")
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	if got := post(t, request(t, counter.url, event.ApplicationCloudEventsBatchJSON, body)); got.status != http.StatusBadRequest {
		t.Errorf("answer %d, want 400", got.status)
	}
	counter.expect(t, map[string]string{})
}

// lock takes the lock that the function needs for every batch.
func (s service) lock(t *testing.T) pgx.Tx {
	t.Helper()
	tx, err := s.database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select from stream_watermarks for update"); err != nil {
		t.Fatal(err)
	}
	return tx
}

// awaitLock waits until a transaction of the function waits for a lock.
func (s service) awaitLock(t *testing.T) {
	t.Helper()
	pipeline.Eventually(t, 10*time.Second, "a request waits for the lock", func() bool {
		var waiting bool
		const query = `select exists (select from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock')`
		return s.database.QueryRow(t.Context(), query).Scan(&waiting) == nil && waiting
	})
}

// TestDrain holds a request in the function by the lock that it needs.
func TestDrain(t *testing.T) {
	t.Parallel()
	counter := startService(t, nil)
	all := payments("blockchain_events", 4)
	for _, r := range modes["batched"](t, counter.url, cloudEvents(all[:1])) {
		post(t, r)
	}
	tx := counter.lock(t)
	answered := sendMeanwhile(t, modes["batched"](t, counter.url, cloudEvents(all[1:]))[0])
	counter.awaitLock(t)
	if err := counter.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	pipeline.Eventually(t, 10*time.Second, "new requests are refused", func() bool {
		response, err := http.Get(counter.url + "/healthz") //nolint:noctx // at most as long as the test
		if err == nil {
			_ = response.Body.Close()
		}
		return err != nil
	})
	select {
	case got := <-answered:
		t.Fatalf("answer %d before the lock was free", got.status)
	default:
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.status != http.StatusNoContent {
		t.Errorf("answer %d to the request that was in flight, want 204", got.status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := counter.Wait(ctx); err != nil {
		t.Error(err)
	}
	if mark := pipeline.Watermark(t, counter.database, "counter", "blockchain_events"); mark != all[3].ID {
		t.Errorf("watermark %s, want %s", mark, all[3].ID)
	}
}

var alone = flag.Bool("alone", false, "limit the time on the clock too: nothing else runs on the machine")

// TestReadyAtOnce takes the best of some starts. What passes on the clock depends on what else the machine does, such as
// other tests: scripts/test runs this one by itself too.
func TestReadyAtOnce(t *testing.T) {
	t.Parallel()
	counter := startService(t, nil)
	if err := counter.Kill(); err != nil {
		t.Fatal(err)
	}
	passed, worked := time.Hour, time.Hour
	for range 20 {
		begin := time.Now()
		if err := counter.Start(); err != nil {
			t.Fatal(err)
		}
		pipeline.AwaitReady(t, counter.url)
		passed = min(passed, time.Since(begin))
		if err := counter.Kill(); err != nil {
			t.Fatal(err)
		}
		worked = min(worked, counter.Worked())
	}
	t.Logf("ready %s after the start of the process, %s of processor time", passed.Round(time.Millisecond), worked)
	const limit = 100 * time.Millisecond
	if worked > limit || *alone && passed > limit {
		t.Errorf("ready after %s, %s of processor time, want %s", passed, worked, limit)
	}
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"PORT": "http", "POSTGRES_URL": "postgres://alice:s3cret@host:port/db", "POSTGRES_POOL_SIZE": "0",
		"MAX_BODY_BYTES": "much", "DELIVERY_TIMEOUT": "soon", "LOG_FORMAT": "xml", "LOG_LEVEL": "loud",
	}
	counter := pipeline.NewProgram(t, "counter", harness.Build(t, "functions/counter"), wrong)
	if err := counter.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := counter.Wait(ctx); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("ended with %v, want exit status 1", err)
	}
	log, err := counter.Log()
	if err != nil {
		t.Fatal(err)
	}
	for name := range wrong {
		if !strings.Contains(log, name) {
			t.Errorf("%s is not named in:\n%s", name, log)
		}
	}
	for _, secret := range []string{"s3cret", "alice"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is shown in:\n%s", secret, log)
		}
	}
}
