package source_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// function keeps the protocol of a function, with its watermarks in memory.
type function struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	marks   map[string]watermark.Mark
	applied map[string][]string // ids of entries, in the order of their application
	batches []int               // entries of each batch that came
	asked   int
	trace   []string // an extension of each entry
	// underway has the batches that have come, by their last entry, until they are answered: the next one waits.
	underway map[string]chan struct{}

	// before is called for each batch, n counting from 1. It may answer in place of the function.
	before func(n int, w http.ResponseWriter, r *http.Request) (answered bool)
	// refuses tells whether a batch is answered with a failure, and with which status.
	refuses func(batch []events.Delivery) (status int, refused bool)
	// ask is called for each question where the function stands, before the answer.
	ask func(r *http.Request)
	// lose makes an answer disappear after the batch was applied.
	lose func(n int) bool
}

func newFunction(t *testing.T) *function {
	t.Helper()
	f := &function{t: t, marks: map[string]watermark.Mark{}, applied: map[string][]string{}, underway: map[string]chan struct{}{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		f.tell(w, r)
		return
	}
	done := make(chan struct{})
	defer close(done)
	f.mu.Lock()
	f.underway[r.Header.Get(receiver.HeaderLast)] = done
	f.mu.Unlock()
	batch, err := cehttp.NewEventsFromHTTPRequest(r)
	if err != nil {
		f.t.Errorf("batch cannot be read: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	deliveries := make([]events.Delivery, len(batch))
	f.mu.Lock()
	f.batches = append(f.batches, len(batch))
	n := len(f.batches)
	before, lose := f.before, f.lose
	for i, ce := range batch {
		if deliveries[i], err = events.ParseDelivery(ce); err != nil {
			f.t.Errorf("delivery cannot be read: %v", err)
		}
		if value, ok := ce.Extensions()["team"].(string); ok {
			f.trace = append(f.trace, value)
		}
	}
	previous := f.underway[deliveries[0].Predecessor.String()]
	f.mu.Unlock()
	if last := deliveries[len(deliveries)-1].ID.String(); r.Header.Get(receiver.HeaderLast) != last ||
		r.Header.Get(receiver.HeaderStream) != url.PathEscape(deliveries[0].Stream) {
		f.t.Errorf("a batch that ends with %s has headers %v", last, r.Header)
	}
	if before != nil && before(n, w, r) {
		return
	}
	if previous != nil {
		<-previous
	}
	if f.refuses != nil {
		if status, refused := f.refuses(deliveries); refused {
			w.WriteHeader(status)
			return
		}
	}
	status, applied, mark := f.apply(deliveries)
	if lose != nil && lose(n) {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(receiver.HeaderWatermark, mark.ID.String())
	w.Header().Set(receiver.HeaderApplied, strconv.Itoa(applied))
	w.WriteHeader(status)
}

func (f *function) tell(w http.ResponseWriter, r *http.Request) {
	stream, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/watermarks/"))
	if err != nil {
		f.t.Errorf("watermark of %s asked: %v", r.URL, err)
	}
	if f.ask != nil {
		f.ask(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if err := json.NewEncoder(w).Encode(f.marks[stream]); err != nil {
		f.t.Error(err)
	}
}

func (f *function) apply(batch []events.Delivery) (status, applied int, mark watermark.Mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stream := batch[0].Stream
	mark = f.marks[stream]
	rest, err := mark.Remaining(batch)
	if errors.Is(err, events.ErrInvalid) {
		f.t.Errorf("invalid batch: %v", err)
	}
	if err != nil {
		return http.StatusConflict, 0, mark
	}
	for _, d := range rest {
		f.applied[stream] = append(f.applied[stream], d.ID.String())
		mark.ID, mark.Hash = d.ID, d.Hash
	}
	f.marks[stream] = mark
	return http.StatusNoContent, len(rest), mark
}

func (f *function) has(stream string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.applied[stream])
}

func (f *function) sent() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.batches)
}

func (f *function) questions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *function) set(change func(*function)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, 15*time.Second, what, holds)
}

// patiently waits as eventually does, while something is tried ten times.
func patiently(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, 2*time.Minute, what, holds)
}

func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("%s: not within %s", what, limit)
}
