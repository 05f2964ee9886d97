package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/planner/cluster"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// definition is one of a metric with bucket sizes.
func definition(name, sizes string) string {
	return "name: " + name + "\ntype: counter\ncalculation_logic: {stream: {event_type: block, value: event.gas_used}}\n" +
		"chains: [testchain]\nbucket_sizes: [" + sizes + "]\n---\n"
}

// world is a registry and a cluster.
type world struct {
	store  *postgres.Store
	server *server
	client *cluster.Cluster
	place  planner.Place
}

func newWorld(t *testing.T, definitions string) *world {
	t.Helper()
	return newWorldOver(t, harness.Database(t), definitions)
}

// newWorldOver is over a database.
func newWorldOver(t *testing.T, url, definitions string) *world {
	t.Helper()
	w := &world{store: pipeline.Store(t, url), server: newServer(t)}
	if definitions != "" {
		pipeline.Apply(t, w.store, "metrics.yaml", []byte(definitions))
	}
	w.client = w.server.client(t)
	owner, err := w.client.Owner(t.Context(), "planner")
	if err != nil {
		t.Fatal(err)
	}
	w.place = planner.Place{Namespace: namespace, Owner: &owner}
	return w
}

func (w *world) planner() *planner.Function { return planner.NewFunction(w.store, w.client, w.place) }

// pass makes a pass that must succeed, and gives what it has changed: created, changed, pruned.
func (w *world) pass(t *testing.T) [3]int {
	t.Helper()
	outcome, err := w.planner().Plan(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return [3]int{outcome.Created, outcome.Changed, outcome.Pruned}
}

// idle checks that another pass writes nothing.
func (w *world) idle(t *testing.T) {
	t.Helper()
	w.server.counts()
	if got := w.pass(t); got != [3]int{} {
		t.Errorf("a second pass has created, changed, pruned %v", got)
	}
	want := map[string]int{"list configmaps": 1, "list pingsources.sources.knative.dev": 1}
	if diff := cmp.Diff(want, w.server.counts()); diff != "" {
		t.Errorf("requests of a second pass (-want +got)\n%s", diff)
	}
}

func TestRegistryIsPlanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas_used", "hourly, daily")+definition("fees", "minutely"))
	if got := w.pass(t); got != [3]int{5, 0, 0} {
		t.Errorf("created, changed, pruned %v", got)
	}
	want := []string{
		"configmaps/metrics-config-fees", "configmaps/metrics-config-gas-used", "pingsources/metric-fees-minutely",
		"pingsources/metric-gas-used-daily", "pingsources/metric-gas-used-hourly",
	}
	if diff := cmp.Diff(want, w.server.names()); diff != "" {
		t.Errorf("objects (-want +got)\n%s", diff)
	}
	source := w.server.state()["pingsources/metric-gas-used-daily"].(map[string]any)
	owners := source["metadata"].(map[string]any)["ownerReferences"]
	if diff := cmp.Diff([]any{map[string]any{
		"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "planner", "uid": w.place.Owner.UID,
	}}, owners); diff != "" {
		t.Errorf("owners (-want +got)\n%s", diff)
	}
	w.idle(t)
}

