package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// flatEntries is the length of the stream of flat events.
const flatEntries = 200_000

// flatMetrics are what a function of each type computes of flat events.
var flatMetrics = map[string]string{
	"counter":   flatCounters,
	"gauge":     flatReadings("gauge"),
	"histogram": flatReadings("histogram"),
}

// flatReadings are metrics of a type that looks at single values.
func flatReadings(kind string) string {
	return strings.ReplaceAll(`
name: transfer_value
type: KIND
calculation_logic: {stream: {event_type: token_transfer, value: event.value, scale: -18}}
chains: [ethereum]
bucket_sizes: [hourly, daily, weekly]
---
name: token_value
type: KIND
calculation_logic: {stream: {event_type: token_transfer, value: event.value, dimensions: {token: event.token_address}}}
chains: [ethereum]
bucket_sizes: [daily]
`, "KIND", kind)
}

// manyCounters are so many metrics of the same events.
func manyCounters(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `---
name: transfers_%d
type: counter
calculation_logic: {stream: {event_type: token_transfer, value: event.value, where: event.log_index > %d}}
chains: [ethereum]
bucket_sizes: [daily]
`, i, i%10)
	}
	return strings.TrimPrefix(text.String(), "---")
}

const flatCounters = `
name: transfers
type: counter
calculation_logic: {stream: {event_type: token_transfer}}
aggregate: count
chains: [ethereum]
bucket_sizes: [hourly, daily, weekly]
---
name: transfer_value
type: counter
calculation_logic: {stream: {event_type: token_transfer, value: event.value, scale: -18, where: event.value > 0}}
chains: [ethereum]
bucket_sizes: [hourly, daily, weekly]
---
name: token_value
type: counter
calculation_logic: {stream: {event_type: token_transfer, value: event.value, dimensions: {token: event.token_address}}}
chains: [ethereum]
bucket_sizes: [daily]
`

// memory is what the manifests give functions and sources for speed.
var memory = map[string]string{"GOGC": "800"}

// bed is a full stream, and a function that is to apply it.
type bed struct {
	kind, stream    string
	entries, events int
	sums            map[string]decimal.Decimal // of the daily buckets of metrics, once everything is applied: of values or, where there are such, of counts

	redisURL, databaseURL string
	redis                 *redis.Client
	database              *pgxpool.Pool
	functionURL           string
}

func newBed(b *testing.B, kind, stream string) *bed {
	b.Helper()
	redisServer, err := devserver.StartRedis(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	stop(b, redisServer)
	postgresServer, err := devserver.StartPostgres(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	stop(b, postgresServer)
	if _, _, err := migration.Run(b.Context(), postgresServer.URL()); err != nil {
		b.Fatal(err)
	}
	bed := &bed{
		kind:        kind,
		stream:      stream,
		redisURL:    redisServer.URL(),
		databaseURL: postgresServer.URL(),
		redis:       pipeline.Redis(b, redisServer.URL()),
		database:    pipeline.Database(b, postgresServer.URL()),
	}
	environment := map[string]string{"GOGC": memory["GOGC"], "REDIS_URL": bed.redisURL} // to which only the archive speaks
	function, url := pipeline.Function(b, kind, harness.Build(b, "functions/"+kind), bed.databaseURL, environment)
	if err := function.Start(); err != nil {
		b.Fatal(err)
	}
	pipeline.AwaitReady(b, url)
	bed.functionURL = url
	return bed
}

func stop(b *testing.B, server *devserver.Server) {
	b.Helper()
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 30*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			b.Error(err)
		}
	})
}

// blockBed holds the sample chain, under the example metrics.
func blockBed(b *testing.B, kind string) *bed {
	b.Helper()
	bed := newBed(b, kind, pipeline.Stream)
	pipeline.ApplyExamples(b, pipeline.Store(b, bed.databaseURL))
	feed := pipeline.Feed(b, "feed", harness.Build(b, "events/feed"), bed.databaseURL, bed.redisURL, pipeline.SampleChain(b), nil)
	if err := feed.Start(); err != nil {
		b.Fatal(err)
	}
	if err := feed.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	const transactionsOfSample = 14247
	bed.entries, bed.events = pipeline.SampleBlocks, pipeline.SampleBlocks+transactionsOfSample
	bed.sums = map[string]decimal.Decimal{
		map[string]string{"counter": "btc_block_count", "gauge": "btc_block_height", "histogram": "btc_block_size_spread"}[kind]: decimal.FromInt64(pipeline.SampleBlocks),
	}
	return bed
}

