package integration_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// blockPoisons make the entry of a good block unreadable. Each is given the entry's fields, names and values in turn.
var blockPoisons = map[string]func(fields []string) []string{
	"broken JSON":           func(f []string) []string { return set(f, events.FieldData, `{"block": {`) },
	"JSON of another shape": func(f []string) []string { return set(f, events.FieldData, `[]`) },
	"nested too deeply": func(f []string) []string {
		return set(f, events.FieldData, strings.Repeat(`{"block":`, 10_000)+strings.Repeat(`}`, 10_000))
	},
	"data of another block": func(f []string) []string {
		return set(f, events.FieldData, strings.Replace(value(f, events.FieldData), `"number":`, `"number":1`, 1))
	},
	"an event without type": func(f []string) []string {
		return set(f, events.FieldData, strings.Replace(value(f, events.FieldData), `"type":"transaction"`, `"kind":"transaction"`, 1))
	},
	"no data":           func(f []string) []string { return unset(f, events.FieldData) },
	"no chain":          func(f []string) []string { return unset(f, events.FieldChain) },
	"no timestamp":      func(f []string) []string { return unset(f, events.FieldTimestamp) },
	"no append time":    func(f []string) []string { return unset(f, events.FieldAppended) },
	"absurd timestamp":  func(f []string) []string { return set(f, events.FieldTimestamp, "1e400") },
	"negative time":     func(f []string) []string { return set(f, events.FieldTimestamp, "-1") },
	"milliseconds":      func(f []string) []string { return set(f, events.FieldTimestamp, "1231006505000") },
	"in the far future": func(f []string) []string { return set(f, events.FieldTimestamp, "99999999999") },
	"absurd number":     func(f []string) []string { return set(f, events.FieldNumber, "184467440737095516160") },
	"unknown kind":      func(f []string) []string { return set(f, events.FieldKind, "uncle") },
	"unknown field":     func(f []string) []string { return append(f, "surprise", "1") },
	"a field twice":     func(f []string) []string { return append(f, events.FieldNumber, "1") },
	"no text":           func(f []string) []string { return set(f, events.FieldData, "\xff\xfe\x00") },
	"no fields of ours": func([]string) []string { return []string{"hello", "world"} },
}

func value(fields []string, name string) string {
	return fields[slices.Index(fields, name)+1]
}

func set(fields []string, name, value string) []string {
	fields[slices.Index(fields, name)+1] = value
	return fields
}

func unset(fields []string, name string) []string {
	i := slices.Index(fields, name)
	return slices.Delete(fields, i, i+2)
}

// TestPoisonAmongBlocks puts unreadable entries in the places of some blocks.
func TestPoisonAmongBlocks(t *testing.T) {
	t.Parallel()
	const blocks, distance = 400, 20 // from one poison to the next
	chain := pipeline.Blocks(t, pipeline.Beginning(t, blocks))
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	s.start(t)

	poisons := map[uint64]string{}
	for i, name := range slices.Sorted(maps.Keys(blockPoisons)) {
		poisons[uint64(i*distance+10)] = name
	}
	var wanted []string
	for number := range uint64(blocks) {
		entry := blockEntry(t, chain[number])
		var fields []string
		for _, f := range entry.Fields {
			fields = append(fields, f.Name, f.Value)
		}
		if name, poisoned := poisons[number]; poisoned {
			fields = blockPoisons[name](fields)
			wanted = append(wanted, entry.ID.String())
		}
		s.add(t, pipeline.Stream, entry.ID.String(), fields...)
	}
	s.announce(t, pipeline.Stream)
	s.awaitApplied(t, blocks)
	if counted, want := s.countedBlocks(t), blocks-uint64(len(wanted)); counted != want {
		t.Errorf("%d blocks in the buckets, want %d", counted, want)
	}
	s.expectDeadLetters(t, pipeline.Stream, wanted)
	if now := s.status(t); now.OK || now.DeadLetters != int64(len(wanted)) {
		t.Errorf("status %+v, want %d dead letters", now, len(wanted))
	}
}

