package source_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/events/source/source"
	"github.com/chainmetrics/chainmetrics/shared/binding"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const stream = "blockchain_events:bitcoin"

// buffer is a Redis of the test's own.
type buffer struct {
	*redisstream.Client
	address string
}

func newBuffer(t *testing.T) buffer {
	t.Helper()
	address := harness.Redis(t)
	return buffer{Client: open(t, address), address: address}
}

func open(t *testing.T, address string) *redisstream.Client {
	t.Helper()
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// plain does to the stream what others might.
func (b buffer) plain(t *testing.T) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(b.address)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// feed appends entries from through to of a test's stream, announced before.
func (b buffer) feed(t *testing.T, from, to uint64) []string {
	t.Helper()
	if err := b.Announce(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	entries, ids := chain(from, to)
	if err := b.Append(t.Context(), stream, events.ID{Minor: from - 1}, entries); err != nil {
		t.Fatal(err)
	}
	return ids
}

func chain(from, to uint64) (entries []events.Entry, ids []string) {
	for n := from; n <= to; n++ {
		id := events.ID{Minor: n}
		entries = append(entries, events.Entry{ID: id, Fields: []events.Field{
			{Name: "type", Value: "x"},
			{Name: "chain", Value: "bitcoin"},
			{Name: "timestamp", Value: "1231006505"},
			{Name: "chainmetrics.appended_at", Value: "1231006505000"},
			{Name: "n", Value: id.String()},
		}})
		ids = append(ids, id.String())
	}
	return entries, ids
}

// running is a source of the test's own.
type running struct {
	*source.Source
	stop func()
	log  *log
}

type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func configured(f *function) source.Config {
	return source.Config{
		Function: "counter", Config: binding.Config{Sink: f.server.URL}, BatchEntries: 7, BatchBytes: 1 << 20, RequestTimeout: 5 * time.Second,
		Takeover: 500 * time.Millisecond, Recheck: 50 * time.Millisecond, Grace: time.Second,
	}
}

func start(t *testing.T, b buffer, cfg source.Config) running {
	t.Helper()
	written := &log{}
	s, err := source.New(cfg, open(t, b.address), slog.New(slog.NewTextHandler(written, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("source: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(written)
		}
	})
	return running{Source: s, stop: stop, log: written}
}

// wantApplied waits until the function has applied all entries, each once and in order.
func wantApplied(t *testing.T, f *function, want []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d entries applied", len(want)), func() bool { return len(f.has(stream)) >= len(want) })
	if diff := cmp.Diff(want, f.has(stream)); diff != "" {
		t.Fatal(diff)
	}
}

func value(t *testing.T, s running, name string) float64 {
	t.Helper()
	sum, _ := shown(t, s, name)
	return sum
}

// shown gives the sum of a metric's values, and whether there is any.
func shown(t *testing.T, s running, name string) (sum float64, ok bool) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "chainmetrics_source_"+name {
			for _, metric := range family.GetMetric() {
				sum, ok = sum+metric.GetGauge().GetValue()+metric.GetCounter().GetValue(), true
			}
		}
	}
	return sum, ok
}

// outcomes gives how many deliveries came to what.
func outcomes(t *testing.T, s running) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "chainmetrics_source_deliveries_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "outcome" {
					counted[label.GetValue()] += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return counted
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	want := b.feed(t, 1, 100)
	begin := time.Now()
	cfg := configured(f)
	cfg.Takeover = time.Minute // a source alone waits for nobody
	s := start(t, b, cfg)
	wantApplied(t, f, want)
	if taken := time.Since(begin); taken > 10*time.Second {
		t.Errorf("delivered after %s", taken)
	}
	want = append(want, b.feed(t, 101, 150)...)
	wantApplied(t, f, want)
	if largest := slices.Max(f.sent()); largest != 7 {
		t.Errorf("largest batch has %d entries", largest)
	}
	eventually(t, "mirror", func() bool {
		groups, err := b.Groups(t.Context(), stream)
		return err == nil && len(groups) == 1 && groups[0].Name == "counter" && groups[0].Lag == 0
	})
	eventually(t, "no lag", func() bool { lag, ok := shown(t, s, "lag_entries"); return ok && lag == 0 })
	if got := value(t, s, "entries_delivered_total"); got != 150 {
		t.Errorf("%v entries delivered", got)
	}
	if problems, err := testutil.CollectAndLint(s); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	if s.Ready() != nil {
		t.Error("not ready")
	}
	if text := s.log.String(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

func TestNewStreamsAreFound(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	start(t, b, configured(f))
	const other = "blockchain_events:ethereum/é"
	entries, ids := chain(1, 3)
	if err := b.Announce(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, f, b.feed(t, 1, 10))
	if err := b.Append(t.Context(), other, events.ID{}, entries); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second stream", func() bool { return slices.Equal(f.has(other), ids) })
}

func TestOnlyTheNamedStreams(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	cfg := configured(f)
	cfg.Streams = []string{stream}
	start(t, b, cfg)
	if err := b.Announce(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	entries, _ := chain(1, 3)
	if err := b.Append(t.Context(), "other", events.ID{}, entries); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, f, b.feed(t, 1, 10))
	if got := f.has("other"); got != nil {
		t.Errorf("applied %v of another stream", got)
	}
}

// TestAnswers lets deliveries fail in every way; the function ends with each entry applied once.
func TestAnswers(t *testing.T) {
	t.Parallel()
	status := func(code int, header ...string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n%3 != 2 {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	tests := map[string]struct {
		before  func(int, http.ResponseWriter, *http.Request) bool
		lose    func(int) bool
		outcome string // of those that fail; the others are applied
	}{
		"503":             {before: status(503), outcome: "unavailable"},
		"503 retry after": {before: status(503, "Retry-After", "0"), outcome: "unavailable"},
		"500":             {before: status(500), outcome: "unavailable"},
		"429":             {before: status(429), outcome: "unavailable"},
		"408":             {before: status(408), outcome: "unavailable"},
		"400":             {before: status(400), outcome: "rejected"},
		"409":             {before: status(409, "Chainmetrics-Watermark", "0-1"), outcome: "refused"},
		"no watermark":    {before: status(204), outcome: "unreachable"},
		"redirect":        {before: status(307, "Location", "/"), outcome: "rejected"},
		"connection lost": {before: func(n int, _ http.ResponseWriter, _ *http.Request) bool {
			if n%3 == 2 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, outcome: "unreachable"},
		"answer lost": {lose: func(n int) bool { return n%3 == 2 }, outcome: "unreachable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, f := newBuffer(t), newFunction(t)
			f.before, f.lose = tt.before, tt.lose
			want := b.feed(t, 1, 40)
			s := start(t, b, configured(f))
			wantApplied(t, f, want)
			eventually(t, "all answers are counted", func() bool {
				return value(t, s, "deliveries_total") == float64(len(f.sent()))
			})
			counted := outcomes(t, s)
			if counted["applied"] == 0 || counted[tt.outcome] == 0 {
				t.Errorf("outcomes are %v, want some %s", counted, tt.outcome)
			}
			for outcome := range counted {
				known := []string{"applied", "early", tt.outcome}
				if !slices.Contains(known, outcome) && (tt.lose == nil || outcome != "duplicate") {
					t.Errorf("outcomes are %v, want none %s", counted, outcome)
				}
			}
			if refusals := value(t, s, "refusals_total"); refusals != counted["refused"] {
				t.Errorf("%v refusals, want %v", refusals, counted["refused"])
			}
			if lines := strings.Count(s.log.String(), "\n"); lines > 20 {
				t.Errorf("%d lines logged:\n%s", lines, s.log)
			}
			if got := value(t, s, "standby"); got != 0 {
				t.Error("a source alone stands by")
			}
		})
	}
}

// TestTwoAtOnce: the function has the next batch before it answers, and no third one; also again after it had some trouble.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	var mu sync.Mutex
	most, here, seen := 0, 0, map[int]int{} // requests, by how many others were there
	f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		here++
		most = max(most, here)
		seen[here]++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		here--
		mu.Unlock()
		if n == 5 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 5
	}
	want := b.feed(t, 1, 210)
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	eventually(t, "all answers are counted", func() bool { return value(t, s, "deliveries_total") == float64(len(f.sent())) })
	mu.Lock()
	defer mu.Unlock()
	if most != 2 || seen[2] < 8 {
		t.Errorf("at most %d requests at once, so many met others: %v; outcomes %v", most, seen, outcomes(t, s))
	}
	if counted := outcomes(t, s); counted["early"] > 5 || counted["refused"] > 0 || counted["applied"] != 30 {
		t.Errorf("outcomes are %v", counted)
	}
}

// TestAFunctionThatWaits for the archive applies nothing for a while, and says so: it is asked again, but not all the time, and
// nobody is told of it.
func TestAFunctionThatWaits(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	want := b.feed(t, 1, 40)
	begin := time.Now()
	f.before = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		if time.Since(begin) > time.Second {
			return false
		}
		w.Header().Set("Chainmetrics-Watermark", "0-0")
		w.Header().Set("Chainmetrics-Applied", "0")
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	if n := len(f.sent()); n > 30 {
		t.Errorf("%d batches are sent", n)
	}
	for _, text := range []string{"standing by", "WARN", "ERROR"} {
		if strings.Contains(s.log.String(), text) {
			t.Errorf("%s:\n%s", text, s.log)
		}
	}
}

// TestTooLargeBatches has a function that cannot take more than two entries at once, whatever it says then.
func TestTooLargeBatches(t *testing.T) {
	t.Parallel()
	answers := map[string]func(http.ResponseWriter){
		"too large":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestEntityTooLarge) },
		"unavailable":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"connection lost": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, f := newBuffer(t), newFunction(t)
			f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if f.sent()[n-1] <= 2 {
					return false
				}
				answer(w)
				return true
			}
			want := b.feed(t, 1, 12)
			start(t, b, configured(f))
			wantApplied(t, f, want)
		})
	}
}