// flatBed holds so many token transfers, under some metrics.
func flatBed(b *testing.B, kind, metrics string, entries int) *bed {
	b.Helper()
	bed := newBed(b, kind, "blockchain_events:ethereum:bench")
	pipeline.Apply(b, pipeline.Store(b, bed.databaseURL), "bench.yaml", []byte(metrics))
	client, err := redisstream.Open(b.Context(), redisstream.Config{URL: bed.redisURL})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	begin := time.Date(2024, 1, 5, 0, 0, 0, 0, time.UTC)
	var end events.ID
	for end.Minor < uint64(entries) {
		batch := make([]events.Entry, 0, 1000)
		for n := end.Minor + 1; len(batch) < cap(batch); n++ {
			batch = append(batch, transfer(n, begin))
		}
		if err := client.Append(b.Context(), bed.stream, end, batch); err != nil {
			b.Fatal(err)
		}
		end = batch[len(batch)-1].ID
	}
	if err := client.Announce(b.Context(), bed.stream); err != nil {
		b.Fatal(err)
	}
	bed.entries, bed.events = entries, entries
	n := decimal.FromInt64(int64(entries))
	switch {
	case metrics == flatCounters:
		value := decimal.FromInt64(int64(entries) * (int64(entries) + 1) / 2 * valueStep)
		bed.sums = map[string]decimal.Decimal{
			"transfers": n, "transfer_value": shift(b, value, 9-18), "token_value": shift(b, value, 9),
		}
	case kind != "counter":
		bed.sums = map[string]decimal.Decimal{"transfer_value": n, "token_value": n}
	}
	return bed
}

func shift(b *testing.B, d decimal.Decimal, places int) decimal.Decimal {
	b.Helper()
	shifted, err := d.Shift(places)
	if err != nil {
		b.Fatal(err)
	}
	return shifted
}

// valueStep is by how many 10^9 each transfer's value is greater than the one's before.
const valueStep = 1_000_003

// transfer is a token transfer in the public schema of ethereum-etl, ten a second.
func transfer(n uint64, begin time.Time) events.Entry {
	at := begin.Add(time.Duration(n) * 100 * time.Millisecond)
	number := strconv.FormatUint(18_937_382+n/120, 10)
	return events.Entry{ID: events.ID{Major: 0, Minor: n}, Fields: []events.Field{
		{Name: events.FieldType, Value: "token_transfer"},
		{Name: events.FieldChain, Value: "ethereum"},
		{Name: events.FieldTimestamp, Value: strconv.FormatInt(at.Unix(), 10)},
		{Name: events.FieldAppended, Value: strconv.FormatInt(at.UnixMilli(), 10)},
		{Name: "token_address", Value: "0x" + strconv.FormatUint(0xa0b86991c6218b36+n%20, 16)},
		{Name: "from_address", Value: "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"},
		{Name: "to_address", Value: "0x" + strconv.FormatUint(n*0x9e3779b97f4a7c15, 16)},
		{Name: "value", Value: strconv.FormatUint(n*valueStep, 10) + "000000000"},
		{Name: "log_index", Value: strconv.FormatUint(n%120, 10)},
		{Name: "block_number", Value: number},
	}}
}

// deliver lets a source bring the first entries of the stream to the function, from nothing, and gives entries per
// second between the first and the last commit that are seen.
func (bed *bed) deliver(b *testing.B, batch, entries int) float64 {
	b.Helper()
	bed.reset(b)
	source, _ := pipeline.Source(b, "source", harness.Build(b, "events/source"), bed.redisURL, bed.functionURL,
		map[string]string{
			"FUNCTION": bed.kind, "SOURCE_BATCH_ENTRIES": strconv.Itoa(batch), "STREAMS": bed.stream, "GOGC": memory["GOGC"],
		})
	if err := source.Start(); err != nil {
		b.Fatal(err)
	}
	var first, last time.Time
	var before uint64
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		reached := bed.watermark(b)
		if reached > 0 && first.IsZero() {
			first, before = time.Now(), reached
		}
		if reached >= uint64(entries) {
			last = time.Now()
			if err := source.Kill(); err != nil {
				b.Fatal(err)
			}
			return float64(reached-before) / last.Sub(first).Seconds()
		}
	}
	b.Fatalf("only %d of %d entries were applied in ten minutes", bed.watermark(b), entries)
	return 0
}

