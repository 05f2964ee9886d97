package runner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// exported is a metric over the database of an exporter, which has one row every hour.
const exported = `
name: exported_fees
type: counter
calculation_logic:
  sql:
    template: |
      select receipt_gas_used * gas_price as value, case receipt_status when 1 then 'good' else 'failed' end as status
      from etl.transactions
      where block_timestamp >= {start_time} and block_timestamp < {end_time}
    connection: warehouse
    dimensions: [status]
chains: [ethereum]
bucket_sizes: [daily]
start_date: 2024-01-30
grace: 1h
retries: 0
`

// exporter makes another database with an exporter's table.
func exporter(t *testing.T) (url string, execute func(string)) {
	t.Helper()
	url = harness.Database(t)
	database := pipeline.Database(t, url)
	execute = func(statement string) {
		t.Helper()
		if _, err := database.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	execute("create schema etl")
	execute("create table etl.transactions (block_timestamp timestamp, receipt_status int, receipt_gas_used bigint, gas_price numeric)")
	execute(`insert into etl.transactions
		select at, extract(hour from at)::int % 2, 21000, 12345678901234567890
		from generate_series('2024-01-30'::timestamp, '2024-02-01 12:00', interval '1 hour') at`)
	return url, execute
}

const fees = `select string_agg(bucket_start::date || ' ' || (dimensions ->> 'status') || ' ' || value || ' ' || final, ', '
	order by bucket_start, dimensions ->> 'status') from metric_buckets where metric = 'exported_fees'`

// TestQueryOfAConnection is due by the clock, and put right where somebody asks.
func TestQueryOfAConnection(t *testing.T) {
	url, execute := exporter(t)
	w := newWorld(t)
	pipeline.Apply(t, w.store, "exported.yaml", []byte(exported))
	tickAt := func(now time.Time) {
		t.Helper()
		tick := events.Tick{Function: "counter", BucketSize: bucket.Daily.String()}
		if err := w.function.Tick(t.Context(), tick, now); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Date(2024, 2, 1, 0, 30, 0, 0, time.UTC)
	tickAt(first)
	w.expect(t, "select string_agg(distinct state || ' ' || error, '') from runs",
		"failed rebuild exported_fees daily: no connection warehouse: set CONNECTION_WAREHOUSE to its URL")

	t.Setenv("CONNECTION_WAREHOUSE", "postgres://user:secret@[/x")
	w.execute(t, "update runs set state = 'queued', attempt = 0, not_before = now()")
	tickAt(first)
	w.expect(t, "select string_agg(distinct state || ' ' || error, '') from runs",
		"failed rebuild exported_fees daily: CONNECTION_WAREHOUSE cannot be read: want postgres://user:password@host:port/database")

	t.Setenv("CONNECTION_WAREHOUSE", url)
	w.execute(t, "update runs set state = 'queued', attempt = 0, not_before = now()")
	const firstDay = "2024-01-30 failed 3111111083111111108280000 true, 2024-01-30 good 3111111083111111108280000 true"
	tickAt(first) // the second day has ended, but its grace has not
	w.expect(t, fees, firstDay)
	tickAt(first.Add(time.Hour))
	const secondDay = ", 2024-01-31 failed 3111111083111111108280000 true, 2024-01-31 good 3111111083111111108280000 true"
	w.expect(t, fees, firstDay+secondDay)

	execute("update etl.transactions set receipt_status = 1 where block_timestamp < '2024-01-31'")
	tickAt(first.Add(2 * time.Hour)) // nothing tells
	w.expect(t, fees, firstDay+secondDay)
	w.request(t, "exported_fees", 1) // from the second day on
	tickAt(first.Add(2 * time.Hour))
	w.expect(t, "select count(*) from bucket_revisions", "0")
	if _, err := w.database.Exec(t.Context(), `insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
		select metric_id, 'daily', 'ethereum', '2024-01-30Z', 'backfill' from metric_registry where name = 'exported_fees'`); err != nil {
		t.Fatal(err)
	}
	tickAt(first.Add(2 * time.Hour))
	w.expect(t, fees, "2024-01-30 good 6222222166222222216560000 true"+secondDay)
	w.expect(t, "select string_agg(reason || ' ' || (dimensions::jsonb ->> 'status'), ', ' order by dimensions) from bucket_revisions", "drift failed, drift good")

	// Changed, it is due once more from its beginning.
	pipeline.Apply(t, w.store, "exported.yaml", []byte(strings.Replace(exported, "receipt_gas_used * gas_price", "1", 1)))
	tickAt(first.Add(2 * time.Hour))
	w.expect(t, fees, "2024-01-30 good 24 true, 2024-01-31 failed 12 true, 2024-01-31 good 12 true")
}

// TestConnectionsAreReadOnly, whatever their user may do.
func TestConnectionsAreReadOnly(t *testing.T) {
	url, execute := exporter(t)
	t.Setenv("CONNECTION_WAREHOUSE", url)
	execute("create function etl.spoil() returns bigint language sql as $$ delete from etl.transactions returning 1::bigint $$")
	execute("create function etl.wait() returns bigint language sql as $$ select 1 from pg_sleep(60) $$")
	w := newWorld(t)
	for template, want := range map[string]string{
		"select etl.spoil() as value where {start_time} < {end_time}":                                                              "cannot execute DELETE in a read-only transaction (SQLSTATE 25006): a query may only read",
		"select etl.wait() as value where {start_time} < {end_time}":                                                               "it took longer than it may",
		"select 1 as value, 'x' as status from generate_series(1, 200000) where {start_time} < {end_time}":                         "it gives more than 100000 rows",
		"select 1::float8 as value, 'x' as status from etl.transactions where block_timestamp between {start_time} and {end_time}": "not exact",
	} {
		from, to := strings.Index(exported, "      select"), strings.Index(exported, "    connection")
		text := strings.Replace(exported[:from]+"      "+template+"\n"+exported[to:], "retries: 0", "retries: 0\nexecution_timeout: "+timeLimit(template), 1)
		if !strings.Contains(template, "status") {
			text = strings.Replace(text, "    dimensions: [status]\n", "", 1)
		}
		w.execute(t, "delete from runs")
		pipeline.Apply(t, w.store, "exported.yaml", []byte(text))
		tick := events.Tick{Function: "counter", BucketSize: bucket.Daily.String()}
		if err := w.function.Tick(t.Context(), tick, time.Date(2024, 1, 31, 2, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if got := w.text(t, "select string_agg(state || ' ' || coalesce(error, ''), ', ') from runs"); !strings.HasPrefix(got, "failed") || !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", template, got, want)
		}
	}
	database := pipeline.Database(t, url)
	var rows int
	if err := database.QueryRow(t.Context(), "select count(*) from etl.transactions").Scan(&rows); err != nil || rows != 61 {
		t.Errorf("%d rows are left, %v", rows, err)
	}
}