// TestTheRegistryIsFollowed through deletions, other types, sizes and schedules.
func TestTheRegistryIsFollowed(t *testing.T) {
	t.Parallel()
	const gas = "name: gas\ntype: %s\ncalculation_logic: {stream: {event_type: block, value: event.gas_used}}\nchains: [testchain]\n" +
		"bucket_sizes: [%s]\n%s"
	tests := map[string]struct {
		to   string // empty: it is deleted
		want [3]int
		left []string
	}{
		"deleted": {"", [3]int{0, 0, 3}, nil},
		"size dropped": {
			fmt.Sprintf(gas, "counter", "daily", ""), [3]int{0, 1, 1}, []string{"configmaps/metrics-config-gas", "pingsources/metric-gas-daily"},
		},
		"size added": {
			fmt.Sprintf(gas, "counter", "hourly, daily, weekly", ""),
			[3]int{1, 1, 0},
			[]string{"configmaps/metrics-config-gas", "pingsources/metric-gas-daily", "pingsources/metric-gas-hourly", "pingsources/metric-gas-weekly"},
		},
		"another schedule": {
			fmt.Sprintf(gas, "counter", "hourly, daily", "schedule: 7 * * * *\nschedule_timezone: Asia/Kolkata\n"),
			[3]int{0, 3, 0},
			[]string{"configmaps/metrics-config-gas", "pingsources/metric-gas-daily", "pingsources/metric-gas-hourly"},
		},
		"another complexity": {
			fmt.Sprintf(gas, "counter", "hourly, daily", "complexity: large\n"),
			[3]int{0, 3, 0},
			[]string{"configmaps/metrics-config-gas", "pingsources/metric-gas-daily", "pingsources/metric-gas-hourly"},
		},
		"another type": {
			fmt.Sprintf(gas, "gauge", "hourly, daily", ""),
			[3]int{0, 3, 0},
			[]string{"configmaps/metrics-config-gas", "pingsources/metric-gas-daily", "pingsources/metric-gas-hourly"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fmt.Sprintf(gas, "counter", "hourly, daily", ""))
			w.pass(t)
			if name == "deleted" || name == "another type" {
				if _, err := w.store.DeleteMetric(t.Context(), "gas"); err != nil {
					t.Fatal(err)
				}
			}
			if test.to != "" {
				pipeline.Apply(t, w.store, "metrics.yaml", []byte(test.to))
			}
			if got := w.pass(t); got != test.want {
				t.Errorf("created, changed, pruned %v, want %v", got, test.want)
			}
			if diff := cmp.Diff(test.left, w.server.names()); diff != "" {
				t.Errorf("objects (-want +got)\n%s", diff)
			}
			w.idle(t)
			before := w.server.state()
			fresh := newServer(t)
			all := &world{store: w.store, server: fresh, client: fresh.client(t), place: w.place}
			all.pass(t)
			if diff := cmp.Diff(fresh.state(), before); diff != "" {
				t.Errorf("objects (-planned anew +followed)\n%s", diff)
			}
		})
	}
}

// TestWhatSomebodyHasDoneIsMended: by the next pass, once.
func TestWhatSomebodyHasDoneIsMended(t *testing.T) {
	t.Parallel()
	const source, config = "metric-gas-daily", "metrics-config-gas"
	tests := map[string]struct{ resource, name, change string }{ // without a change the object is deleted
		"deleted":              {"pingsources", source, ""},
		"config deleted":       {"configmaps", config, ""},
		"schedule":             {"pingsources", source, "spec: {schedule: 1 1 1 1 1}"},
		"schedule removed":     {"pingsources", source, "spec: {schedule: null}"},
		"time zone":            {"pingsources", source, "spec: {timezone: Asia/Tokyo}"},
		"sink":                 {"pingsources", source, "spec: {sink: {ref: {name: default}}}"},
		"extension":            {"pingsources", source, "spec: {ceOverrides: {extensions: {metric: fees}}}"},
		"extensions removed":   {"pingsources", source, "spec: {ceOverrides: null}"},
		"label":                {"pingsources", source, "metadata: {labels: {bucket: hourly}}"},
		"label of the planner": {"pingsources", source, "metadata: {labels: {app.kubernetes.io/managed-by: null}}"},
		"another manager":      {"configmaps", config, "metadata: {labels: {app.kubernetes.io/managed-by: somebody}}"},
		"labels removed":       {"configmaps", config, "metadata: {labels: null}"},
		"owner removed":        {"pingsources", source, "metadata: {ownerReferences: null}"},
		"annotation removed":   {"pingsources", source, "metadata: {annotations: null}"},
		"digest":               {"configmaps", config, "metadata: {annotations: {chainmetrics.dev/applied: x}}"},
		"definition":           {"configmaps", config, "data: {metric.json: '{}'}"},
		"dependencies removed": {"configmaps", config, "data: {dependencies.json: null}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, definition("gas", "hourly, daily"))
			w.pass(t)
			before, want := w.server.state(), [3]int{0, 1, 0}
			if test.change == "" {
				w.server.remove(test.resource, test.name)
				want = [3]int{1, 0, 0}
			} else {
				w.server.put(t, test.resource, test.name, "kubectl-edit", test.change)
			}
			if strings.Contains(test.change, "managed-by") || name == "labels removed" {
				want = [3]int{1, 0, 0} // it was not found by its label
			}
			if cmp.Equal(before, w.server.state()) {
				t.Fatal("nothing was done")
			}
			if got := w.pass(t); got != want {
				t.Errorf("created, changed, pruned %v, want %v", got, want)
			}
			if diff := cmp.Diff(before, w.server.state()); diff != "" {
				t.Errorf("objects (-before +mended)\n%s", diff)
			}
			w.idle(t)
		})
	}
}