// check compares what the function has made of the whole stream with what it must: a rate of wrong buckets says nothing.
func (bed *bed) check(b *testing.B) {
	b.Helper()
	for name, want := range bed.sums {
		var sum string
		const query = `select coalesce(sum(coalesce((value_json ->> 'count')::numeric, value)), 0)::text
			from metric_buckets where metric = $1 and bucket_size = 'daily'`
		if err := bed.database.QueryRow(b.Context(), query, name).Scan(&sum); err != nil {
			b.Fatal(err)
		}
		if got, err := decimal.Parse(sum); err != nil || !got.Equal(want) {
			b.Errorf("the buckets of %s hold %s, want %s", name, sum, want)
		}
	}
	var errors, letters int64
	const query = "select (select count(*) from metric_errors), (select count(*) from dead_letters)"
	if err := bed.database.QueryRow(b.Context(), query).Scan(&errors, &letters); err != nil {
		b.Fatal(err)
	}
	if errors > 0 || letters > 0 {
		b.Errorf("%d metric errors and %d dead letters, want none", errors, letters)
	}
}

// reset takes everything back that the function has applied.
func (bed *bed) reset(b *testing.B) {
	b.Helper()
	truncate := "truncate metrics_data, windows, runs, schedules"
	if bed.kind == "archive" {
		truncate = "truncate chain_events, archived_entries"
	}
	const begin = `update stream_watermarks
		set entry_id = '0-0', content_hash = '', low_water = '-infinity', highest_low_water = '-infinity' where function = $1`
	if _, err := bed.database.Exec(b.Context(), truncate); err != nil {
		b.Fatal(err)
	}
	if _, err := bed.database.Exec(b.Context(), begin, bed.kind); err != nil {
		b.Fatal(err)
	}
	if _, err := bed.database.Exec(b.Context(), "checkpoint"); err != nil {
		b.Fatal(err)
	}
}

func (bed *bed) watermark(b *testing.B) uint64 {
	b.Helper()
	return pipeline.Watermark(b, bed.database, bed.kind, bed.stream).Minor
}

// copyBuckets writes the buckets that are stored once more, into one table with the same index, in one transaction.
func (bed *bed) copyBuckets(b *testing.B) float64 {
	b.Helper()
	conn, err := bed.database.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	var rows bytes.Buffer
	if _, err := conn.Conn().PgConn().CopyTo(b.Context(), &rows, "copy (select * from metrics_data) to stdout (format binary)"); err != nil {
		b.Fatal(err)
	}
	for _, statement := range []string{
		"drop table if exists copied", "create table copied (like metrics_data including all)", "checkpoint",
	} {
		if _, err := conn.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	begin := time.Now()
	if _, err := conn.Conn().PgConn().CopyFrom(b.Context(), &rows, "copy copied from stdin (format binary)"); err != nil {
		b.Fatal(err)
	}
	return bed.rate(b, bed.entries, begin)
}

// readRange reads the stream with XRANGE.
func (bed *bed) readRange(b *testing.B) float64 {
	b.Helper()
	begin, read, from := time.Now(), 0, "-"
	for {
		entries, err := bed.redis.XRangeN(b.Context(), bed.stream, from, "+", count).Result()
		if err != nil {
			b.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		read += len(entries)
		from = "(" + entries[len(entries)-1].ID
	}
	return bed.rate(b, read, begin)
}

// readGroup reads the stream through a consumer group and acknowledges what it has read.
func (bed *bed) readGroup(b *testing.B) float64 {
	b.Helper()
	const group = "bench"
	if err := bed.redis.XGroupCreate(b.Context(), bed.stream, group, "0").Err(); err != nil {
		b.Fatal(err)
	}
	begin, read := time.Now(), 0
	for {
		streams, err := bed.redis.XReadGroup(b.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: group, Streams: []string{bed.stream, ">"}, Count: count, Block: -1,
		}).Result()
		if errors.Is(err, redis.Nil) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		ids := make([]string, len(streams[0].Messages))
		for i, message := range streams[0].Messages {
			ids[i] = message.ID
		}
		if err := bed.redis.XAck(b.Context(), bed.stream, group, ids...).Err(); err != nil {
			b.Fatal(err)
		}
		read += len(ids)
	}
	rate := bed.rate(b, read, begin)
	if err := bed.redis.XGroupDestroy(b.Context(), bed.stream, group).Err(); err != nil {
		b.Fatal(err)
	}
	return rate
}

func (bed *bed) rate(b *testing.B, read int, begin time.Time) float64 {
	b.Helper()
	if read != bed.entries {
		b.Fatalf("read %d entries of %d", read, bed.entries)
	}
	return float64(read) / time.Since(begin).Seconds()
}
