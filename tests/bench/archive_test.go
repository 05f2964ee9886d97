package bench_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// BenchmarkArchive measures events per second from a full stream to the archive, next to bare COPY of the same rows into
// tables of the same form.
func BenchmarkArchive(b *testing.B) {
	for name, lay := range map[string]func() *bed{
		"flat":  func() *bed { return flatBed(b, "archive", flatCounters, flatEntries) },
		"block": func() *bed { return blockBed(b, "archive") },
	} {
		b.Run(name, func(b *testing.B) {
			bed := lay()
			bed.sums = nil // nothing is counted
			for range b.N {
				var rates, limits []float64
				for range rounds {
					rate := bed.deliver(b, count, bed.entries) * float64(bed.events) / float64(bed.entries)
					if n := bed.count(b, "select count(*) from chain_events"); n != bed.events {
						b.Fatalf("%d events are archived, want %d", n, bed.events)
					}
					rates, limits = append(rates, rate), append(limits, bed.copyArchive(b))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(rates), "events/s")
				b.ReportMetric(median(rates)/median(limits), "of_COPY")
			}
		})
	}
}

func (bed *bed) count(b *testing.B, query string) (n int) {
	b.Helper()
	if err := bed.database.QueryRow(b.Context(), query).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// copyArchive copies the rows of the archive into tables of the same form, and gives events per second.
func (bed *bed) copyArchive(b *testing.B) float64 {
	b.Helper()
	conn, err := bed.database.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	rows := map[string]*bytes.Buffer{"archived_entries": {}, "chain_events": {}}
	for table, text := range rows {
		if _, err := conn.Conn().PgConn().CopyTo(b.Context(), text, "copy (select * from "+table+") to stdout (format binary)"); err != nil {
			b.Fatal(err)
		}
		statement := "drop table if exists bare_" + table + "; create table bare_" + table + " (like " + table + " including all); checkpoint"
		if _, err := conn.Exec(b.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			b.Fatal(err)
		}
	}
	begin := time.Now()
	for table, text := range rows {
		if _, err := conn.Conn().PgConn().CopyFrom(b.Context(), text, "copy bare_"+table+" from stdin (format binary)"); err != nil {
			b.Fatal(err)
		}
	}
	return float64(bed.events) / time.Since(begin).Seconds()
}

// BenchmarkRebuild measures archived events per second from the archive to buckets, next to a SELECT … GROUP BY by hand.
func BenchmarkRebuild(b *testing.B) {
	bed := flatBed(b, "archive", flatCounters, flatEntries)
	bed.sums = nil
	bed.deliver(b, count, bed.entries)
	const follow = `insert into stream_watermarks (function, stream, entry_id, content_hash, low_water)
		select 'counter', stream, entry_id, content_hash, low_water from stream_watermarks where function = 'archive'`
	if _, err := bed.database.Exec(b.Context(), follow+"; analyze", pgx.QueryExecModeSimpleProtocol); err != nil {
		b.Fatal(err)
	}
	store := pipeline.Store(b, bed.databaseURL)
	day := time.Date(2024, 1, 5, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		metric string
		size   bucket.Size
		query  string
	}{
		{"transfers", bucket.Hourly, `select date_trunc('hour', event_time), count(*) from chain_events
			where chain = 'ethereum' and event_type = 'token_transfer' and event_time >= $1 and event_time < $2 group by 1`},
		{"transfer_value", bucket.Hourly, `select date_trunc('hour', event_time), sum((fields ->> 'value')::numeric) * 1e-18 from chain_events
			where chain = 'ethereum' and event_type = 'token_transfer' and event_time >= $1 and event_time < $2
				and (fields ->> 'value')::numeric > 0 group by 1`},
		{"token_value", bucket.Daily, `select date_trunc('day', event_time), fields ->> 'token_address', sum((fields ->> 'value')::numeric)
			from chain_events
			where chain = 'ethereum' and event_type = 'token_transfer' and event_time >= $1 and event_time < $2 group by 1, 2`},
	} {
		b.Run(fmt.Sprint(c.metric, "/", c.size), func(b *testing.B) {
			m, err := store.Metric(b.Context(), c.metric)
			if err != nil {
				b.Fatal(err)
			}
			span := aggregate.Span{Metric: m.ID, Size: c.size, Chain: "ethereum", From: day, To: day.AddDate(0, 0, 2)}
			for range b.N {
				var rates, limits []float64
				for range rounds {
					begin := time.Now()
					outcome, err := aggregate.RebuildSpan(b.Context(), counter.Type{}, store, span)
					if err != nil || outcome.Events != int64(bed.events) {
						b.Fatalf("%d events, want %d: %v", outcome.Events, bed.events, err)
					}
					rates = append(rates, float64(bed.events)/time.Since(begin).Seconds())
					begin = time.Now()
					rows, err := bed.database.Query(b.Context(), c.query, span.From, span.To)
					if err != nil {
						b.Fatal(err)
					}
					for rows.Next() { // they are only to arrive
					}
					if rows.Err() != nil {
						b.Fatal(rows.Err())
					}
					limits = append(limits, float64(bed.events)/time.Since(begin).Seconds())
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(rates), "events/s")
				b.ReportMetric(median(rates)/median(limits), "of_SELECT")
			}
		})
	}
}
