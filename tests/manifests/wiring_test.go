package manifests_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// wired: events arrive: everything that is named is there, and every tick has a Trigger that takes it.
func wired(objects []object) []error {
	var found findings
	brokers, triggers := of[*eventingv1.Broker](objects), of[*eventingv1.Trigger](objects)
	var ticks []tick
	for _, source := range of[*sourcesv1.PingSource](objects) {
		where := title(source)
		if !exists(source.Spec.Sink, source.Namespace, objects) {
			found.add(where, "its sink is not there")
		}
		if location, err := time.LoadLocation(source.Spec.Timezone); err != nil || source.Spec.Timezone == "" || location == time.Local {
			found.add(where, "time zone %q; without one the schedule is in that of a cluster's node", source.Spec.Timezone)
		}
		ce, err := ping(source)
		if err != nil {
			found.add(where, "%w", err)
			continue
		}
		ticks = append(ticks, tick{source, ce})
		parsed, err := events.ParseTick(ce)
		if err != nil {
			found.add(where, "%w", err)
		} else if _, err := bucket.ParseSize(parsed.BucketSize); err != nil && parsed.BucketSize != "" {
			found.add(where, "%w", err)
		}
		if !slices.ContainsFunc(triggers, func(t *eventingv1.Trigger) bool { return takes(t, ticks[len(ticks)-1]) }) {
			found.add(where, "no Trigger takes its events")
		}
	}
	for _, trigger := range triggers {
		where := title(trigger)
		if !slices.ContainsFunc(brokers, func(b *eventingv1.Broker) bool {
			return trigger.Spec.Broker == b.Name && trigger.Namespace == b.Namespace
		}) {
			found.add(where, "broker %q is not there", trigger.Spec.Broker)
		}
		if !exists(trigger.Spec.Subscriber, trigger.Namespace, objects) {
			found.add(where, "its subscriber is not there")
		}
		if len(trigger.Spec.Filters) > 0 {
			found.add(where, "it has filters, which `chainmetrics up` does not know; it knows filter")
		}
		if trigger.Spec.Filter == nil || !slices.Contains(events.Types(), trigger.Spec.Filter.Attributes["type"]) {
			found.add(where, "it filters on no type of event that package events defines")
			continue
		}
		if trigger.Spec.Filter.Attributes["type"] == events.TypePing &&
			!slices.ContainsFunc(ticks, func(tick tick) bool { return takes(trigger, tick) }) {
			found.add(where, "no PingSource sends what it filters on")
		}
	}
	for _, binding := range of[*sourcesv1.SinkBinding](objects) {
		where, subject := title(binding), binding.Spec.Subject
		ref := &duckv1.KReference{Kind: subject.Kind, Namespace: subject.Namespace, Name: subject.Name, APIVersion: subject.APIVersion}
		if !exists(duckv1.Destination{Ref: ref}, binding.Namespace, objects) {
			found.add(where, "its subject is not there")
		}
		if !exists(binding.Spec.Sink, binding.Namespace, objects) {
			found.add(where, "its sink is not there")
		}
	}
	return slices.Concat(found, woken(ticks, triggers), requested(triggers, ticks))
}

// requested checks that requests of each complexity wake each metric type that ticks wake, once.
func requested(triggers []*eventingv1.Trigger, ticks []tick) []error {
	var found findings
	for _, t := range ticks {
		metricType, size := t.event.Extensions()[events.ExtensionMetricType], t.event.Extensions()[events.ExtensionBucketSize]
		if metricType == nil || size != bucket.Daily.String() {
			continue
		}
		for _, complexity := range []string{"small", "medium", "large"} {
			request := events.RunRequest{Metric: "m", MetricType: fmt.Sprint(metricType), BucketSize: "daily", Complexity: complexity}
			asked := tick{t.source, request.CloudEvent("scheduler", time.Unix(0, 0))}
			taken := slices.DeleteFunc(slices.Clone(triggers), func(t *eventingv1.Trigger) bool { return !takes(t, asked) })
			if len(taken) != 1 || taken[0].Spec.Subscriber.Ref == nil ||
				taken[0].Spec.Subscriber.Ref.Name != request.MetricType+"-"+complexity {
				found.add("metric type "+request.MetricType, "%d Triggers take requests of %s complexity, want the one of its Service",
					len(taken), complexity)
			}
		}
	}
	return found
}

// woken checks that each tick wakes one Service, that of the metric's type and complexity where it names a metric.
func woken(ticks []tick, triggers []*eventingv1.Trigger) []error {
	var found findings
	for _, t := range ticks {
		taken := slices.DeleteFunc(slices.Clone(triggers), func(trigger *eventingv1.Trigger) bool { return !takes(trigger, t) })
		parsed, err := events.ParseTick(t.event)
		if err != nil || len(taken) == 0 {
			continue // this was found before
		}
		want := parsed.Function
		if parsed.Metric != "" {
			want += "-" + parsed.Complexity
		}
		if len(taken) != 1 || taken[0].Spec.Subscriber.Ref == nil || taken[0].Spec.Subscriber.Ref.Name != want {
			found.add(title(t.source), "%d Triggers take its events, want that of Service %s", len(taken), want)
		}
	}
	return found
}

// tick is what a PingSource sends.
type tick struct {
	source *sourcesv1.PingSource
	event  event.Event
}

// ping gives the event that Knative sends for a PingSource.
func ping(source *sourcesv1.PingSource) (event.Event, error) {
	ce := event.New()
	ce.SetID("1")
	ce.SetType(sourcesv1.PingSourceEventType)
	ce.SetSource(sourcesv1.PingSourceSource(source.Namespace, source.Name))
	if source.Spec.CloudEventOverrides != nil {
		for name, value := range source.Spec.CloudEventOverrides.Extensions {
			ce.SetExtension(name, value)
		}
	}
	if err := ce.Validate(); err != nil {
		return ce, fmt.Errorf("it sends no CloudEvent: %w", err)
	}
	return ce, nil
}

// takes tells, with Knative's own filter, whether a Trigger takes a tick.
func takes(trigger *eventingv1.Trigger, t tick) bool {
	ref := t.source.Spec.Sink.Ref
	if ref == nil || ref.Kind != "Broker" || ref.Name != trigger.Spec.Broker || trigger.Spec.Filter == nil {
		return false
	}
	filter := attributes.NewAttributesFilter(trigger.Spec.Filter.Attributes)
	defer filter.Cleanup()
	return filter.Filter(context.Background(), t.event) == eventfilter.PassFilter
}