// TestPoisonAmongFlatEntries mixes unreadable entries into an open stream, and payments into a stream to which they do
// not belong.
func TestPoisonAmongFlatEntries(t *testing.T) {
	t.Parallel()
	const open, other = "blockchain_events", "blockchain_events:other"
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	pipeline.Apply(t, pipeline.Store(t, s.databaseURL), "payments.yaml", []byte(paymentMetrics))
	s.start(t)
	payment := func(change ...string) []string {
		fields := []string{"type", "payment", "chain", "bitcoin", "timestamp", "1700000000", "amount", "2", "currency", "XYZ"}
		for i := 0; i < len(change); i += 2 {
			fields = set(fields, change[i], change[i+1])
		}
		return fields
	}
	poisons := map[string][]string{
		"no type":               unset(payment(), "type"),
		"empty type":            payment("type", ""),
		"a type that is none":   payment("type", "Robert'); drop table metrics_data;--"),
		"no chain":              unset(payment(), "chain"),
		"no timestamp":          unset(payment(), "timestamp"),
		"milliseconds":          payment("timestamp", "1700000000000"),
		"a day that is none":    payment("timestamp", "2023-02-30T00:00:00Z"),
		"far ahead":             payment("timestamp", "9999999999"),
		"a field twice":         append(payment(), "amount", "3"),
		"a field without name":  append(payment(), "", "3"),
		"no text":               payment("currency", "\xff"),
		"nested too deeply":     payment("currency", strings.Repeat("[", 100)+strings.Repeat("]", 100)),
		"kind of another entry": append(payment(), events.FieldKind, "block"),
	}
	unmeasurable := map[string][]string{ // readable, but a metric fails on them
		"absurd number":  payment("amount", "1e999999999"),
		"text":           payment("amount", "much"),
		"broken object":  payment("amount", `{"a":`), // what is no JSON is text
		"list":           payment("amount", "[1]"),
		"null":           payment("amount", "null"),
		"many digits":    payment("amount", strings.Repeat("9", 5000)),
		"huge dimension": payment("currency", strings.Repeat("X", 5000)),
	}
	good := int64(0)
	pay := func() {
		s.add(t, open, "*", payment()...)
		good++
	}
	pay()
	s.announce(t, open)
	s.awaitCount(t, open, 1)
	var wanted []string
	for _, name := range slices.Sorted(maps.Keys(poisons)) {
		wanted = append(wanted, s.add(t, open, "*", poisons[name]...))
		pay()
	}
	for _, name := range slices.Sorted(maps.Keys(unmeasurable)) {
		s.add(t, open, "*", unmeasurable[name]...)
		pay()
	}
	foreign := []string{s.add(t, other, "*", payment()...), s.add(t, other, "*", payment()...)}
	s.add(t, other, "*", "type", "refund", "chain", "bitcoin", "timestamp", "1700000000")
	s.announce(t, other)
	s.awaitCount(t, open, good+int64(len(poisons)+len(unmeasurable)))
	s.awaitCount(t, other, 3)

	s.expectDeadLetters(t, open, wanted)
	s.expectDeadLetters(t, other, foreign)
	(service{database: s.database}).expect(t, map[string]string{
		"payments daily {}":               strconv.FormatInt(good+int64(len(unmeasurable)), 10),
		`paid hourly {"currency": "XYZ"}`: strconv.FormatInt(2*good, 10),
		`paid weekly {"currency": "XYZ"}`: strconv.FormatInt(2*good, 10),
	})
	var failures int64
	const query = `select sum(e.count)::bigint from metric_errors e join metric_registry r using (metric_id) where r.name = 'paid'`
	if err := s.database.QueryRow(t.Context(), query).Scan(&failures); err != nil {
		t.Fatal(err)
	}
	if failures != int64(len(unmeasurable)) {
		t.Errorf("%d metric errors, want %d", failures, len(unmeasurable))
	}
	if s.source.Ended() || s.counter.Ended() {
		t.Error("source or function did not survive")
	}
}

// add appends an entry, and gives its id.
func (s *system) add(t *testing.T, stream, id string, fields ...string) string {
	t.Helper()
	added, err := s.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: id, Values: fields}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// announce tells the sources of a stream.
func (s *system) announce(t *testing.T, stream string) {
	t.Helper()
	if err := s.redis.SAdd(t.Context(), redisstream.StreamsKey, stream).Err(); err != nil {
		t.Fatal(err)
	}
}

// awaitCount waits until the last of n entries of an open stream is applied.
func (s *system) awaitCount(t *testing.T, stream string, n int64) {
	t.Helper()
	last, err := s.redis.XRevRangeN(t.Context(), stream, "+", "-", 1).Result()
	if err != nil || len(last) != 1 {
		t.Fatalf("last entry of %s: %v, %v", stream, last, err)
	}
	if length := s.redis.XLen(t.Context(), stream).Val(); length != n {
		t.Fatalf("%s has %d entries, want %d", stream, length, n)
	}
	pipeline.Eventually(t, 30*time.Second, "everything in "+stream+" is applied", func() bool {
		return pipeline.Watermark(t, s.database, "counter", stream).String() == last[0].ID
	})
}

// expectDeadLetters wants one dead letter for each of the ids, each with a reason and content.
func (s *system) expectDeadLetters(t *testing.T, stream string, ids []string) {
	t.Helper()
	const query = `select entry_id from dead_letters where stream = $1 and reason <> '' and content_length > 0`
	rows, err := s.database.Query(t.Context(), query, stream)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(ids)), got); diff != "" {
		t.Errorf("dead letters of %s (-want +got):\n%s", stream, diff)
	}
}