// TestSlowFunction starts as a service does that was scaled to zero, and takes long for some batches.
func TestSlowFunction(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	started := make(chan struct{})
	begin := sync.OnceFunc(func() { close(started) })
	t.Cleanup(begin)
	f.before = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get(receiver.HeaderLast) == "0-7" { // the first batch, which the one sent ahead may overtake
			<-started
		}
		return false
	}
	want := b.feed(t, 1, 40)
	cfg := configured(f)
	cfg.RequestTimeout = time.Minute
	s := start(t, b, cfg)
	eventually(t, "first batch, and one ahead", func() bool { return len(f.sent()) == 2 })
	eventually(t, "lag", func() bool { return value(t, s, "lag_entries") == 40 })
	if age := value(t, s, "oldest_unapplied_age_seconds"); age < 1e8 { // entries of 2009
		t.Errorf("oldest entry is %v s old", age)
	}
	begin()
	wantApplied(t, f, want)
	if sent := len(f.sent()); sent > 8 {
		t.Errorf("%d batches sent", sent)
	}
}

// TestFunctionThatMovedElsewhere: a database that was restored from a backup stands further back, another source
// further on.
func TestFunctionThatMovedElsewhere(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	want := b.feed(t, 1, 20)
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	f.set(func(f *function) {
		f.marks = map[string]watermark.Mark{}
		f.applied = map[string][]string{}
	})
	want = append(want, b.feed(t, 21, 30)...)
	wantApplied(t, f, want)
	if value(t, s, "refusals_total") == 0 {
		t.Error("no refusal was counted")
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	tests := map[string]func(context.Context, *redis.Client) error{
		"trimmed": func(ctx context.Context, r *redis.Client) error { return r.XTrimMaxLen(ctx, stream, 2).Err() },
		"deleted": func(ctx context.Context, r *redis.Client) error { return r.Del(ctx, stream).Err() },
		"one entry in the middle": func(ctx context.Context, r *redis.Client) error {
			return r.XDel(ctx, stream, "0-15").Err()
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, f := newBuffer(t), newFunction(t)
			r := b.plain(t)
			want := b.feed(t, 1, 10)
			s := start(t, b, configured(f))
			wantApplied(t, f, want)
			s.stop()
			want = append(want, b.feed(t, 11, 20)...)
			if err := damage(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			s = start(t, b, configured(f))
			eventually(t, "loss", func() bool { return value(t, s, "stream_lost") == 1 })
			asked := f.questions()
			eventually(t, "looks again", func() bool { return f.questions() > asked+3 })
			if got := f.has(stream); len(got) != 10 {
				t.Errorf("%d entries applied of a stream that has lost some", len(got))
			}
			if text := s.log.String(); strings.Count(text, "lost entries") != 1 || !strings.Contains(text, "stream accept "+stream) {
				t.Errorf("logged: %s", text)
			}
			info, err := b.Info(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			entries, _ := chain(10, 20) // a feed goes on from the watermark's own entry
			if err := b.Replace(t.Context(), stream, info, entries[0].ID.Minor-1, events.ID{}, entries); err != nil {
				t.Fatal(err)
			}
			wantApplied(t, f, want)
			eventually(t, "no loss", func() bool { return value(t, s, "stream_lost") == 0 })
		})
	}
}

// TestPlaceAfterHealing sees that the function's place is mirrored again once a feed has replaced the stream, also where
// nothing is delivered afterwards: otherwise a standby takes over.
// TestTrimmedBehindAnother has the function moved on, as by another source, and what it has applied trimmed, while a source knows
// nothing of that: it sees no loss.
func TestTrimmedBehindAnother(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	b.feed(t, 1, 20)
	s := start(t, b, configured(f))
	eventually(t, "the first ones are applied", func() bool { return len(f.has(stream)) == 20 })
	more, ids := chain(21, 30)
	f.set(func(f *function) { f.marks[stream] = watermark.Mark{ID: more[4].ID, Hash: more[4].ContentHash()} })
	if _, err := b.plain(t).TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for _, entry := range more {
			var values []string
			for _, field := range entry.Fields {
				values = append(values, field.Name, field.Value)
			}
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: entry.ID.String(), Values: values})
		}
		pipe.XTrimMinID(t.Context(), stream, ids[4])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last ones are applied", func() bool { return slices.Equal(f.has(stream)[20:], ids[5:]) })
	if text := s.log.String(); strings.Contains(text, "lost entries") {
		t.Errorf("a loss was told of:\n%s", text)
	}
}

