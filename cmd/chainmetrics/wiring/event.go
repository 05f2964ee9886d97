package wiring

import (
	"regexp"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// cronParser is that of Knative's PingSource, whose webhook refuses @every.
var cronParser = cron.NewParser(
	cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor,
)

func (r *reader) schedule(o object) {
	var spec pingSpec
	if !r.spec(o, &spec) {
		return
	}
	r.unknown(o, "spec", spec.Others)
	r.unknown(o, "spec.ceOverrides", spec.Overrides.Others)
	s := Schedule{Name: o.Metadata.Name, Broker: r.destination(o, "spec.sink", spec.Sink, broker)}
	switch {
	case spec.Timezone == "", strings.HasPrefix(strings.ToLower(spec.Timezone), "local"):
		r.wrong(o, "spec.timezone is %q: the schedule would be in the time zone of whatever node it runs on", spec.Timezone)
	case strings.Contains(spec.Schedule, "@every"):
		r.wrong(o, "spec.schedule %q: Knative has no @every", spec.Schedule)
	default:
		var err error
		if s.When, err = cronParser.Parse("CRON_TZ=" + spec.Timezone + " " + spec.Schedule); err != nil {
			r.wrong(o, "spec.schedule %q: %w", spec.Schedule, err)
		} else if s.When.Next(time.Unix(0, 0)).IsZero() {
			r.wrong(o, "spec.schedule %q is never due", spec.Schedule)
		}
	}
	var err error
	if s.Event, err = ping(o, spec); err != nil {
		r.wrong(o, "its CloudEvent: %s", strings.TrimSpace(err.Error()))
	}
	r.wiring.Schedules = append(r.wiring.Schedules, s)
}

// ping makes what a PingSource sends, without id and time.
func ping(o object, spec pingSpec) (event.Event, error) {
	e := event.New()
	e.SetType(events.TypePing)
	e.SetSource("/apis/v1/namespaces/" + o.Metadata.Namespace + "/pingsources/" + o.Metadata.Name)
	for name, value := range spec.Overrides.Extensions {
		e.SetExtension(name, value)
	}
	if spec.Data != "" {
		if err := e.SetData(spec.ContentType, []byte(spec.Data)); err != nil {
			return e, err
		}
	}
	whole := e.Clone()
	whole.SetID("any")
	if err := whole.Validate(); err != nil {
		return e, err
	}
	tick, err := events.ParseTick(whole)
	if err == nil && tick.BucketSize != "" {
		_, err = bucket.ParseSize(tick.BucketSize)
	}
	return e, err
}

// findUntaken looks for schedules whose events go nowhere.
func (r *reader) findUntaken() {
schedules:
	for _, s := range r.wiring.Schedules {
		for _, t := range r.wiring.Triggers {
			if t.Broker == s.Broker && t.Takes(s.Event) {
				continue schedules
			}
		}
		o, _ := r.find(pingSource, s.Name)
		r.wrong(o, "no Trigger of Broker %s takes its events", s.Broker)
	}
}

func (r *reader) broker(o object) {
	var spec brokerSpec
	if r.spec(o, &spec) {
		r.unknown(o, "spec", spec.Others)
		r.delivery(o, spec.Delivery)
		if spec.Delivery != nil && spec.Delivery.DeadLetter != nil {
			r.wrong(o, "spec.delivery.deadLetterSink is not carried out here: give it to each Trigger")
		}
	}
	r.wiring.Brokers = append(r.wiring.Brokers, o.Metadata.Name)
}

func (r *reader) trigger(o object) {
	var spec triggerSpec
	if !r.spec(o, &spec) {
		return
	}
	r.unknown(o, "spec", spec.Others)
	r.unknown(o, "spec.filter", spec.Filter.Others)
	t := Trigger{
		Name: o.Metadata.Name, Broker: spec.Broker, Attributes: spec.Filter.Attributes,
		Function: r.destination(o, "spec.subscriber", spec.Subscriber, service),
	}
	of, found := r.find(broker, spec.Broker)
	switch {
	case !found:
		r.wrong(o, "spec.broker: there is no Broker %q", spec.Broker)
	case spec.Delivery != nil:
		t.Delivery = r.delivery(o, spec.Delivery)
		t.Delivery.DeadLetter, t.Delivery.Path = r.deadLetter(o, t.Function, spec.Delivery.DeadLetter)
	default: // the Broker's applies, and is complained of there
		var inherited brokerSpec
		if of.Spec.Decode(&inherited) == nil {
			t.Delivery = new(reader).delivery(of, inherited.Delivery)
		}
	}
	r.wiring.Triggers = append(r.wiring.Triggers, t)
}

// deadLetter gives the function that dead letters of a Trigger go to, with the path of its URL; empty where there is none.
func (r *reader) deadLetter(o object, subscriber string, sink *sinkSpec) (name, path string) {
	if sink == nil {
		return "", ""
	}
	name = r.destination(o, "spec.delivery.deadLetterSink", sink.destination, service)
	if sink.URI != "" && !strings.HasPrefix(sink.URI, "/") {
		r.wrong(o, "spec.delivery.deadLetterSink.uri is %q: only a path is carried out here", sink.URI)
	}
	if name == subscriber {
		r.wrong(o, "spec.delivery.deadLetterSink is its subscriber, %s, which has not taken the event", name)
	}
	return name, sink.URI
}

func (r *reader) delivery(o object, spec *deliverySpec) Delivery {
	if spec == nil {
		return Delivery{}
	}
	r.unknown(o, "spec.delivery", spec.Others)
	if spec.Retry < 0 {
		r.wrong(o, "spec.delivery.retry is %d: want at least 0", spec.Retry)
	}
	d := Delivery{
		Retries: spec.Retry,
		Delay:   r.duration(o, "backoffDelay", spec.BackoffDelay),
		Timeout: r.duration(o, "timeout", spec.Timeout),
	}
	switch spec.BackoffPolicy {
	case "", "exponential":
	case "linear":
		d.Linear = true
	default:
		r.wrong(o, "spec.delivery.backoffPolicy is %q: want exponential or linear", spec.BackoffPolicy)
	}
	return d
}

// isoDuration is a duration of ISO 8601 without days and what is longer.
var isoDuration = regexp.MustCompile(`^PT(\d+H)?(\d+M)?(\d+(\.\d+)?S)?$`)

// duration reads one of ISO 8601; it is 0 where there is none.
func (r *reader) duration(o object, field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(text, "PT")))
	if err != nil || !isoDuration.MatchString(text) {
		r.wrong(o, "spec.delivery.%s is %q: want hours, minutes and seconds of ISO 8601, as in PT1M30S", field, text)
	}
	return d
}
