package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// TestThePlannerTakesWhatItsServiceTakes: no larger bodies here than in a cluster.
func TestThePlannerTakesWhatItsServiceTakes(t *testing.T) {
	t.Parallel()
	wired, err := localWiring()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(wired.Functions, func(f wiring.Function) bool { return f.Program == planner.Name })
	if want := "MAX_BODY_BYTES=" + strconv.Itoa(planBody); !slices.Contains(wired.Functions[i].Environ, want) {
		t.Errorf("the planner's Service has %q, want %s", wired.Functions[i].Environ, want)
	}
}

// TestSchedulesReachTheFunctionOfTheirTrigger plans a schedule that fires every second while up's schedules run.
func TestSchedulesReachTheFunctionOfTheirTrigger(t *testing.T) {
	t.Parallel()
	wired, err := localWiring()
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(chan string, 100)
	counterLarge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sizes <- r.Header.Get("ce-metric") + " " + r.Header.Get("ce-bucketsize")
		http.Error(w, "no", http.StatusBadRequest)
	}))
	defer counterLarge.Close()
	address, err := url.Parse(counterLarge.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	// Up says of the schedules what is true at this time.
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 30, 30, 0, time.UTC) }
	var shown bytes.Buffer
	s := &localSystem{
		app: &app{now: now}, screen: newScreen(&shown, time.Now), wiring: wired, ports: map[string]int{"counter-large": port, "notify": port},
	}
	if err := s.startSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	planned := &plannedObjects{wiring: wired, schedules: s.schedules, now: now, all: make(map[string]planner.Live)}
	objects, err := planner.Objects([]metric.Definition{{
		Name: "gas_used", Type: "counter", Complexity: "large", BucketSizes: []bucket.Size{bucket.Daily},
	}}, defaultNamespace)
	if err != nil {
		t.Fatal(err)
	}
	objects[1].Spec.Schedule = "* * * * * *"
	for _, o := range objects {
		if err := planned.Apply(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-sizes; got != "gas_used daily" {
		t.Errorf("a tick of %q has arrived", got)
	}
	live, err := planned.List(t.Context())
	if err != nil || len(live) != 2 {
		t.Errorf("%d objects, %v", len(live), err)
	}
	for _, l := range live {
		if err := planned.Delete(t.Context(), l); err != nil {
			t.Error(err)
		}
	}
	if live, err = planned.List(t.Context()); err != nil || len(live) > 0 {
		t.Errorf("after they were deleted %d objects, %v", len(live), err)
	}
	if name, _ := s.schedules.Next(); name != "sweep" {
		t.Errorf("next is %s", name)
	}
	objects[1].Spec.CEOverrides.Extensions["complexity"] = "huge"
	if err := planned.Apply(t.Context(), objects[1]); err == nil {
		t.Error("a schedule is taken that wakes nothing")
	}
	s.stopSchedules(t.Context())
	text := shown.String()
	if !strings.Contains(text, "  schedules 4, next sweep at 00:31 UTC") ||
		!strings.Contains(text, "\n  event lost: deliver /apis/v1/namespaces/blockchain-metrics/pingsources/metric-gas-used-daily to counter-large: answered 400: \"no\\n\"; "+
			"nor, as a dead letter, to notify: answered 400: \"no\\n\"\n") {
		t.Errorf("up shows:\n%s", text)
	}
}

// TestRequestsReachTheFunctionOfTheirTrigger: what the scheduler sends goes to the run function of its complexity.
func TestRequestsReachTheFunctionOfTheirTrigger(t *testing.T) {
	t.Parallel()
	wired, err := localWiring()
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(chan string, 1)
	gaugeLarge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		metrics <- r.Header.Get("ce-metric")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer gaugeLarge.Close()
	address, err := url.Parse(gaugeLarge.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	ports, err := freePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &localSystem{
		app: &app{now: time.Now}, screen: newScreen(io.Discard, time.Now), wiring: wired,
		ports: map[string]int{"gauge-large": port, ingress: ports[0]},
	}
	if err := s.startSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.stopSchedules(t.Context())
	i := slices.IndexFunc(wired.Functions, func(f wiring.Function) bool { return f.Name == "scheduler" })
	environment := functionEnviron(wired.Functions[i], s.url(ingress)+"/"+wired.Functions[i].Broker, 7)
	at := slices.IndexFunc(environment, func(variable string) bool { return strings.HasPrefix(variable, "K_SINK=") })
	request := events.RunRequest{Metric: "price", MetricType: "gauge", BucketSize: "daily", Complexity: "large"}
	sent, err := cehttp.NewHTTPRequestFromEvent(t.Context(), strings.TrimPrefix(environment[at], "K_SINK="), request.CloudEvent("scheduler", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(sent)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // of no consequence
	if got := <-metrics; got != "price" || answer.StatusCode != http.StatusAccepted {
		t.Errorf("a request of %q has arrived, answered %d", got, answer.StatusCode)
	}
}

func TestOnceRunsNoSchedules(t *testing.T) {
	t.Parallel()
	s := &localSystem{flags: upFlags{once: true}, wiring: &wiring.Wiring{Schedules: make([]wiring.Schedule, 1)}}
	if err := s.startSchedules(t.Context()); err != nil || s.schedules != nil {
		t.Errorf("schedules %v, %v", s.schedules, err)
	}
}
