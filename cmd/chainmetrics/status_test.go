package main_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// Parts of what status shows that differ between runs.
var varying = []struct {
	pattern *regexp.Regexp
	stands  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "<time>"},
	{regexp.MustCompile(`[\d.]+ KiB`), "<size>"},
	{regexp.MustCompile(`\d+h\d+m\d+s`), "<age>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "<day>"},
}

// status gives the status as people see it, without what differs between runs.
func (o *operator) status(t *testing.T, args ...string) string {
	t.Helper()
	text := strings.ReplaceAll(o.must(t, append([]string{"status"}, args...)...), o.binary, "chainmetrics")
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.stands)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines { // how wide a column is depends on what stood there
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

// never is an age that entries of these tests do not reach.
const never = "1000000h"

func TestStatusWithoutTrouble(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	if got := o.status(t); !strings.HasPrefix(got, "no stream yet") {
		t.Errorf("without streams:\n%s", got)
	}
	entries := chain(t, 5)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	golden(t, "status.txt", o.status(t, "--late", never))
	o.must(t, "status", "--check", "--late", never)

	var got struct {
		OK      bool `json:"ok"`
		Streams []struct {
			Name, Mode, Chain, First, Last string
			Exists                         bool
			Length, Bytes                  int64
		} `json:"streams"`
		Functions []struct {
			Function, Stream, Watermark string
			Lag                         int64
			OldestAge                   float64   `json:"oldest_age"`
			MovedAt                     time.Time `json:"moved_at"`
		} `json:"functions"`
		MetricErrors []any `json:"metric_errors"`
	}
	decoder := json.NewDecoder(strings.NewReader(o.must(t, "status", "--output", "json", "--late", never)))
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if !got.OK || len(got.Streams) != 1 || len(got.Functions) != 1 || got.MetricErrors == nil {
		t.Fatalf("status is %+v", got)
	}
	s, f := got.Streams[0], got.Functions[0]
	if s.Name != testStream || s.Mode != "feed" || s.Chain != testChain || !s.Exists || s.Length != 5 || s.First != "0-1" ||
		s.Last != "0-5" || s.Bytes < 1000 {
		t.Errorf("stream is %+v", s)
	}
	age := time.Since(time.Date(2024, 3, 1, 23, 30, 1, 0, time.UTC)).Seconds()
	if f.Function != "counter" || f.Watermark != "0-3" || f.Lag != 2 || f.OldestAge < age-60 || f.OldestAge > age+60 ||
		time.Since(f.MovedAt) > time.Minute {
		t.Errorf("function is %+v, want an age of about %f", f, age)
	}
}

func TestStatusShowsWhatIsLate(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	entries := chain(t, 5)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	want := "\n\ncounter is late in " + testStream + ": it has applied nothing that was appended in the last <age>\n" +
		"look at its log, or at its source's\n"
	if got := o.status(t); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at the end\n%s", got, want)
	}
	if r := o.run(t, "status", "--check", "--output", "json"); r.code != 1 || !strings.Contains(r.out, `"late": true`) {
		t.Errorf("status --check: exit status %d\n%s", r.code, r.out)
	}
	o.deliver(t, entries)
	o.must(t, "status", "--check")
}

func TestStatusKnowsNoAgeWithoutATime(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	entries := chain(t, 2)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries)
	timeless := events.Entry{ID: events.ID{Minor: 3}, Fields: []events.Field{{Name: "colour", Value: "red"}}}
	o.feed(t, entries[1].ID, []events.Entry{timeless})
	if got := o.must(t, "status", "--check"); !strings.Contains(got, "nothing is wrong") {
		t.Errorf("got\n%s", got)
	}
}

func TestStatusAfterTheTailIsLost(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	entries := chain(t, 3)
	o.feed(t, events.ID{}, entries[:1])
	o.deliver(t, entries)
	got := o.status(t)
	if !strings.Contains(got, "nothing follows what is lost: start its feed again") || strings.Contains(got, "accept") {
		t.Errorf("got\n%s", got)
	}
}

