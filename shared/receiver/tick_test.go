package receiver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// attributes are those of a PingSource's CloudEvent, with some changed; an empty one is left out.
func attributes(changes map[string]string) map[string]string {
	all := map[string]string{
		"specversion": "1.0", "type": "dev.knative.sources.ping", "id": "5f7a",
		"source":     "/apis/v1/namespaces/blockchain-metrics/pingsources/counter-hourly",
		"metrictype": "counter", "bucketsize": "hourly", "complexity": "small",
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

func headers(attributes map[string]string, contentType string) map[string]string {
	header := map[string]string{}
	for name, value := range attributes {
		header["Ce-"+name] = value
	}
	if contentType != "" {
		header["Content-Type"] = contentType
	}
	return header
}

func TestTick(t *testing.T) {
	t.Parallel()
	plain := attributes(nil)
	tests := map[string]struct {
		header map[string]string
		body   string
	}{
		"binary":                    {headers(plain, ""), ""},
		"binary, JSON":              {headers(plain, "application/json"), `{"bucketsize": "daily"}`},
		"binary, text":              {headers(plain, "text/plain"), "wake up"},
		"binary, one metric":        {headers(attributes(map[string]string{"metric": "fees"}), ""), ""},
		"request of runs":           {headers(attributes(map[string]string{"type": "dev.chainmetrics.run.requested.v1", "metric": "fees"}), ""), ""},
		"structured":                {structured, marshal(t, plain)},
		"structured, UTF-8":         {map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"}, marshal(t, plain)},
		"structured, no complexity": {structured, marshal(t, attributes(map[string]string{"complexity": ""}))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, database := counted(t)
			for range 2 {
				got := ask(t, http.MethodPost, address, tt.header, tt.body)
				got.want(t, http.StatusNoContent, "")
				for _, header := range []string{receiver.HeaderWatermark, receiver.HeaderApplied, "Content-Type"} {
					if value, set := got.header[http.CanonicalHeaderKey(header)]; set {
						t.Errorf("%s is %q, want none", header, value)
					}
				}
			}
			made := partitions(t, database)
			if len(made) != 2 || !strings.HasPrefix(made[0], "metrics_data_hourly_") || !strings.HasPrefix(made[1], "metrics_data_hourly_") {
				t.Errorf("partitions are %q, want two of hours", made)
			}
		})
	}
}

// TestTickIsTraced to the runs that it has carried out, though they come to nothing.
func TestTickIsTraced(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	url := harness.Database(t)
	store := pipeline.Store(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(`{name: fees, type: counter, chains: [testchain], bucket_sizes: [hourly],
		calculation_logic: {stream: {event_type: block}}}`))
	m, err := store.Metric(t.Context(), "fees")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	if _, err := store.RequestRuns(t.Context(), m, bucket.Hourly, start, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	header := headers(attributes(nil), "")
	header["Traceparent"] = "00-" + trace + "-b7ad6b7169203331-01"
	ask(t, http.MethodPost, serve(t, store), header, "").want(t, http.StatusNoContent, "")
	runs, err := store.Runs(t.Context(), postgres.RunQuery{Metric: "fees", Most: 2})
	if err != nil || len(runs) != 1 {
		t.Fatalf("%+v, %v", runs, err)
	}
	if r := runs[0]; r.State != string(runner.Skipped) || r.TraceID == nil || *r.TraceID != trace {
		t.Errorf("%+v", r)
	}
}

func TestTickRefused(t *testing.T) {
	t.Parallel()
	changed := func(name, value string) map[string]string { return attributes(map[string]string{name: value}) }
	tests := map[string]struct {
		attributes map[string]string
		want       string // part of the body
	}{
		"another metric type": {changed("metrictype", "gauge"), `metrictype "gauge", want "counter"`},
		"no metric type":      {changed("metrictype", ""), "no metrictype"},
		"unknown bucket size": {changed("bucketsize", "yearly"), `unknown bucket size "yearly": want one of minutely,`},
		"no bucket size":      {changed("bucketsize", ""), "no bucketsize"},
		"another event type":  {changed("type", "dev.knative.sources.pong"), `type "dev.knative.sources.pong"`},
		"no id":               {changed("id", ""), "id: MUST be a non-empty string"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, database := counted(t)
			ask(t, http.MethodPost, address, headers(tt.attributes, ""), "").want(t, http.StatusBadRequest, tt.want)
			ask(t, http.MethodPost, address, structured, marshal(t, tt.attributes)).want(t, http.StatusBadRequest, tt.want)
			if made := partitions(t, database); len(made) != 0 {
				t.Errorf("a refused tick made %q", made)
			}
		})
	}
}

// A batch holds entries of one stream. Nothing of a batch with a tick is done.
func TestTickInABatch(t *testing.T) {
	t.Parallel()
	address, database := counted(t)
	tick := attributes(nil)
	for name, batch := range map[string][]any{
		"alone":            {tick},
		"before an entry":  {tick, entry(1).CloudEvent()},
		"behind an entry":  {entry(1).CloudEvent(), tick},
		"beside a tick":    {tick, tick},
		"of another event": {attributes(map[string]string{"type": "x"}), tick},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ask(t, http.MethodPost, address, batched, marshal(t, batch))
			got.want(t, http.StatusBadRequest, "is none of a stream")
			if made := partitions(t, database); len(made) != 0 {
				t.Errorf("made %q", made)
			}
			ask(t, http.MethodGet, address+"/watermarks/"+stream, nil, "").want(t, http.StatusOK, `"0-0"`)
		})
	}
}