func TestPlaceAfterHealing(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	want := b.feed(t, 1, 20)
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	mirrored := func() bool {
		groups, err := b.Groups(t.Context(), stream)
		return err == nil && len(groups) == 1 && groups[0].LastDelivered == events.ID{Minor: 20}
	}
	eventually(t, "mirror", mirrored)
	if err := b.plain(t).Del(t.Context(), stream).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "loss", func() bool { return value(t, s, "stream_lost") == 1 })
	entries, _ := chain(20, 20)
	if err := b.Replace(t.Context(), stream, redisstream.Info{}, 19, events.ID{}, entries); err != nil {
		t.Fatal(err)
	}
	eventually(t, "mirror after healing", mirrored)
}

// poisoned refuses batches that hold one of some entries, unless they come as unreadable ones.
func poisoned(status int, entries ...uint64) func([]events.Delivery) (int, bool) {
	return func(batch []events.Delivery) (int, bool) {
		return status, slices.ContainsFunc(batch, func(d events.Delivery) bool {
			return slices.Contains(entries, d.ID.Minor) && d.Type != events.TypeRaw
		})
	}
}

// TestQuarantine: single entries fail, whatever is sent with them, while the function is well otherwise. They are given up,
// with the reason, and the rest is applied. It takes a while, so that they fail side by side.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	rejected, aborted := poisoned(http.StatusBadRequest, 6), poisoned(0, 12)
	second, g := newBuffer(t), newFunction(t) // loses the first answer, and fails for the entry at the beginning of the third batch
	g.refuses, g.lose = poisoned(http.StatusBadRequest, 15), func(n int) bool { return n == 1 }
	second.feed(t, 1, 20)
	lossy := start(t, second, quarantining(g))
	var raw sync.Map
	f.refuses = func(batch []events.Delivery) (int, bool) {
		for _, d := range batch {
			if d.Type == events.TypeRaw {
				_, err := d.Open()
				raw.Store(d.ID.String(), fmt.Sprint(err))
			}
		}
		if _, aborts := aborted(batch); aborts {
			panic(http.ErrAbortHandler) // as one that runs out of memory does
		}
		return rejected(batch)
	}
	want := b.feed(t, 1, 20)
	s := start(t, b, quarantining(f))
	patiently(t, "two are given up", func() bool { return value(t, s, "entries_quarantined_total") == 2 })
	wantApplied(t, f, want)
	for id, want := range map[string]string{
		"0-6": "quarantined: counter failed for it 10 times: deliver: answer 400 Bad Request", "0-12": "quarantined: counter failed for it 10 times: deliver: Post",
	} {
		if reason, _ := raw.Load(id); !strings.HasPrefix(fmt.Sprint(reason), want) {
			t.Errorf("%s: %v", id, reason)
		}
	}
	eventually(t, "not stuck", func() bool { return value(t, s, "entry_stuck") == 0 })
	patiently(t, "one is given up after a lost answer", func() bool { return value(t, lossy, "entries_quarantined_total") == 1 })
	wantApplied(t, g, want)
	if text := s.log.String(); strings.Count(text, "is quarantined") != 2 || !strings.Contains(text, "dead-letter show "+stream+" 0-6") {
		t.Errorf("logged: %s", text)
	}
}