func TestStatusShowsTroubleAndWhatToDo(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 2)
	unreadable := events.Entry{ID: events.ID{Minor: 3}, Fields: []events.Field{{Name: "colour", Value: "red"}}}
	revert, err := events.NewRevertEntry(events.ID{Major: 1}, testChain,
		events.Revert{Ancestor: events.ID{Minor: 1}, Hash: blockHash(0)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	strange := flat(events.ID{Major: 1, Minor: 1}, "transfer", "value", "much", "kind", "normal", "from", "alice")
	entries = append(entries, unreadable, revert, strange)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries)
	o.feed(t, entries[len(entries)-1].ID, []events.Entry{flat(events.ID{Major: 1, Minor: 2}, "note")})
	o.lose(t, events.ID{Major: 1, Minor: 2})
	o.execute(t, `insert into runs (metric_id, bucket_size, chain, bucket_start, reason, state, finished_at, error)
		select metric_id, 'hourly', 'testchain', w.at, 'due', w.state, w.at, 'it took longer than it may: ' || w.error
		from metric_registry, (values
			('2024-02-01Z'::timestamptz, 'failed', '5m0s'), ('2024-02-01 01:00Z', 'failed', '6m0s'), ('2024-02-01 02:00Z', 'failed', '7m0s'),
			('2024-02-01 02:00Z', 'succeeded', null)
		) as w (at, state, error) where name = 'test_blocks' order by 4, 6`)
	o.execute(t, `insert into check_failures (metric_id, bucket_size, bucket_start, chain, check_name, severity, message, failed_at)
		select metric_id, 'hourly', w.at, 'testchain', w.name, w.severity, w.message, w.at
		from metric_registry, (values
			('2024-02-01Z'::timestamptz, 'min 2', 'block', '1 is less than 2'), ('2024-02-01 01:00Z', 'min 2', 'block', '0 is less than 2'),
			('2024-02-01 01:00Z', 'not_null', 'block', 'there is no bucket'), ('2024-02-01 02:00Z', 'max 5', 'warn', '6 is greater than 5')
		) as w (at, name, severity, message) where metric_registry.name = 'test_blocks'`)
	o.execute(t, "delete from outbox")
	o.execute(t, `insert into outbox (type, metric, metric_type, complexity, details, created_at, refusals, error)
		select 'dev.chainmetrics.metric.changed.v1', 'test_blocks', 'counter', 'small', '{"change": "changed"}', now() - n.age::interval,
			n.refusals, n.error
		from (values ('2 hours', 0, null), ('3 hours', 1, 'no route to host'), ('4 hours', 5, '413')) as n (age, refusals, error)`)

	o.execute(t, "insert into notification_groups (channel, recipient, about) values ('mail', 'ops@example.com', 'x')")
	o.execute(t, `insert into notifications (event_source, event_id, channel, type, payload, group_id, state, attempts, error, created_at, settled_at)
		select 's', n.age, 'mail', 't', '{}', 1, n.state, n.attempts, n.error, now() - n.age::interval, now() - n.settled::interval
		from (values ('2 hours', 'queued', 0, null, null), ('3 hours', 'queued', 7, 'dial failed', null), ('4 hours', 'sent', 1, null, '4 hours'),
			('5 hours', 'failed', 1, '550 no such user', '5 hours'), ('9 days', 'failed', 1, 'long ago', '9 days')
		) as n (age, state, attempts, error, settled)`)

	golden(t, "status-trouble.txt", o.status(t))
	r := o.run(t, "status", "--check")
	if r.code != 1 || !strings.HasPrefix(r.errors, "chainmetrics: something is wrong\n") || r.out == "" {
		t.Errorf("status --check: exit status %d\n%s", r.code, r.errors)
	}
}

// flat makes a flat entry of fields.
func flat(id events.ID, eventType string, fields ...string) events.Entry {
	entry := events.Entry{ID: id, Fields: []events.Field{
		{Name: events.FieldType, Value: eventType},
		{Name: events.FieldChain, Value: testChain},
		{Name: events.FieldTimestamp, Value: "1709251200"},
		{Name: events.FieldAppended, Value: "1709251201000"},
	}}
	for pair := range slices.Chunk(fields, 2) {
		entry.Fields = append(entry.Fields, events.Field{Name: pair[0], Value: pair[1]})
	}
	return entry
}

// lose takes everything before an entry from the stream.
func (o *operator) lose(t *testing.T, before events.ID) {
	t.Helper()
	client := o.redis(t)
	info, err := client.Info(t.Context(), testStream)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := client.Range(t.Context(), testStream, before, events.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Replace(t.Context(), testStream, info, before.Minor-1, events.ID{}, rest); err != nil {
		t.Fatal(err)
	}
}
