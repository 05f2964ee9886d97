package wiring_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/config"
)

// counterHourly is a schedule as the planner makes them, among those of the manifests.
const counterHourly = `---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata:
  labels:
    bucket: hourly
  name: counter-hourly
  namespace: blockchain-metrics
spec:
  ceOverrides:
    extensions:
      bucketsize: hourly
      complexity: small
      metrictype: counter
  schedule: 8 * * * *
  sink:
    ref:
      apiVersion: eventing.knative.dev/v1
      kind: Broker
      name: metrics
  timezone: UTC
`

// local gives the manifests of the overlay local, with a schedule.
var local = sync.OnceValues(func() (string, error) {
	manifests, err := config.Render("local")
	return string(manifests) + counterHourly, err
})

func render(t *testing.T) string {
	t.Helper()
	manifests, err := local()
	if err != nil {
		t.Fatal(err)
	}
	return manifests
}

func read(t *testing.T, manifests string) *wiring.Wiring {
	t.Helper()
	w, err := wiring.Read([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// kinds are the metric types, in the order in which their manifests are rendered.
var kinds = []string{"counter", "gauge", "histogram"}

func TestReadTheOverlayLocal(t *testing.T) {
	t.Parallel()
	w := read(t, render(t))
	want := &wiring.Wiring{
		Brokers: []string{"metrics"},
		Feed: wiring.Process{
			Name: "feed", Program: "feed", Environ: []string{"CHAIN=bitcoin", "BLOCK_FILES=/blocks"},
			Secrets: []string{"postgres", "redis"},
		},
	}
	for _, kind := range kinds {
		want.Functions = append(want.Functions,
			wiring.Function{
				Process: wiring.Process{
					Name: kind, Program: kind, Environ: []string{"GOGC=800", "GOMEMLIMIT=900MiB"}, Secrets: []string{"postgres"},
				},
				Timeout: time.Minute,
			},
		)
		for _, complexity := range []string{"small", "medium", "large"} {
			name := kind + "-" + complexity
			want.Functions = append(want.Functions, wiring.Function{
				Process: wiring.Process{
					Name: name, Program: kind, Environ: []string{"DELIVERY_TIMEOUT=320s", "POSTGRES_POOL_SIZE=2"},
					Secrets: []string{"postgres", "metrics-connections"},
				},
				Concurrency: 1, Timeout: 330 * time.Second,
			})
			trigger := wiring.Trigger{
				Name: name, Broker: "metrics", Function: name,
				Attributes: map[string]string{"type": "dev.knative.sources.ping", "metrictype": kind, "complexity": complexity},
				Delivery:   wiring.Delivery{Retries: 5, Delay: time.Second, Timeout: 330 * time.Second, DeadLetter: "notify", Path: "/dead-letters"},
			}
			want.Triggers = append(want.Triggers, trigger)
			trigger.Name += "-runs"
			trigger.Attributes = map[string]string{
				"type": "dev.chainmetrics.run.requested.v1", "metrictype": kind, "complexity": complexity,
			}
			want.Triggers = append(want.Triggers, trigger)
		}
		want.Sources = append(want.Sources, wiring.Source{
			Process: wiring.Process{
				Name: kind + "-source", Program: "source", Environ: []string{"FUNCTION=" + kind, "GOGC=800", "GOMEMLIMIT=450MiB"},
				Secrets: []string{"redis"},
			},
			Sink: kind,
		})
	}
	want.Functions = append(want.Functions, wiring.Function{
		Process: wiring.Process{
			Name: "archive", Program: "archive", Environ: []string{"GOGC=800", "GOMEMLIMIT=900MiB"},
			Secrets: []string{"postgres", "redis"},
		},
		Timeout: time.Minute,
	})
	want.Sources = append(want.Sources, wiring.Source{
		Process: wiring.Process{
			Name: "archive-source", Program: "source", Environ: []string{"FUNCTION=archive", "GOGC=800", "GOMEMLIMIT=450MiB"},
			Secrets: []string{"redis"},
		},
		Sink: "archive",
	})
	want.Triggers = append(want.Triggers, wiring.Trigger{
		Name: "archive", Broker: "metrics", Function: "archive",
		Attributes: map[string]string{"type": "dev.knative.sources.ping", "function": "archive"},
		Delivery:   wiring.Delivery{Retries: 5, Delay: time.Second, Timeout: time.Minute, DeadLetter: "notify", Path: "/dead-letters"},
	})
	want.Functions = append(want.Functions, wiring.Function{
		Process: wiring.Process{
			Name: "scheduler", Program: "scheduler", Environ: []string{"POSTGRES_POOL_SIZE=3"}, Secrets: []string{"postgres"},
		},
		Concurrency: 1, Timeout: time.Minute, Broker: "metrics",
	})
	want.Triggers = append(want.Triggers, wiring.Trigger{
		Name: "scheduler", Broker: "metrics", Function: "scheduler",
		Attributes: map[string]string{"type": "dev.knative.sources.ping", "function": "scheduler"},
		Delivery:   wiring.Delivery{Retries: 5, Delay: time.Second, Timeout: time.Minute, DeadLetter: "notify", Path: "/dead-letters"},
	})
	want.Functions = append(want.Functions, wiring.Function{
		Process: wiring.Process{
			Name: "planner", Program: "planner", Environ: []string{"POSTGRES_POOL_SIZE=2", "MAX_BODY_BYTES=1048576"}, Secrets: []string{"postgres"},
		},
		Concurrency: 1, Timeout: time.Minute,
	})
	for name, attributes := range map[string]map[string]string{
		"planner":         {"type": "dev.knative.sources.ping", "function": "planner"},
		"planner-changes": {"type": "dev.chainmetrics.metric.changed.v1"},
	} {
		want.Triggers = append(want.Triggers, wiring.Trigger{
			Name: name, Broker: "metrics", Function: "planner", Attributes: attributes,
			Delivery: wiring.Delivery{Retries: 5, Delay: time.Second, Timeout: time.Minute, DeadLetter: "notify", Path: "/dead-letters"},
		})
	}
	want.Functions = append(want.Functions, wiring.Function{
		Process: wiring.Process{
			Name: "notify", Program: "notify", Environ: []string{"POSTGRES_POOL_SIZE=4", "MAX_BODY_BYTES=4194304"}, Secrets: []string{"postgres", "notify"},
		},
		Concurrency: 10, Timeout: time.Minute,
	})
	for name, attributes := range map[string]map[string]string{
		"notify":                {"type": "dev.knative.sources.ping", "function": "notify"},
		"notify-run-failed":     {"type": "dev.chainmetrics.run.failed.v1"},
		"notify-run-retried":    {"type": "dev.chainmetrics.run.retried.v1"},
		"notify-run-late":       {"type": "dev.chainmetrics.run.late.v1"},
		"notify-bucket-drifted": {"type": "dev.chainmetrics.bucket.drifted.v1"},
		"notify-check-failed":   {"type": "dev.chainmetrics.check.failed.v1"},
	} {
		want.Triggers = append(want.Triggers, wiring.Trigger{
			Name: name, Broker: "metrics", Function: "notify", Attributes: attributes,
			Delivery: wiring.Delivery{Retries: 7, Delay: time.Second, Timeout: time.Minute},
		})
	}
	for _, triggers := range [][]wiring.Trigger{want.Triggers, w.Triggers} {
		slices.SortFunc(triggers, func(a, b wiring.Trigger) int { return strings.Compare(a.Name, b.Name) })
	}
	schedules := w.Schedules
	w.Schedules = nil
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	from := time.Date(2026, 2, 27, 23, 59, 0, 0, time.UTC) // a Friday
	var got, expected []string
	for _, s := range schedules {
		got = append(got, fmt.Sprintf("%s %s to %s: %s of %s, %v",
			s.Name, s.When.Next(from).Format("01-02 15:04:05"), s.Broker, s.Event.Type(), s.Event.Source(), s.Event.Extensions()))
	}
	expected = append(expected, "archive 02-28 00:00:00 to metrics: dev.knative.sources.ping of "+
		"/apis/v1/namespaces/blockchain-metrics/pingsources/archive, map[function:archive]",
		"sweep 02-28 00:00:00 to metrics: dev.knative.sources.ping of "+
			"/apis/v1/namespaces/blockchain-metrics/pingsources/sweep, map[function:scheduler]",
		"notify 02-28 00:00:00 to metrics: dev.knative.sources.ping of "+
			"/apis/v1/namespaces/blockchain-metrics/pingsources/notify, map[function:notify]")
	expected = append(expected, "planner 02-27 23:59:30 to metrics: dev.knative.sources.ping of "+
		"/apis/v1/namespaces/blockchain-metrics/pingsources/planner, map[function:planner]",
		"counter-hourly 02-28 00:08:00 to metrics: dev.knative.sources.ping of "+
			"/apis/v1/namespaces/blockchain-metrics/pingsources/counter-hourly, map[bucketsize:hourly complexity:small metrictype:counter]")
	if diff := cmp.Diff(slices.Sorted(slices.Values(expected)), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("schedules (-want +got)\n%s", diff)
	}
}

// edit replaces the first text after a mark, which stand in the manifests.
func edit(t *testing.T, manifests, mark, text, by string) string {
	t.Helper()
	before, after, marked := strings.Cut(manifests, mark)
	if !marked || !strings.Contains(after, text) {
		t.Fatalf("the manifests have no %q after %q", text, mark)
	}
	return before + mark + strings.Replace(after, text, by, 1)
}

// Beginnings of objects, up to their spec.
const (
	counter      = "\n  name: counter\n  namespace: blockchain-metrics\nspec:\n  template:"
	counterSmall = "\n  name: counter-small\n  namespace: blockchain-metrics\nspec:\n  template:"
	brokerSpec   = "\nkind: Broker\n"
	triggerSpec  = "\nkind: Trigger\n"
	hourly       = "\n    bucket: hourly\n"
	sourceSpec   = "\nkind: Deployment\n"
	bindingSpec  = "\nkind: SinkBinding\n"
	sample       = "\n  name: sample\n"
	subscriber   = "\n  subscriber:\n"
	sinkSpec     = "    deadLetterSink:\n      ref:\n        apiVersion: serving.knative.dev/v1\n        kind: Service\n        name: notify\n      uri: /dead-letters\n"

	schedulerBinding = "\n  name: scheduler\n  namespace: blockchain-metrics\nspec:\n  sink:"
)

func TestReadOtherForms(t *testing.T) {
	t.Parallel()
	manifests := render(t)
	manifests = edit(t, manifests, triggerSpec, "  delivery:\n    backoffDelay: PT1S\n    backoffPolicy: exponential\n"+sinkSpec+"    retry: 5\n    timeout: PT330S\n", "")
	manifests = edit(t, manifests, brokerSpec, "    backoffDelay: PT1S\n    backoffPolicy: exponential\n",
		"    backoffDelay: PT1M1.5S\n    backoffPolicy: linear\n")
	manifests = edit(t, manifests, hourly, "  schedule: 8 * * * *\n", "  schedule: 0 12 * * *\n  data: '{\"a\":1}'\n  contentType: application/json\n")
	manifests = edit(t, manifests, hourly, "timezone: UTC", "timezone: Europe/Berlin")
	manifests = edit(t, manifests, bindingSpec, "spec:\n", "spec:\n  ceOverrides: {extensions: {origin: test}}\n")
	manifests = edit(t, manifests, counter, "timeoutSeconds: 60", "timeoutSeconds: null")
	w := read(t, manifests)
	if diff := cmp.Diff(wiring.Delivery{Retries: 5, Delay: 61500 * time.Millisecond, Linear: true}, w.Triggers[0].Delivery); diff != "" {
		t.Errorf("the Broker's delivery (-want +got)\n%s", diff)
	}
	s := w.Schedules[len(w.Schedules)-1]
	if next := s.When.Next(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)).UTC(); next.Hour() != 10 {
		t.Errorf("noon in Berlin's summer is %s", next)
	}
	if s.Event.DataContentType() != "application/json" || string(s.Event.Data()) != `{"a":1}` {
		t.Errorf("the event is %s", s.Event)
	}
	if diff := cmp.Diff(map[string]string{"origin": "test"}, w.Sources[0].Extensions); diff != "" {
		t.Errorf("the source's extensions (-want +got)\n%s", diff)
	}
	if got := w.Functions[0].Timeout; got != 5*time.Minute {
		t.Errorf("the timeout of a function without one is %s", got)
	}
}

func TestReadNamesMistakes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mark, text, by string
		want           string // the whole error
	}{
		"subscriber is not there": {
			triggerSpec, "kind: Service\n      name: counter-small", "kind: Service\n      name: counter-smal",
			`Trigger counter-small: spec.subscriber.ref: there is no Service "counter-smal"`,
		},
		"subscriber of another kind": {
			subscriber, "apiVersion: serving.knative.dev/v1", "apiVersion: v1",
			`Trigger counter-small: spec.subscriber.ref is "counter-small", a Service of v1: want a Service of serving.knative.dev/v1`,
		},
		"subscriber elsewhere": {
			subscriber, "kind: Service\n", "kind: Service\n      namespace: other\n",
			`Trigger counter-small: spec.subscriber.ref lies in another namespace, other`,
		},
		"subscriber by URI": {
			triggerSpec, "    ref:\n      apiVersion: serving.knative.dev/v1\n      kind: Service\n      name: counter-small\n", "    uri: http://x\n",
			"Trigger counter-small: spec.subscriber.uri is not carried out here\nTrigger counter-small: spec.subscriber.ref is missing",
		},
		"Trigger's Broker": {
			triggerSpec, "broker: metrics", "broker: metric", `Trigger counter-small: spec.broker: there is no Broker "metric"`,
		},
		"another dialect": {
			triggerSpec, "  filter:", "  filters: [{exact: {type: x}}]\n  filter:", "Trigger counter-small: spec.filters is not carried out here",
		},
		"dead letter sink": {
			triggerSpec, sinkSpec, "    deadLetterSink: {uri: http://x}\n",
			"Trigger counter-small: spec.delivery.deadLetterSink.ref is missing\n" +
				"Trigger counter-small: spec.delivery.deadLetterSink.uri is \"http://x\": only a path is carried out here",
		},
		"dead letter sink that is not there": {
			triggerSpec, "        name: notify", "        name: notary", `Trigger counter-small: spec.delivery.deadLetterSink.ref: there is no Service "notary"`,
		},
		"dead letters to who has not taken them": {
			triggerSpec, "        name: notify", "        name: counter-small",
			"Trigger counter-small: spec.delivery.deadLetterSink is its subscriber, counter-small, which has not taken the event",
		},
		"dead letters of a Broker": {
			brokerSpec, "    retry: 5", "    deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: notify}}\n    retry: 5",
			"Broker metrics: spec.delivery.deadLetterSink is not carried out here: give it to each Trigger",
		},
		"duration": {
			triggerSpec, "PT330S", "330s",
			`Trigger counter-small: spec.delivery.timeout is "330s": want hours, minutes and seconds of ISO 8601, as in PT1M30S`,
		},
		"Broker's duration": {
			brokerSpec, "PT1S", "PT1MS",
			`Broker metrics: spec.delivery.backoffDelay is "PT1MS": want hours, minutes and seconds of ISO 8601, as in PT1M30S`,
		},
		"back-off": {
			triggerSpec, "exponential", "quadratic", `Trigger counter-small: spec.delivery.backoffPolicy is "quadratic": want exponential or linear`,
		},
		"retries": {triggerSpec, "retry: 5", "retry: -1", "Trigger counter-small: spec.delivery.retry is -1: want at least 0"},
		"schedule's Broker": {
			hourly, "kind: Broker\n      name: metrics", "kind: Broker\n      name: others",
			`PingSource counter-hourly: spec.sink.ref: there is no Broker "others"`,
		},
		"no time zone": {
			hourly, "  timezone: UTC\n", "",
			`PingSource counter-hourly: spec.timezone is "": the schedule would be in the time zone of whatever node it runs on`,
		},
		"a machine's time zone": {
			hourly, "timezone: UTC", "timezone: Local",
			`PingSource counter-hourly: spec.timezone is "Local": the schedule would be in the time zone of whatever node it runs on`,
		},
		"unknown time zone": {
			hourly, "timezone: UTC", "timezone: Mars/Base",
			`PingSource counter-hourly: spec.schedule "8 * * * *": provided bad location Mars/Base: unknown time zone Mars/Base`,
		},
		"schedule": {
			hourly, "schedule: 8 * * * *", "schedule: 88 * * * *",
			`PingSource counter-hourly: spec.schedule "88 * * * *": end of range (88) above maximum (59): 88`,
		},
		"@every": {
			hourly, "schedule: 8 * * * *", "schedule: '@every 1h'", `PingSource counter-hourly: spec.schedule "@every 1h": Knative has no @every`,
		},
		"never": {
			hourly, "schedule: 8 * * * *", "schedule: 0 0 30 2 *", `PingSource counter-hourly: spec.schedule "0 0 30 2 *" is never due`,
		},
		"extension": {
			hourly, "      bucketsize:", "      bucket-size:",
			"PingSource counter-hourly: its CloudEvent: extension:bucket-size: bad key, CloudEvents attribute names MUST consist of " +
				"lower-case letters ('a' to 'z'), upper-case letters ('A' to 'Z') or digits ('0' to '9') from the ASCII character set",
		},
		"bucket size": {
			hourly, "      bucketsize: hourly", "      bucketsize: hour",
			"PingSource counter-hourly: its CloudEvent: unknown bucket size \"hour\": want one of minutely, 10-minutely, hourly, daily, weekly, monthly",
		},
		"nobody takes it": {
			hourly, "complexity: small\n      metrictype", "complexity: smal\n      metrictype",
			"PingSource counter-hourly: no Trigger of Broker metrics takes its events",
		},
		"nobody takes any": {
			triggerSpec, "type: dev.knative.sources.ping", "type: dev.knative.source.ping",
			"PingSource counter-hourly: no Trigger of Broker metrics takes its events",
		},
		"binary data": {
			hourly, "  schedule:", "  dataBase64: AA==\n  schedule:", "PingSource counter-hourly: spec.dataBase64 is not carried out here",
		},
		"source's sink": {
			bindingSpec, "kind: Service\n      name: counter", "kind: Service\n      name: summary",
			`SinkBinding counter-source: spec.sink.ref: there is no Service "summary"`,
		},
		"function's sink": {
			schedulerBinding, "kind: Broker\n      name: metrics", "kind: Broker\n      name: others",
			`SinkBinding scheduler: spec.sink.ref: there is no Broker "others"`,
		},
		"function that is bound to another": {
			schedulerBinding, "apiVersion: eventing.knative.dev/v1\n      kind: Broker\n      name: metrics",
			"apiVersion: serving.knative.dev/v1\n      kind: Service\n      name: counter",
			`SinkBinding scheduler: spec.sink.ref is "counter", a Service of serving.knative.dev/v1: want a Broker of eventing.knative.dev/v1`,
		},
		"subject": {
			bindingSpec, "kind: Deployment\n    name: counter-source", "kind: Deployment\n    name: source",
			"SinkBinding counter-source: spec.subject: there is no Deployment \"source\"\n" +
				"Deployment counter-source: no SinkBinding says where it sends to",
		},
		"not bound": {
			"\n", "apiVersion: sources.knative.dev/v1\nkind: SinkBinding", "apiVersion: sources.knative.dev/v2\nkind: SinkBinding",
			"SinkBinding counter-source: a SinkBinding of sources.knative.dev/v2 is not carried out here\n" +
				"Deployment counter-source: no SinkBinding says where it sends to",
		},
		"bound twice": {
			"", bindingSpec, bindingSpec + "metadata: {name: second, namespace: blockchain-metrics}\nspec:\n" +
				"  subject: {apiVersion: apps/v1, kind: Deployment, name: counter-source}\n" +
				"  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: counter}}\n" +
				"---\napiVersion: sources.knative.dev/v1\nkind: SinkBinding\n",
			"SinkBinding counter-source: Deployment counter-source is bound already",
		},
		"image": {
			sourceSpec, "image: ko://github.com/", "image: docker.io/",
			`Deployment counter-source: image "docker.io/chainmetrics/chainmetrics/events/source" is not built from this project: want ko://<import path>`,
		},
		"arguments": {
			sourceSpec, "      - env:", "      - args: [--fast]\n        env:",
			"Deployment counter-source: command and args of container source are not carried out here",
		},
		"env of another form": {
			sourceSpec, "          value: counter", "          valueFrom: {configMapKeyRef: {name: x, key: y}}",
			"Deployment counter-source: env FUNCTION.valueFrom is not carried out here",
		},
		"env that refers": {
			sourceSpec, "          value: counter", "          value: $(NAME)", "Deployment counter-source: env FUNCTION: $(…) is not carried out here",
		},
		"ConfigMap": {
			sourceSpec, "        - secretRef:\n            name: redis", "        - configMapRef:\n            name: redis",
			"Deployment counter-source: envFrom.configMapRef is not carried out here",
		},
		"another Secret": {
			counter, "name: postgres", "name: mongo",
			`Service counter: envFrom: nothing here has the variables of Secret "mongo": want one of postgres, redis, notify, metrics-connections`,
		},
		"Secret of another form": {
			counter, "name: postgres", "name: postgres\n            namespace: x", "Service counter: envFrom.secretRef.namespace is not carried out here",
		},
		"no Secret": {
			"kind: Secret\nmetadata:\n  labels:\n    app.kubernetes.io/instance: local\n    app.kubernetes.io/part-of: chainmetrics\n", "name: redis", "name: valkey",
			"Service archive: envFrom: there is no Secret \"redis\"\n" +
				"Deployment counter-source: envFrom: there is no Secret \"redis\"\nDeployment gauge-source: envFrom: there is no Secret \"redis\"\n" +
				"Deployment histogram-source: envFrom: there is no Secret \"redis\"\nDeployment archive-source: envFrom: there is no Secret \"redis\"\n" +
				"Job sample: envFrom: there is no Secret \"redis\"",
		},
		"second container": {
			counterSmall, "      containers:\n", "      containers:\n      - {name: proxy, image: x}\n",
			"Service counter-small: it has 2 containers and 0 init containers: want one container",
		},
		"one name": {
			sourceSpec, "  name: counter-source", "  name: counter-small",
			"Deployment counter-small: another process is named counter-small\n" +
				"SinkBinding counter-source: spec.subject: there is no Deployment \"counter-source\"\n" +
				"Deployment counter-small: no SinkBinding says where it sends to",
		},
		"negative limit": {
			counterSmall, "containerConcurrency: 1", "containerConcurrency: -1",
			"Service counter-small: containerConcurrency or timeoutSeconds is negative",
		},
		"feed": {sample, "name: feed", "name: food", "Job sample: there is none with a container feed"},
		"type": {
			triggerSpec, "retry: 5", "retry: often", "Trigger counter-small: spec: cannot unmarshal !!str `often` into int",
		},
		"YAML": {"", "apiVersion: v1", "a: b: c", "read manifests: yaml: mapping values are not allowed in this context"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := wiring.Read([]byte(edit(t, render(t), tt.mark, tt.text, tt.by)))
			if err == nil {
				t.Fatalf("it is read: %+v", w)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("the error (-want +got)\n%s", diff)
			}
		})
	}
}
