package integration_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// spanSeen is a span as a collector has it. Ids are in hex.
type spanSeen struct {
	service, name, trace, id, parent string
	links                            []string // ids of spans
	attributes                       map[string]string
}

// collector takes spans as OTLP over HTTP brings them.
type collector struct {
	url string

	mu    sync.Mutex
	spans []spanSeen
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.take(request.GetResourceSpans())
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *collector) take(all []*tracepb.ResourceSpans) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range all {
		service := attributesOf(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				seen := spanSeen{
					service: service, name: s.GetName(), trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()),
					parent: hex.EncodeToString(s.GetParentSpanId()), attributes: attributesOf(s.GetAttributes()),
				}
				for _, link := range s.GetLinks() {
					seen.links = append(seen.links, hex.EncodeToString(link.GetSpanId()))
				}
				c.spans = append(c.spans, seen)
			}
		}
	}
}

func attributesOf(all []*commonpb.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			texts[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			texts[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			texts[a.GetKey()] = fmt.Sprint(v.BoolValue)
		}
	}
	return texts
}

// find gives the spans of a service by name.
func (c *collector) find(service, name string) []spanSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.spans), func(s spanSeen) bool { return s.service != service || s.name != name })
}

// await waits until there is a span that has an attribute, and gives it.
func (c *collector) await(t *testing.T, service, name, attribute, value string) (found spanSeen) {
	t.Helper()
	pipeline.Eventually(t, 30*time.Second, fmt.Sprintf("span %s of %s with %s %s", name, service, attribute, value), func() bool {
		for _, s := range c.find(service, name) {
			if s.attributes[attribute] == value {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// traced is what a program is told of a collector.
func traced(url string, more map[string]string) map[string]string {
	environment := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
	maps.Copy(environment, more)
	return environment
}

// tracedSystem is feed, archive and counter, each with its source, that tell a collector. Nothing of it runs.
func tracedSystem(t *testing.T, url string, more map[string]string) *system {
	t.Helper()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	for _, p := range []*pipeline.Program{s.counter, s.source} {
		maps.Copy(p.Environment, traced(url, more))
	}
	return s
}

// traceparents gives what the entries of the stream say of their traces, each once.
func (s *system) traceparents(t *testing.T) (texts []string) {
	t.Helper()
	entries, err := s.redis.XRange(t.Context(), pipeline.Stream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if text, ok := entry.Values[events.FieldTraceparent].(string); ok && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// TestTrace follows entries from their append to the commit of their buckets, and a tick to the runs that it has carried out.
func TestTrace(t *testing.T) {
	t.Parallel()
	const blocks, appends = 20, 4
	c := newCollector(t)
	s := tracedSystem(t, c.url, nil)
	archive, archiveURL := pipeline.Function(t, "archive", harness.Build(t, "functions/archive"), s.databaseURL,
		traced(c.url, map[string]string{"REDIS_URL": s.redisURL}))
	archiveSource, _ := pipeline.Source(t, "archive source", harness.Build(t, "events/source"), s.redisURL, archiveURL,
		traced(c.url, map[string]string{"FUNCTION": "archive", "OTEL_SERVICE_NAME": "archive-source"}))
	feed := s.feed(t, blocks, traced(c.url, map[string]string{"FEED_BATCH_ENTRIES": "5"}))
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	if err := feed.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The process has ended: everything was sent.
	appended := c.find("feed", "append to "+pipeline.Stream)
	if len(appended) != appends {
		t.Fatalf("%d spans of appends, want %d", len(appended), appends)
	}
	var want []string
	for _, a := range appended {
		want = append(want, "00-"+a.trace+"-"+a.id+"-01")
	}
	if diff := cmp.Diff(want, s.traceparents(t)); diff != "" {
		t.Errorf("the entries name other traces than the appends are (-appends +entries)\n%s", diff)
	}
	for _, p := range []*pipeline.Program{archive, archiveSource} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	s.awaitApplied(t, blocks)
	for _, function := range []string{"counter", "archive"} {
		source := map[string]string{"counter": "source", "archive": "archive-source"}[function]
		commit := c.await(t, function, "commit "+function, "chainmetrics.watermark", fmt.Sprintf("0-%d", blocks))
		apply := c.await(t, function, "apply "+function, "chainmetrics.watermark", fmt.Sprintf("0-%d", blocks))
		receive := c.await(t, function, "receive "+pipeline.Stream, "http.response.status_code", "204")
		deliver := c.await(t, source, "deliver "+pipeline.Stream, "chainmetrics.outcome", "applied")
		first := appended[0]
		got := []string{deliver.parent, receive.parent, apply.parent, commit.parent}
		if diff := cmp.Diff([]string{first.id, deliver.id, receive.id, apply.id}, got); diff != "" {
			t.Errorf("%s: parents of deliver, receive, apply, commit (-want +got)\n%s", function, diff)
		}
		for _, span := range []spanSeen{deliver, receive, apply, commit} {
			if span.trace != first.trace {
				t.Errorf("%s of %s is in trace %s, want %s", span.name, span.service, span.trace, first.trace)
			}
		}
		if diff := cmp.Diff([]string{appended[1].id, appended[2].id, appended[3].id}, deliver.links); diff != "" {
			t.Errorf("%s: links of the delivery (-want +got)\n%s", function, diff)
		}
		if rows := commit.attributes["chainmetrics.rows"]; rows == "" || rows == "0" {
			t.Errorf("%s: the commit has %q rows", function, rows)
		}
	}
	s.expectTracedRuns(t, c)
}

// expectTracedRuns sends a tick in a trace.
func (s *system) expectTracedRuns(t *testing.T, c *collector) {
	t.Helper()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	pipeline.Eventually(t, 30*time.Second, "everything is archived", func() bool {
		return pipeline.Watermark(t, s.database, "archive", pipeline.Stream).Minor >= 20
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.counterURL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Type": events.TypePing, "Ce-Id": "1", "Ce-Source": "/test", "Ce-Metrictype": "counter",
		"Ce-Bucketsize": bucket.Hourly.String(), "Ce-Traceparent": "00-" + trace + "-b7ad6b7169203331-01", // as a Broker may pass it on
	} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close() != nil || response.StatusCode != http.StatusNoContent {
		t.Fatalf("tick: %d", response.StatusCode)
	}
	tick := c.await(t, "counter", "receive "+events.TypePing, "http.response.status_code", "204")
	run := c.await(t, "counter", "run hourly", "chainmetrics.outcome", "succeeded")
	if tick.trace != trace || run.trace != trace || run.parent != tick.id {
		t.Errorf("the tick is %+v, the run %+v, want both in trace %s", tick, run, trace)
	}
	if n := len(c.find("counter", "finish rebuild counter")); n == 0 {
		t.Error("no span of a rebuild's end")
	}
	var runs, notices int64
	const count = `select count(*), (select count(*) from outbox o join runs using (run_id) where span_id = $2)
		from runs where trace_id = $1 and span_id = $2`
	if err := s.database.QueryRow(t.Context(), count, trace, tick.id).Scan(&runs, &notices); err != nil {
		t.Fatal(err)
	}
	if runs == 0 {
		t.Error("no run names the trace and the span of its tick")
	}
	all, err := pipeline.Store(t, s.databaseURL).ClaimNotices(t.Context(), 100_000, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var told int64
	for _, n := range all {
		if n.Traceparent == "00-"+trace+"-"+tick.id+"-01" {
			told++
		}
	}
	if told != notices {
		t.Errorf("%d notices are in the trace of their run, want %d", told, notices)
	}
	if log, err := s.counter.Log(); err != nil || !strings.Contains(log, "run_id="+run.attributes["chainmetrics.run_id"]+" ") ||
		!strings.Contains(log, "trace_id="+trace) {
		t.Errorf("the log names neither the run nor the trace, %v:\n%s", err, log)
	}
}

// TestNothingIsTraced where the sampler says so.
func TestNothingIsTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	off := map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}
	s := tracedSystem(t, c.url, off)
	feed := s.feed(t, 20, traced(c.url, off))
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	if err := feed.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	s.awaitApplied(t, 20)
	for _, p := range []*pipeline.Program{s.source, s.counter} {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if texts := s.traceparents(t); len(texts) > 0 {
		t.Errorf("entries name traces: %q", texts)
	}
	if c.mu.Lock(); len(c.spans) > 0 {
		t.Errorf("%d spans were sent, such as %+v", len(c.spans), c.spans[0])
	}
	c.mu.Unlock()
}

// TestCollectorAway: whether it takes no connection or gives no answer, everything is applied, and processes end in time.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	t.Cleanup(func() { close(silent); server.Close() })
	for name, url := range map[string]string{"away": "http://127.0.0.1:" + pipeline.FreePort(t), "silent": server.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			small := map[string]string{"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2", "SOURCE_BATCH_ENTRIES": "10"}
			s := tracedSystem(t, url, small)
			feed := s.feed(t, fedBlocks, traced(url, small))
			begin := time.Now()
			if err := feed.Start(); err != nil {
				t.Fatal(err)
			}
			s.start(t)
			if err := feed.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.awaitApplied(t, fedBlocks)
			t.Logf("applied after %s", time.Since(begin))
			begin = time.Now()
			for _, p := range []*pipeline.Program{s.source, s.counter} {
				if err := p.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range []*pipeline.Program{s.source, s.counter} {
				if err := p.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(begin); took > 20*time.Second { // draining takes no time here, giving spans up some seconds
				t.Errorf("the processes ended after %s", took)
			}
			s.expectFed(t)
		})
	}
}