func TestTickWithoutStore(t *testing.T) {
	t.Parallel()
	got := ask(t, http.MethodPost, serve(t, absent(t)), headers(attributes(nil), ""), "")
	got.want(t, http.StatusServiceUnavailable, "not available now")
	if diff := cmp.Diff("not available now\n", got.body); diff != "" {
		t.Errorf("the body tells why:\n%s", diff)
	}
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestTicksAreCountedAndLogged is not parallel: it looks at what this process counts and logs.
func TestTicksAreCountedAndLogged(t *testing.T) {
	address, _ := counted(t)
	down := serve(t, absent(t))
	tick := func(address, size string) {
		ask(t, http.MethodPost, address, headers(attributes(map[string]string{"bucketsize": size}), ""), "")
	}
	earlier := tickCounts(t, address)
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	for _, size := range []string{"hourly", "10-minutely", "hourly", "yearly", ""} {
		tick(address, size)
	}
	tick(down, "hourly")
	slog.SetDefault(before)

	var answered []string
	for line := range strings.Lines(log.String()) {
		var record struct {
			Level      string
			Msg        string
			Function   string
			BucketSize string `json:"bucket_size"`
			Seconds    float64
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if record.Msg == "tick answered" {
			answered = append(answered, fmt.Sprintf("%s %s %s", record.Level, record.Function, record.BucketSize))
			if record.Seconds <= 0 {
				t.Errorf("no duration: %s", line)
			}
		}
	}
	if diff := cmp.Diff([]string{"INFO counter hourly", "INFO counter 10-minutely", "INFO counter hourly"}, answered); diff != "" {
		t.Errorf("log differs (-want +got):\n%s", diff)
	}

	counted := tickCounts(t, address)
	for name, count := range earlier {
		if counted[name] -= count; counted[name] == 0 {
			delete(counted, name)
		}
	}
	want := map[string]float64{ // a tick is no delivery
		`chainmetrics_ticks_total{bucket_size="",status="400"}`:            2,
		`chainmetrics_ticks_total{bucket_size="10-minutely",status="204"}`: 1,
		`chainmetrics_ticks_total{bucket_size="hourly",status="204"}`:      2,
		`chainmetrics_ticks_total{bucket_size="hourly",status="503"}`:      1,
	}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("counts differ (-want +got):\n%s", diff)
	}
}

// tickCounts gives what this process has counted so far of ticks and deliveries, by name and labels.
func tickCounts(t *testing.T, address string) map[string]float64 {
	t.Helper()
	counts := map[string]float64{}
	for line := range strings.Lines(ask(t, http.MethodGet, address+"/metrics", nil, "").body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		family, _, _ := strings.Cut(name, "{")
		if family != "chainmetrics_ticks_total" && family != "chainmetrics_delivery_duration_seconds_count" {
			continue
		}
		count, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		counts[name] = count
	}
	return counts
}

func partitions(t *testing.T, database string) []string {
	t.Helper()
	const query = "select relid::regclass::text from pg_partition_tree('metrics_data') where level = 2 order by 1"
	rows, err := pipeline.Database(t, database).Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}