// TestWhatOthersAddStays, and costs no write.
func TestWhatOthersAddStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	w.pass(t)
	w.server.put(t, "pingsources", "metric-gas-daily", "knative", "{metadata: {annotations: {sources.knative.dev/creator: x}}, spec: {sink: {ref: {namespace: "+namespace+"}}}}")
	before := w.server.state()
	w.idle(t)
	if diff := cmp.Diff(before, w.server.state()); diff != "" {
		t.Error(diff)
	}
}

// TestWhatIsNoLongerWantedGoes: a field that an earlier version has applied, which a comparison of fields does not show.
func TestWhatIsNoLongerWantedGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	w.pass(t)
	want := w.server.state()
	objects, err := planner.ObjectsOf(pipeline.Apply(t, w.store, "metrics.yaml", []byte(definition("gas", "daily")))[0], namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		o.Metadata.Labels["unit"] = "gas"
		o.Metadata.Annotations = map[string]string{"chainmetrics.dev/applied": "before"}
		if err := w.client.Apply(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.pass(t); got != [3]int{0, 2, 0} {
		t.Errorf("created, changed, pruned %v", got)
	}
	if diff := cmp.Diff(want, w.server.state()); diff != "" {
		t.Errorf("objects (-want +got)\n%s", diff)
	}
	w.place.Owner = nil
	if got := w.pass(t); got != [3]int{0, 2, 0} {
		t.Errorf("without an owner: created, changed, pruned %v", got)
	}
	for place, o := range w.server.state() {
		if owners := o.(map[string]any)["metadata"].(map[string]any)["ownerReferences"]; owners != nil {
			t.Errorf("%s is owned by %v", place, owners)
		}
	}
	w.idle(t)
}

// TestAMetricWithoutAScheduleIsKept as it was planned before, is told, and stops no other.
func TestAMetricWithoutAScheduleIsKept(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	w := newWorldOver(t, url, definition("gas", "daily")+definition("fees", "daily"))
	w.pass(t)
	before := w.server.state()
	const spoil = `update metric_registry set definition = definition || '{"schedule": "often"}' where name = 'gas'`
	if _, err := pipeline.Database(t, url).Exec(t.Context(), spoil); err != nil {
		t.Fatal(err)
	}
	w.server.remove("pingsources", "metric-fees-daily")
	outcome, err := w.planner().Plan(t.Context(), now)
	refusal := fmt.Sprint(outcome.Refusal())
	if err != nil || !strings.Contains(refusal, "plan daily of gas: ") || outcome.Created != 1 || outcome.Pruned != 0 || outcome.Complete() {
		t.Errorf("the outcome is %+v, %v", outcome, err)
	}
	if diff := cmp.Diff(before, w.server.state()); diff != "" {
		t.Errorf("objects (-before +after)\n%s", diff)
	}
}

// TestForeignObjectsAreLeftAlone: those that have a planned one's name, and those that only look like one. It is told.
func TestForeignObjectsAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "hourly, daily"))
	w.server.put(t, "pingsources", "metric-gas-daily", "kubectl", "spec: {schedule: 1 1 1 1 1}")
	w.server.put(t, "pingsources", "metric-old-daily", "kubectl", "{metadata: {labels: {metric: old}}, spec: {schedule: 1 1 1 1 1}}")
	w.server.put(t, "configmaps", "metrics-config-other", "argocd", "{metadata: {labels: {app.kubernetes.io/managed-by: argocd}}, data: {a: b}}")
	before := w.server.state()
	outcome, err := w.planner().Plan(t.Context(), now)
	refusal := outcome.Refusal()
	if err != nil || !errors.Is(refusal, planner.ErrForeign) || !strings.Contains(refusal.Error(), "metric-gas-daily") {
		t.Errorf("the refusal is %v; %v", refusal, err)
	}
	if outcome.Created != 2 || len(outcome.Refused) != 1 || outcome.Pruned != 0 {
		t.Errorf("the outcome is %+v", outcome)
	}
	after := w.server.state()
	for place := range before {
		if diff := cmp.Diff(before[place], after[place]); diff != "" {
			t.Errorf("%s (-before +after)\n%s", place, diff)
		}
	}
	w.server.remove("pingsources", "metric-gas-daily")
	if got := w.pass(t); got != [3]int{1, 0, 0} {
		t.Errorf("when it is gone: created, changed, pruned %v", got)
	}
}