func quarantining(f *function) source.Config {
	cfg := configured(f)
	cfg.QuarantineAfter = time.Second
	return cfg
}

// TestStuckEntry: what fails may not be given up, since it follows one that was, or nothing shows that the function takes the
// one before it, or the function says that it is not the entry's fault, or does not answer afterwards. Once the function
// takes it, the rest is applied.
func TestStuckEntry(t *testing.T) {
	t.Parallel()
	type system struct {
		f    *function
		s    running
		want []string
	}
	var mended atomic.Bool
	systems := map[string]system{}
	for name, c := range map[string]struct {
		status int
		poison []uint64
	}{
		"follows another":    {http.StatusBadRequest, []uint64{6, 7}},
		"the very first one": {http.StatusBadRequest, []uint64{1}},
		"not available":      {http.StatusServiceUnavailable, []uint64{6}},
		"elsewhere then":     {http.StatusBadRequest, []uint64{6}},
	} {
		b, f := newBuffer(t), newFunction(t)
		refuses := poisoned(c.status, c.poison...)
		f.refuses = func(batch []events.Delivery) (int, bool) {
			status, refused := refuses(batch)
			return status, refused && !mended.Load()
		}
		if name == "elsewhere then" {
			f.ask = func(*http.Request) {
				if len(f.has(stream)) == 5 && !mended.Load() {
					time.Sleep(50 * time.Millisecond)
					panic(http.ErrAbortHandler)
				}
			}
		}
		want := b.feed(t, 1, 20)
		systems[name] = system{f, start(t, b, quarantining(f)), want}
	}
	applied := map[string]int{"follows another": 6, "the very first one": 0, "not available": 5, "elsewhere then": 5}
	patiently(t, "one is given up", func() bool { return value(t, systems["follows another"].s, "entries_quarantined_total") == 1 })
	patiently(t, "it is stuck", func() bool { return value(t, systems["not available"].s, "entry_stuck") == 1 })
	eventually(t, "the next one is stuck", func() bool { return value(t, systems["follows another"].s, "entry_stuck") == 1 })
	for name, system := range systems {
		if diff := cmp.Diff(system.want[:applied[name]], system.f.has(stream), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if n := value(t, system.s, "entries_quarantined_total"); n != 0 && name != "follows another" {
			t.Errorf("%s: %v entries quarantined", name, n)
		}
	}
	mended.Store(true)
	for name, system := range systems {
		patiently(t, name, func() bool { return len(system.f.has(stream)) == len(system.want) })
		wantApplied(t, system.f, system.want)
		eventually(t, "no entry is stuck", func() bool { return value(t, system.s, "entry_stuck") == 0 })
	}
}

// TestFunctionThatIsDown: it is not the entry's fault, so it is not blamed at once.
func TestFunctionThatIsDown(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n <= 5 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n <= 5
	}
	want := b.feed(t, 1, 1)
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	if text := s.log.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("logged: %s", text)
	}
}

