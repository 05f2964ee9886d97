package manifests_test

import (
	"context"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
)

// told: what people have to know of reaches notify: the notices of these types, each by one Trigger, and what no other Service takes.
// What notify itself does not take goes nowhere: it would be told by who could not tell it.
func told(objects []object) []error {
	var found findings
	triggers := of[*eventingv1.Trigger](objects)
	teller := slices.DeleteFunc(of[*servingv1.Service](objects), func(s *servingv1.Service) bool { return s.Name != "notify" })
	if len(teller) != 1 {
		found.add("Service/notify", "%d of them, want 1", len(teller))
		return found
	}
	tells := func(t *eventingv1.Trigger) bool { return exists(t.Spec.Subscriber, t.Namespace, []object{teller[0]}) }
	for _, ceType := range []string{
		events.TypeRunFailed, events.TypeRunRetried, events.TypeRunLate, events.TypeBucketDrifted, events.TypeCheckFailed,
	} {
		notice := event.New()
		notice.SetID("1")
		notice.SetSource("/chainmetrics/functions/counter")
		notice.SetTime(time.Unix(0, 0))
		notice.SetType(ceType)
		taken := slices.DeleteFunc(slices.Clone(triggers), func(t *eventingv1.Trigger) bool {
			if !tells(t) || t.Spec.Filter == nil {
				return true
			}
			filter := attributes.NewAttributesFilter(t.Spec.Filter.Attributes)
			defer filter.Cleanup()
			return filter.Filter(context.Background(), notice) != eventfilter.PassFilter
		})
		if len(taken) != 1 {
			found.add("Service/notify", "%d Triggers give it %s, want 1", len(taken), ceType)
		}
	}
	for _, t := range triggers {
		d := t.Spec.Delivery
		switch {
		case d == nil || d.Retry == nil || *d.Retry < 5 || d.BackoffPolicy == nil || *d.BackoffPolicy != "exponential" || d.BackoffDelay == nil:
			found.add(title(t), "want at least 5 retries, ever later")
		case tells(t) && d.DeadLetterSink != nil:
			found.add(title(t), "what notify does not take would go to a dead letter sink")
		case !tells(t) && (d.DeadLetterSink == nil || !exists(*d.DeadLetterSink, t.Namespace, []object{teller[0]})):
			found.add(title(t), "nobody is told of what its Service does not take: want delivery.deadLetterSink notify")
		case !tells(t) && d.DeadLetterSink.URI.String() != receiver.PathDeadLetters:
			found.add(title(t), "notify does not know dead letters by where they come to: want delivery.deadLetterSink.uri %s", receiver.PathDeadLetters)
		}
	}
	for _, b := range of[*eventingv1.Broker](objects) {
		if b.Spec.Delivery != nil && b.Spec.Delivery.DeadLetterSink != nil {
			found.add(title(b), "notify's Triggers would inherit its dead letter sink")
		}
	}
	return found
}