// TestCopiesAreLeftAlone: somebody has read a planned object, given it another name, and applied it, with all labels. Neither is it
// pruned, nor overwritten where its name is planned later. What else the planner's manager has written is no Apply.
func TestCopiesAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, manager := range map[string]string{"kubectl": "kubectl-client-side-apply", "the same manager": planner.Manager} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, definition("gas", "daily"))
			w.pass(t)
			for place, o := range w.server.state() {
				resource, _, _ := strings.Cut(place, "/")
				copied, err := json.Marshal(map[string]any{"metadata": map[string]any{
					"labels": o.(map[string]any)["metadata"].(map[string]any)["labels"],
				}, "spec": o.(map[string]any)["spec"], "data": o.(map[string]any)["data"]})
				if err != nil {
					t.Fatal(err)
				}
				w.server.put(t, resource, map[string]string{"pingsources": "metric-fees-daily", "configmaps": "metrics-config-fees"}[resource], manager, string(copied))
			}
			before := w.server.state()
			w.idle(t)
			pipeline.Apply(t, w.store, "fees.yaml", []byte(definition("fees", "daily")))
			outcome, err := w.planner().Plan(t.Context(), now)
			if err != nil || !errors.Is(outcome.Refusal(), planner.ErrForeign) || len(outcome.Refused) != 2 {
				t.Errorf("the outcome is %+v, %v", outcome, err)
			}
			if diff := cmp.Diff(before, w.server.state()); diff != "" {
				t.Errorf("objects (-before +after)\n%s", diff)
			}
		})
	}
}

// TestRefusalsOfTheServer stop one object. The error says which; the next pass does it. What another pass does not mend is no error.
func TestRefusalsOfTheServer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		verb  string
		code  int
		says  string
		again bool // trying again may help
	}{
		"error":               {"patch", http.StatusInternalServerError, "apply PingSource metric-gas-daily: ", true},
		"conflict":            {"patch", http.StatusConflict, "apply PingSource metric-gas-daily: ", true},
		"timeout":             {"patch", http.StatusGatewayTimeout, "apply PingSource metric-gas-daily: ", true},
		"too many":            {"patch", http.StatusTooManyRequests, "apply PingSource metric-gas-daily: ", true},
		"read":                {"get", http.StatusInternalServerError, "read PingSource metric-gas-daily: ", true},
		"invalid":             {"patch", http.StatusUnprocessableEntity, "apply PingSource metric-gas-daily: ", false},
		"webhook":             {"patch", http.StatusBadRequest, "apply PingSource metric-gas-daily: ", false},
		"too large":           {"patch", http.StatusRequestEntityTooLarge, "apply PingSource metric-gas-daily: ", false},
		"may not be read":     {"get", http.StatusForbidden, "the Role planner does not let it get pingsources.sources.knative.dev", false},
		"may not be applied":  {"patch", http.StatusForbidden, "the Role planner does not let it create and patch pingsources.sources.knative.dev", false},
		"may not be deleted":  {"delete", http.StatusForbidden, "the Role planner does not let it delete pingsources.sources.knative.dev", false},
		"cannot be deleted":   {"delete", http.StatusInternalServerError, "delete PingSource metric-gas-daily: ", true},
		"changed before that": {"delete", http.StatusConflict, "delete PingSource metric-gas-daily: ", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, definition("gas", "hourly, daily"))
			want := [3]int{1, 0, 0}
			if test.verb == "delete" {
				w.pass(t)
				if _, err := w.store.DeleteMetric(t.Context(), "gas"); err != nil {
					t.Fatal(err)
				}
				want = [3]int{0, 0, 1}
			}
			w.server.refusing(func(verb, _, name string) int {
				if verb == test.verb && name == "metric-gas-daily" {
					return test.code
				}
				return 0
			})
			outcome, err := w.planner().Plan(t.Context(), now)
			if (err != nil) != test.again {
				t.Errorf("the error is %v", err)
			}
			if told := fmt.Sprint(err, outcome.Refusal()); !strings.Contains(told, test.says) {
				t.Errorf("it tells %s", told)
			}
			if len(outcome.Failed)+len(outcome.Refused) != 1 || outcome.Created+outcome.Pruned != 2 || outcome.Complete() {
				t.Errorf("the outcome is %+v", outcome)
			}
			w.server.refusing(nil)
			if got := w.pass(t); got != want {
				t.Errorf("then created, changed, pruned %v, want %v", got, want)
			}
		})
	}
}