func TestAcceptedLoss(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	want := b.feed(t, 1, 20)
	if err := b.plain(t).XDel(t.Context(), stream, "0-15").Err(); err != nil {
		t.Fatal(err)
	}
	s := start(t, b, configured(f))
	eventually(t, "loss", func() bool { return value(t, s, "stream_lost") == 1 })
	f.set(func(f *function) {
		f.marks[stream] = watermark.Mark{Holes: []watermark.Hole{
			{Next: events.ID{Minor: 1}}, {After: events.ID{Minor: 14}, Next: events.ID{Minor: 16}},
		}}
	})
	wantApplied(t, f, slices.Delete(want, 14, 15))
}

// TestTwoSources: one delivers, the other stands by, and delivers once the first is gone.
func TestTwoSources(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	f.before = func(int, http.ResponseWriter, *http.Request) bool {
		time.Sleep(5 * time.Millisecond)
		return false
	}
	want := b.feed(t, 1, 500)
	cfg := configured(f)
	cfg.Takeover = 2 * time.Second
	sources := []running{start(t, b, cfg), start(t, b, cfg)}
	wantApplied(t, f, want)
	for n := uint64(501); value(t, sources[0], "standby")+value(t, sources[1], "standby") != 1; n++ {
		want = append(want, b.feed(t, n, n)...)
		wantApplied(t, f, want)
		if n > 1000 {
			t.Fatal("no source stands by")
		}
	}
	first := slices.IndexFunc(sources, func(s running) bool { return value(t, s, "standby") == 0 })
	other := sources[1-first]
	sources[first].stop()
	asked := f.questions()
	from := uint64(len(want) + 1)
	want = append(want, b.feed(t, from, from+50)...)
	for begin := time.Now(); time.Since(begin) < cfg.Takeover/2; time.Sleep(10 * time.Millisecond) {
		if f.questions() != asked {
			t.Fatal("a standby asks the function")
		}
	}
	wantApplied(t, f, want)
	if value(t, other, "standby") != 0 || !strings.Contains(other.log.String(), "taking over") {
		t.Errorf("logged: %s", other.log)
	}
}

