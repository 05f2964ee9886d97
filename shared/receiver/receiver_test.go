package receiver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const stream = "blockchain_events:test"

// serve gives the URL of the counter over a store.
func serve(t *testing.T, store *postgres.Store) string {
	t.Helper()
	cfg := receiver.Config{MaxBodyBytes: 1 << 20, DeliveryTimeout: time.Minute}
	server := httptest.NewServer(receiver.Handler(cfg, runner.NewFunction(counter.Type{}, store)))
	t.Cleanup(server.Close)
	return server.URL
}

// counted gives the URL of the counter over a fresh database, and the URL of the database.
func counted(t *testing.T) (address, database string) {
	t.Helper()
	database = harness.Database(t)
	return serve(t, pipeline.Store(t, database)), database
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, method, url string, header map[string]string, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// want checks an answer: its status, and a part of its body, which is all of it where it is to be empty.
func (a answer) want(t *testing.T, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) || text == "" && a.body != "" {
		t.Errorf("answer is %d %q, want %d %q", a.status, a.body, status, text)
	}
}

// entry is the n-th delivery of the stream.
func entry(n uint64) events.Delivery {
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	return events.Delivery{
		Stream: stream, ID: events.ID{Minor: n}, Predecessor: events.ID{Minor: n - 1}, Type: events.TypeEvent,
		Hash: fmt.Sprintf("%064x", n), Chain: "testchain", Time: at, Appended: at,
		Data: fmt.Appendf(nil, `{"type":"transfer","chain":"testchain","timestamp":%d}`, at.Unix()),
	}
}

func marshal(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	structured = map[string]string{"Content-Type": "application/cloudevents+json"}
	batched    = map[string]string{"Content-Type": "application/cloudevents-batch+json"}
)

// expecting is a function that tells when it was told of a batch.
type expecting struct {
	receiver.Function
	told chan events.ID
}

func (f expecting) Expect(stream string, last events.ID) (over func()) {
	over = f.Function.Expect(stream, last)
	f.told <- last
	return over
}

// TestABatchWaitsForTheBodyOfTheOneBefore sends the next batch while the one before it is still on its way.
func TestABatchWaitsForTheBodyOfTheOneBefore(t *testing.T) {
	t.Parallel()
	told := make(chan events.ID, 2)
	function := aggregate.NewFunction(counter.Type{}, pipeline.Store(t, harness.Database(t)))
	server := httptest.NewServer(receiver.Handler(
		receiver.Config{MaxBodyBytes: 1 << 20, DeliveryTimeout: time.Minute}, expecting{function, told},
	))
	t.Cleanup(server.Close)
	begin := func(body io.Reader, last string) chan int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", batched["Content-Type"])
		request.Header.Set(receiver.HeaderStream, url.PathEscape(stream))
		request.Header.Set(receiver.HeaderLast, last)
		status := make(chan int, 1)
		go func() {
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error(err)
				status <- 0
				return
			}
			_ = response.Body.Close()
			status <- response.StatusCode
		}()
		return status
	}
	slow, body := io.Pipe()
	first := begin(slow, "0-2")
	<-told
	second := begin(strings.NewReader(marshal(t, []any{entry(3).CloudEvent()})), "0-3")
	<-told
	select {
	case status := <-second:
		t.Errorf("the second one did not wait: %d", status)
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := io.WriteString(body, marshal(t, []any{entry(1).CloudEvent(), entry(2).CloudEvent()})); err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	if a, b := <-first, <-second; a != http.StatusNoContent || b != http.StatusNoContent {
		t.Errorf("answers %d and %d", a, b)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	address, _ := counted(t)
	batch := func(entries ...uint64) string {
		var all []any
		for _, n := range entries {
			all = append(all, entry(n).CloudEvent())
		}
		return marshal(t, all)
	}
	steps := []struct {
		name      string
		header    map[string]string
		body      string
		status    int
		text      string
		watermark string
		applied   string
	}{
		{"first", structured, marshal(t, entry(1).CloudEvent()), http.StatusNoContent, "", "0-1", "1"},
		{"overlapping batch", batched, batch(1, 2, 3), http.StatusNoContent, "", "0-3", "2"},
		{"repeated", structured, marshal(t, entry(3).CloudEvent()), http.StatusNoContent, "", "0-3", "0"},
		{"gap", batched, batch(5), http.StatusConflict, "", "0-3", "0"},
		{"broken batch", batched, batch(4, 6), http.StatusBadRequest, "invalid event: 0-6 does not follow", "", ""},
		{"empty batch", batched, "[]", http.StatusBadRequest, "empty batch", "", ""},
		{"no CloudEvent", nil, "hello", http.StatusBadRequest, "invalid event", "", ""},
		{"too large", structured, strings.Repeat(" ", 1<<20+1), http.StatusRequestEntityTooLarge, "read body", "", ""},
	}
	for _, step := range steps {
		got := ask(t, http.MethodPost, address, step.header, step.body)
		if got.status != step.status || !strings.Contains(got.body, step.text) {
			t.Errorf("%s: answer is %d %q, want %d %q", step.name, got.status, got.body, step.status, step.text)
		}
		if got.status == http.StatusNoContent && got.body != "" {
			t.Errorf("%s: body is %q, want none", step.name, got.body)
		}
		headers := []string{got.header.Get(receiver.HeaderWatermark), got.header.Get(receiver.HeaderApplied)}
		if diff := cmp.Diff([]string{step.watermark, step.applied}, headers); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	var mark watermark.Mark
	got := ask(t, http.MethodGet, address+"/watermarks/"+stream, nil, "")
	if err := json.Unmarshal([]byte(got.body), &mark); err != nil {
		t.Fatalf("%s: %v", got.body, err)
	}
	if want := (watermark.Mark{ID: events.ID{Minor: 3}, Hash: entry(3).Hash}); !cmp.Equal(mark, want) {
		t.Errorf("watermark is %+v, want %+v", mark, want)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	address, _ := counted(t)
	ask(t, http.MethodGet, address+"/readyz", nil, "").want(t, http.StatusOK, "")
	ask(t, http.MethodGet, serve(t, absent(t))+"/readyz", nil, "").want(t, http.StatusServiceUnavailable, "not available now")
}

// absent gives a store whose server has gone.
func absent(t *testing.T) *postgres.Store {
	t.Helper()
	server := harness.PostgresServer(t)
	store := pipeline.Store(t, server.URL())
	if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	return store
}