// TestAConflictIsTriedAgain at once.
func TestAConflictIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	refusals := 0
	w.server.refusing(func(verb, _, _ string) int {
		if refusals++; verb == "patch" && refusals < 4 {
			return http.StatusConflict
		}
		return 0
	})
	if got := w.pass(t); got != [3]int{2, 0, 0} {
		t.Errorf("created, changed, pruned %v", got)
	}
}

// TestNothingIsPrunedWhereTheRegistryIsNotRead, nor done where the objects are not.
func TestNothingIsPrunedWhereTheRegistryIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	w.pass(t)
	before := w.server.state()
	w.server.refusing(func(verb, resource, _ string) int {
		if verb == "list" && resource == "configmaps" {
			return http.StatusForbidden
		}
		return 0
	})
	_, err := w.planner().Plan(t.Context(), now)
	if err == nil || !strings.Contains(err.Error(), "the Role planner does not let it list configmaps") {
		t.Errorf("the error is %v", err)
	}
	w.server.refusing(nil)
	w.store.Close()
	f := w.planner()
	if err := f.Tick(t.Context(), events.Tick{Function: planner.Name}, now); err == nil || errors.Is(err, events.ErrInvalid) {
		t.Errorf("without a registry the error is %v", err)
	}
	if err := f.Ready(t.Context()); err == nil {
		t.Error("without a registry it is ready")
	}
	if diff := cmp.Diff(before, w.server.state()); diff != "" {
		t.Errorf("objects (-before +after)\n%s", diff)
	}
}

// busy is a cluster in which something happens before the objects are listed.
type busy struct {
	planner.Cluster
	before func()
}

func (b busy) List(ctx context.Context) ([]planner.Live, error) {
	b.before()
	return b.Cluster.List(ctx)
}

// TestNothingNewIsPruned: a metric is made, and another planner plans it, while this one begins. Were the registry read before
// the objects are listed, they would be those of no metric.
func TestNothingNewIsPruned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	f := planner.NewFunction(w.store, busy{w.client, func() {
		pipeline.Apply(t, w.store, "fees.yaml", []byte(definition("fees", "daily")))
		w.pass(t)
	}}, w.place)
	outcome, err := f.Plan(t.Context(), now)
	if err != nil || outcome.Pruned > 0 || outcome.Unchanged != 4 {
		t.Errorf("the outcome is %+v, %v", outcome, err)
	}
}