// TestLossWithoutALeader: the stream goes while only a standby is left, which then has to tell of it.
func TestLossWithoutALeader(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	cfg := configured(f)
	sources := []running{start(t, b, cfg), start(t, b, cfg)}
	var want []string
	standby := func() int {
		return slices.IndexFunc(sources, func(s running) bool { return value(t, s, "standby") == 1 })
	}
	for n := uint64(1); standby() < 0; n++ {
		want = append(want, b.feed(t, n, n)...)
		wantApplied(t, f, want)
		if n > 1000 {
			t.Fatal("no source stands by")
		}
	}
	at := standby()
	other := sources[at]
	sources[1-at].stop()
	if err := b.plain(t).Del(t.Context(), stream).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the standby tells of the loss", func() bool { return value(t, other, "stream_lost") == 1 })
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		takes   time.Duration
		applied bool
	}{
		"delivery in flight is finished":  {300 * time.Millisecond, true},
		"delivery in flight is abandoned": {time.Minute, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, f := newBuffer(t), newFunction(t)
			f.before = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
				select {
				case <-time.After(tt.takes):
					return false
				case <-r.Context().Done():
					return true
				}
			}
			b.feed(t, 1, 40)
			cfg := configured(f)
			cfg.RequestTimeout = time.Minute
			s := start(t, b, cfg)
			eventually(t, "a delivery, and one ahead", func() bool { return len(f.sent()) == 2 })
			begin := time.Now()
			s.stop()
			if taken := time.Since(begin); taken > 3*time.Second {
				t.Errorf("stopped after %s", taken)
			}
			if got := len(f.sent()); got != 2 {
				t.Errorf("%d batches sent", got)
			}
			if applied := len(f.has(stream)) > 0; applied != tt.applied {
				t.Errorf("applied: %v", f.has(stream))
			}
			if !tt.applied {
				return
			}
			groups, err := b.Groups(t.Context(), stream)
			if err != nil || len(groups) != 1 || groups[0].LastDelivered.IsZero() {
				t.Errorf("groups are %v, %v", groups, err)
			}
		})
	}
}

