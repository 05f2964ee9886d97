package integration_test

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// shownMetric is a metric as docs/metrics.md has it.
type shownMetric struct {
	Kind, Labels, Programs string
}

var metricRow = regexp.MustCompile("(?m)^\\| `(chainmetrics_[a-z_]+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\|")

// documentedMetrics reads the tables of docs/metrics.md.
func documentedMetrics(t *testing.T) map[string]shownMetric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]shownMetric{}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		all[row[1]] = shownMetric{row[2], strings.TrimSpace(row[3]), strings.TrimSpace(row[4])}
	}
	return all
}

// scrape reads what a program exports of its own.
func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(families, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "chainmetrics_") })
	return families
}

// TestMetricsAreDocumented compares docs/metrics.md with what the programs export, when something has happened to each.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	const blocks = 20
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	store := pipeline.Store(t, s.databaseURL)
	pipeline.Apply(t, store, "gas.yaml", []byte(`{name: gas, type: counter, chains: [testchain], bucket_sizes: [hourly, daily],
		calculation_logic: {stream: {event_type: block}}}`))
	s.start(t)
	feedURL := "http://127.0.0.1:" + pipeline.FreePort(t)
	feed := s.feed(t, blocks, map[string]string{"FOLLOW": "true", "METRICS_PORT": feedURL[strings.LastIndex(feedURL, ":")+1:]})
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, feedURL)
	s.awaitApplied(t, blocks)
	if status, err := sendTick(t.Context(), s.counterURL, "counter", bucket.Hourly); err != nil || status != http.StatusNoContent {
		t.Fatalf("tick of the counter: %d, %v", status, err)
	}
	if _, err := s.database.Exec(t.Context(), pipeline.Troubles); err != nil {
		t.Fatal(err)
	}
	scheduler, schedulerURL := pipeline.Function(t, "scheduler", harness.Build(t, "functions/scheduler"), s.databaseURL,
		map[string]string{"K_SINK": s.counterURL})
	if err := scheduler.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, schedulerURL)
	exported := map[string]map[string]*dto.MetricFamily{ // before the sweep, which requests and sends what there is
		"scheduler": scrape(t, schedulerURL),
	}
	if sweep := exported["scheduler"]["chainmetrics_scheduler_last_sweep_timestamp_seconds"]; sweep != nil {
		t.Errorf("before the first sweep it began at %v", sweep)
	}
	status, err := sendPing(t.Context(), schedulerURL, map[string]string{events.ExtensionFunction: "scheduler"})
	if err != nil || status != http.StatusNoContent {
		t.Fatalf("tick of the scheduler: %d, %v", status, err)
	}
	maps.Copy(exported["scheduler"], scrape(t, schedulerURL))
	exported["functions"], exported["source"], exported["feed"] = scrape(t, s.counterURL), scrape(t, s.sourceURL), scrape(t, feedURL)
	got, programs := map[string]shownMetric{}, map[string][]string{}
	for _, program := range slices.Sorted(maps.Keys(exported)) {
		for name, family := range exported[program] {
			labels := map[string]bool{}
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					labels[label.GetName()] = true
				}
			}
			// The scheduler is a function as well.
			if program == "scheduler" && exported["functions"][name] != nil {
				continue
			}
			programs[name] = append(programs[name], program)
			got[name] = shownMetric{
				strings.ToLower(family.GetType().String()), strings.Join(slices.Sorted(maps.Keys(labels)), ", "), strings.Join(programs[name], ", "),
			}
		}
	}
	documented := documentedMetrics(t)
	// Planner and notify want a cluster, and something that goes wrong; tests/architecture knows what they export by name.
	maps.DeleteFunc(documented, func(_ string, m shownMetric) bool {
		return regexp.MustCompile("planner|notify").MatchString(m.Programs)
	})
	if diff := cmp.Diff(documented, got); diff != "" {
		t.Errorf("docs/metrics.md and what is exported differ (-page +programs)\n%s", diff)
	}
}