// TestPlannersSideBySide end in what one would have made.
func TestPlannersSideBySide(t *testing.T) {
	t.Parallel()
	var definitions strings.Builder
	for i := range 30 {
		definitions.WriteString(definition(fmt.Sprint("m", i), "hourly, daily"))
	}
	w := newWorld(t, definitions.String())
	gone, err := planner.ObjectsOf(metric.Definition{Name: "gone"}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.Apply(t.Context(), gone[0]); err != nil {
		t.Fatal(err)
	}
	var passes sync.WaitGroup
	for range 3 {
		f := w.planner()
		passes.Go(func() {
			if _, err := f.Plan(t.Context(), now); err != nil {
				t.Error(err)
			}
		})
	}
	passes.Wait()
	if got := len(w.server.names()); got != 90 {
		t.Errorf("%d objects, want 90", got)
	}
	w.idle(t)
}

// changed is the notice of a change.
func changed(t *testing.T, name, change string, version int64) event.Event {
	t.Helper()
	details := fmt.Sprintf(`{"change": %q, "version": %d}`, change, version)
	ce, err := events.Notice{
		ID: 1, Type: events.TypeMetricChanged, Time: now, Details: []byte(details),
		Subject: events.Window{Metric: name, MetricType: "counter", Complexity: "small"},
	}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return ce
}

// TestNoticesOfWhatIsKnownMakeNoPass: a thousand notices of a thousand metrics that were applied together.
func TestNoticesOfWhatIsKnownMakeNoPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	f := w.planner()
	hear := func(name, change string, version int64) bool {
		t.Helper()
		w.server.counts()
		if err := f.Hear(t.Context(), changed(t, name, change, version), now); err != nil {
			t.Fatal(err)
		}
		return len(w.server.counts()) > 0
	}
	if !hear("gas", events.MetricCreated, 1) {
		t.Error("the first notice makes no pass")
	}
	if hear("gas", events.MetricCreated, 1) {
		t.Error("a notice that comes twice makes another pass")
	}
	if !hear("fees", events.MetricCreated, 1) || !hear("gas", events.MetricUpdated, 2) || !hear("gas", events.MetricDeleted, 1) {
		t.Error("a notice of something new makes no pass")
	}
	if _, err := w.store.DeleteMetric(t.Context(), "gas"); err != nil {
		t.Fatal(err)
	}
	w.server.refusing(func(verb, _, _ string) int {
		if verb == "delete" {
			return http.StatusInternalServerError
		}
		return 0
	})
	if err := f.Hear(t.Context(), changed(t, "gas", events.MetricDeleted, 1), now); err == nil {
		t.Error("a deletion that could not be carried out is answered")
	}
	w.server.refusing(nil)
	if !hear("gas", events.MetricDeleted, 1) || len(w.server.names()) > 0 {
		t.Errorf("after the notice of a deletion there are %q", w.server.names())
	}
	if hear("gas", events.MetricDeleted, 1) {
		t.Error("a deletion that is known makes another pass")
	}
	pipeline.Apply(t, w.store, "gas.yaml", []byte(definition("gas", "daily")))
	w.server.refusing(func(verb, _, _ string) int {
		if verb == "patch" {
			return http.StatusInternalServerError
		}
		return 0
	})
	for range 2 {
		w.server.counts()
		if err := f.Hear(t.Context(), changed(t, "gas", events.MetricCreated, 1), now); err == nil || len(w.server.counts()) == 0 {
			t.Errorf("after a pass that has failed: %v", err)
		}
	}
	if err := f.Hear(t.Context(), event.New(), now); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("another notice: %v", err)
	}
	if err := f.Tick(t.Context(), events.Tick{Function: "archive"}, now); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("another's tick: %v", err)
	}
}

// TestARefusalMakesNoMorePasses: an object that cannot be made, for whatever reason, costs neither a pass for each notice of the other
// metrics nor an error. What another pass may do costs one for each of its own notices.
func TestARefusalMakesNoMorePasses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		foreign bool
		code    int
		want    [2]int // passes, and errors, of a hundred notices twice each
	}{
		"somebody else's object": {true, 0, [2]int{1, 0}},
		"invalid":                {false, http.StatusUnprocessableEntity, [2]int{1, 0}},
		"forbidden":              {false, http.StatusForbidden, [2]int{1, 0}},
		"not now":                {false, http.StatusServiceUnavailable, [2]int{3, 3}}, // of the first notice, and the two of the metric
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const many = 100
			var definitions strings.Builder
			for i := range many {
				definitions.WriteString(definition(fmt.Sprint("m", i), "daily"))
			}
			w := newWorld(t, definitions.String())
			if test.foreign {
				w.server.put(t, "pingsources", "metric-m7-daily", "kubectl", "spec: {schedule: 1 1 1 1 1}")
			}
			w.server.refusing(func(verb, _, name string) int {
				if verb == "patch" && name == "metric-m7-daily" {
					return test.code
				}
				return 0
			})
			f, got := w.planner(), [2]int{}
			for i := range 2 * many {
				if f.Hear(t.Context(), changed(t, fmt.Sprint("m", i/2), events.MetricCreated, 1), now) != nil {
					got[1]++
				}
			}
			got[0] = w.server.counts()["list configmaps"]
			if got != test.want {
				t.Errorf("passes, errors %v, want %v", got, test.want)
			}
			if err := f.Tick(t.Context(), events.Tick{Function: planner.Name}, now); (err != nil) != (test.want[1] > 0) {
				t.Errorf("a tick fails with %v", err)
			}
		})
	}
}