// TestShutdownWhileAsking ends a source that does not know where the function stands: what it has mirrored stays.
func TestShutdownWhileAsking(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	asking := make(chan struct{})
	both := func() bool { return len(f.has(stream)) >= 14 } // whichever way they went: the third batch may overtake the second
	f.ask = func(r *http.Request) {
		if both() {
			close(asking)
			<-r.Context().Done()
		}
	}
	f.before = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		if !both() {
			return false
		}
		w.Header().Set("Chainmetrics-Watermark", "0-1")
		w.WriteHeader(http.StatusConflict)
		return true
	}
	b.feed(t, 1, 40)
	s := start(t, b, configured(f))
	<-asking
	s.stop()
	groups, err := b.Groups(t.Context(), stream)
	if applied := uint64(len(f.has(stream))); err != nil || len(groups) != 1 || groups[0].LastDelivered != (events.ID{Minor: applied}) {
		t.Errorf("groups are %v, %v, want one at 0-%d, as far as the function is", groups, err, applied)
	}
}

func TestExtensionsAndCertificates(t *testing.T) {
	t.Parallel()
	b, f := newBuffer(t), newFunction(t)
	secure := httptest.NewTLSServer(f)
	t.Cleanup(secure.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if _, err := x509.ParseCertificate(secure.Certificate().Raw); err != nil {
		t.Fatal(err)
	}
	cfg := configured(f)
	cfg.Sink, cfg.CACerts, cfg.Overrides = secure.URL, string(certificate), `{"extensions":{"team":"data"}}`
	want := b.feed(t, 1, 3)
	start(t, b, cfg)
	wantApplied(t, f, want)
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff([]string{"data", "data", "data"}, f.trace); diff != "" {
		t.Error(diff)
	}
}

func TestRedisThatIsDown(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	const secret = "s3cret"
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: "redis://u:" + secret + "@127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	written := &log{}
	s, err := source.New(configured(f), client, slog.New(slog.NewTextHandler(written, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	if s.Ready() == nil {
		t.Error("ready")
	}
	if text := written.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, secret) {
		t.Errorf("logged: %s", text)
	}
}

// TestLagThatNobodyKnows is not shown: neither what it was before Redis failed, nor none.
func TestLagThatNobodyKnows(t *testing.T) {
	t.Parallel()
	server, f := harness.RedisServer(t), newFunction(t)
	b := buffer{Client: open(t, server.URL()), address: server.URL()}
	want := b.feed(t, 1, 10)
	s := start(t, b, configured(f))
	wantApplied(t, f, want)
	expect := func(when string, want bool) {
		t.Helper()
		eventually(t, when, func() bool {
			_, lag := shown(t, s, "lag_entries")
			_, age := shown(t, s, "oldest_unapplied_age_seconds")
			return lag == want && age == want
		})
	}
	expect("a lag", true)
	replace := func(commands func(redis.Pipeliner) error) {
		t.Helper()
		if _, err := b.plain(t).TxPipelined(t.Context(), commands); err != nil {
			t.Fatal(err)
		}
	}
	replace(func(p redis.Pipeliner) error {
		p.Rename(t.Context(), stream, "aside")
		return p.Set(t.Context(), stream, "no stream", 0).Err()
	})
	expect("no lag of what cannot be read", false)
	replace(func(p redis.Pipeliner) error { return p.Rename(t.Context(), "aside", stream).Err() })
	expect("a lag again", true)
	if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	expect("no lag without Redis", false)
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*source.Config)
		want   string
	}{
		"function":  {func(c *source.Config) { c.Function = "" }, "FUNCTION"},
		"sink":      {func(c *source.Config) { c.Sink = "redis://x" }, "K_SINK"},
		"overrides": {func(c *source.Config) { c.Overrides = "{" }, "K_CE_OVERRIDES"},
		"ours":      {func(c *source.Config) { c.Overrides = `{"extensions":{"sequence":"1"}}` }, "sequence"},
		"name":      {func(c *source.Config) { c.Overrides = `{"extensions":{"a-b":"1"}}` }, "a-b"},
		"CA":        {func(c *source.Config) { c.CACerts = "x" }, "K_CA_CERTS"},
		"streams":   {func(c *source.Config) { c.Streams = []string{""} }, "STREAMS"},
		"entries":   {func(c *source.Config) { c.BatchEntries = 0 }, "SOURCE_BATCH_ENTRIES"},
		"grace":     {func(c *source.Config) { c.Grace = 0 }, "SOURCE_GRACE"},
	}
	cfg := configured(newFunction(t))
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		wrong := cfg
		tt.change(&wrong)
		if err := wrong.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