// TestReadinessIsTold: how many PingSources are ready, and after how long all were. What Knative says of an earlier generation does
// not count.
func TestReadinessIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "hourly, daily"))
	w.pass(t)
	tell := func(ready int, after time.Duration) {
		t.Helper()
		outcome, err := w.planner().Plan(t.Context(), now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if outcome.PingSources != 2 || outcome.Ready != ready || outcome.ReadyAfter != after {
			t.Errorf("%d of %d are ready, after %s; want %d of 2, after %s", outcome.Ready, outcome.PingSources, outcome.ReadyAfter, ready, after)
		}
	}
	tell(0, 0)
	w.server.ready(t, now.Add(5*time.Second), "metric-gas-daily")
	tell(1, 0)
	w.server.ready(t, now.Add(9*time.Second), "metric-gas-hourly")
	tell(2, 9*time.Second)
	w.server.put(t, "pingsources", "metric-gas-daily", "kubectl", "spec: {schedule: 1 1 1 1 1}")
	tell(1, 0)
	w.server.ready(t, now.Add(time.Hour+3*time.Second), "metric-gas-daily")
	tell(2, 3*time.Second)
}

// TestAThousandMetrics are planned in a pass that ends in time. Another reads them by pages, and writes nothing.
func TestAThousandMetrics(t *testing.T) {
	t.Parallel()
	const many = 1000
	definitions := make([]metric.Definition, 0, many)
	of := pipeline.Apply(t, pipeline.Store(t, harness.Database(t)), "m.yaml", []byte(definition("m", "hourly, daily, weekly")))[0]
	for i := range many {
		of.Name = fmt.Sprintf("metric_%d", i)
		definitions = append(definitions, of)
	}
	w := newWorld(t, "")
	if _, err := w.store.ApplyMetrics(t.Context(), definitions); err != nil {
		t.Fatal(err)
	}
	begin, created, passes := time.Now(), 0, 0
	for complete := false; !complete && passes < 10; passes++ { // one suffices, unless the machine has much else to do
		outcome, err := w.planner().Plan(t.Context(), now)
		created, complete = created+outcome.Created, outcome.Complete() && err == nil
	}
	first := time.Since(begin)
	if created != 4*many {
		t.Errorf("%d objects were created", created)
	}
	w.server.counts()
	if got := w.pass(t); got != [3]int{} {
		t.Errorf("a second pass has created, changed, pruned %v", got)
	}
	t.Logf("%d objects: %d passes in %s, another in %s", 4*many, passes, first, time.Since(begin)-first)
	if diff := cmp.Diff(map[string]int{"list configmaps": 2, "list pingsources.sources.knative.dev": 6}, w.server.counts()); diff != "" {
		t.Errorf("requests of the second pass (-want +got)\n%s", diff)
	}
	sources := slices.DeleteFunc(w.server.names(), func(place string) bool { return !strings.HasPrefix(place, "pingsources/") })
	for i, place := range sources {
		w.server.ready(t, now.Add(time.Duration(i)*time.Millisecond), strings.TrimPrefix(place, "pingsources/"))
	}
	outcome, err := w.planner().Plan(t.Context(), now)
	if err != nil || outcome.Ready != 3*many || outcome.ReadyAfter != 2*time.Second {
		t.Errorf("the outcome is %+v, %v", outcome, err)
	}
}

// TestTimeIsUp: a pass that has no time left says so, and the next one goes on.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	ctx, cancel := context.WithCancel(t.Context())
	f := planner.NewFunction(w.store, w.client, w.place)
	w.server.refusing(func(verb, _, _ string) int {
		if verb == "get" || verb == "patch" {
			cancel()
		}
		return 0
	})
	outcome, err := f.Plan(ctx, now)
	if err == nil || outcome.Complete() {
		t.Errorf("the outcome is %+v, %v", outcome, err)
	}
	w.server.refusing(nil)
	w.pass(t)
	w.idle(t)
	if got := slices.Collect(maps.Keys(w.server.state())); len(got) != 2 {
		t.Errorf("objects %q", got)
	}
}
