package runner_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// history is a chain to which random things happen, and what was published after each of them.
type history struct {
	*world
	random    *rand.Rand
	epoch     uint64
	branch    []events.Delivery // the blocks that were not taken back
	last      events.ID
	published map[string]bool // windows that have been final
	moments   []time.Time
	shown     []map[string]string // at each moment, the buckets of those windows
}

// step has something happen.
func (h *history) step(t *testing.T) string {
	t.Helper()
	tip := uint64(len(h.branch))
	switch choice := h.random.IntN(11); {
	case choice < 4:
		return h.extend(t, tip, tip+uint64(h.random.IntN(30)))
	case choice < 7:
		h.settle(t)
		return "settle"
	case choice == 7 && tip > 0: // later than others that happened after it
		late := block(h.epoch, h.random.Uint64N(tip), h.last)
		late.ID = events.ID{Major: h.epoch, Minor: h.last.Minor + 1}
		h.last = late.ID
		h.apply(t, []events.Delivery{late})
		h.branch = append(h.branch, late)
		return "late " + late.Time.String()
	case choice == 8 && tip > 1:
		return h.revert(t, h.random.IntN(int(tip)-1))
	case choice == 9:
		value := []string{"event.gas_used", "event.gas_used * 2"}[h.random.IntN(2)]
		pipeline.Apply(t, h.store, "test.yaml", []byte(strings.Replace(metrics, "value: event.gas_used}", "value: "+value+"}", 1)))
		return "define " + value
	case choice == 10:
		m := h.gas(t)
		for _, size := range m.Definition.BucketSizes {
			if _, err := h.store.ClearWindows(t.Context(), m, size, genesis, genesis.AddDate(0, 0, 1)); err != nil {
				t.Fatal(err)
			}
		}
		return "clear"
	}
	return "nothing"
}

// extend appends blocks.
func (h *history) extend(t *testing.T, from, to uint64) string {
	t.Helper()
	for height := from; height < to; height++ {
		b := block(h.epoch, height, h.last)
		b.ID = events.ID{Major: h.epoch, Minor: h.last.Minor + 1}
		h.apply(t, []events.Delivery{b})
		h.branch, h.last = append(h.branch, b), b.ID
	}
	return fmt.Sprintf("extend from %d to %d", from, to)
}

// revert takes back what came after one of the blocks.
func (h *history) revert(t *testing.T, to int) string {
	t.Helper()
	h.epoch++
	ancestor := h.branch[to]
	entry, err := events.NewRevertEntry(events.ID{Major: h.epoch}, "testchain",
		events.Revert{Ancestor: ancestor.ID, Number: uint64(to), Hash: ancestor.Hash}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, []events.Delivery{events.NewDelivery(stream, entry, h.last)})
	h.branch, h.last = h.branch[:to+1], events.ID{Major: h.epoch}
	return fmt.Sprintf("revert to %s", ancestor.ID)
}

const windowKey = "metric_id || ' ' || bucket_size || ' ' || bucket_start || ' ' || chain"

// record notes what is published now.
func (h *history) record(t *testing.T) {
	t.Helper()
	for window := range h.pairs(t, "select "+windowKey+", '' from windows where final") {
		h.published[window] = true
	}
	shown := h.pairs(t, "select "+windowKey+", value from metrics_data")
	for window := range shown {
		if !h.published[window] {
			delete(shown, window)
		}
	}
	h.moments, h.shown = append(h.moments, h.clock(t)), append(h.shown, shown)
}

func (h *history) clock(t *testing.T) (now time.Time) {
	t.Helper()
	if err := h.database.QueryRow(t.Context(), "select clock_timestamp()").Scan(&now); err != nil {
		t.Fatal(err)
	}
	return now
}

// TestWhatWasPublishedIsKnown at every moment of histories in which everything happens that changes buckets.
func TestWhatWasPublishedIsKnown(t *testing.T) {
	t.Parallel()
	const (
		histories = 3
		steps     = 40
	)
	reasons := map[string]string{}
	for seed := range uint64(histories) {
		h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 0)), published: map[string]bool{}}
		var happened []string
		for range steps {
			happened = append(happened, h.step(t))
			h.record(t)
		}
		for i, moment := range h.moments {
			got := h.pairs(t, `select `+windowKey+`, value from metric_buckets_at($1) b
				join metric_registry r on r.name = b.metric`, moment)
			if diff := cmp.Diff(h.shown[i], got); diff != "" {
				t.Errorf("seed %d, after step %d of %q (-shown then, +as of then):\n%s", seed, i, happened, diff)
				break
			}
		}
		for reason := range h.pairs(t, "select reason, '' from bucket_revisions") {
			reasons[reason] = ""
		}
	}
	want := map[string]string{"late": "", "reverted": "", "definition": ""} // the others need something wrong
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons of revisions (-want +got):\n%s", diff)
	}
}

// TestRevisionsHaveBothValues, the run that made them, and the reason of that.
func TestRevisionsHaveBothValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const revisions = `select string_agg(concat_ws(' ', reason, run_id is not null, bucket_size, old_value, new_value), ', ' order by bucket_size desc)
		from bucket_revisions`
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.expect(t, revisions, "") // what is published first revises nothing
	late := block(0, 20, events.ID{Minor: 100})
	late.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{late})
	w.tick(t)
	w.expect(t, revisions, "late f hourly 41 61, late f daily 1128 1148")

	// What is wrong is put right by a run that somebody asks for, and by one of a window that somebody doubts.
	corrupt := func() {
		t.Helper()
		w.execute(t, "delete from bucket_revisions")
		w.execute(t, `update metrics_data set value = 7, state = (select state from metrics_data where bucket_size = 'hourly' limit 1)
			where bucket_size = 'daily' and bucket_start = '2024-01-31Z'`)
	}
	corrupt()
	w.request(t, "gas", 1)
	w.tick(t)
	w.expect(t, revisions, "drift t daily 7 1148")
	corrupt()
	if _, err := w.store.ClearWindows(t.Context(), w.gas(t), bucket.Daily, genesis, genesis.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, revisions, "cleared t daily 7 1148")

	// A bucket that should not be there goes, and is remembered.
	w.execute(t, "delete from bucket_revisions")
	w.execute(t, `insert into metrics_data (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, state)
		select metric_id, bucket_size, bucket_start, bucket_end, chain, '{"to":"nobody"}', 5, state
		from metrics_data where bucket_size = 'daily' and bucket_start = '2024-01-31Z'`)
	w.request(t, "gas", 1)
	w.tick(t)
	w.expect(t, `select string_agg(concat_ws(' ', reason, run_id is not null, dimensions, old_value, new_value is null), ', ')
		from bucket_revisions`, `drift t {"to":"nobody"} 5 t`)
	w.expect(t, `select string_agg(dimensions::text || ' ' || value, ', ' order by dimensions::text collate "C" desc)
		from metric_buckets_at((select revised_at - interval '1 us' from bucket_revisions)) where bucket_start = '2024-01-31Z' and bucket_size = 'daily'`,
		`{} 1148, {"to": "nobody"} 5`)
	w.expect(t, `select string_agg(dimensions::text || ' ' || value, ', ') from metric_buckets_at(now())
		where bucket_start = '2024-01-31Z' and bucket_size = 'daily'`, "{} 1148")
	w.expect(t, "select count(*) from metric_buckets_at('2024-01-01Z')", "0") // nothing had been published by then
}

// TestWhatOlderFunctionsPublished counts as published ever since: they have not noted when.
func TestWhatOlderFunctionsPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.execute(t, "update windows set finalized_at = null")
	w.expect(t, "select count(*) from metric_buckets_at('2024-01-01Z') where metric = 'gas' and bucket_size = 'daily'", "2")
	late := block(0, 20, events.ID{Minor: 100})
	late.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{late})
	w.tick(t)
	w.expect(t, "select string_agg(reason || ' ' || old_value || ' ' || new_value, ', ' order by bucket_size desc) from bucket_revisions",
		"late 41 61, late 1128 1148")
	w.expect(t, "select string_agg(value::text, ', ' order by bucket_start) from metric_buckets_at('2024-01-01Z') where metric = 'gas' and bucket_size = 'daily'",
		"1128, 3432")
}

// TestAnswersSayHowFarTheyHold, and where a run that would have put something right has failed, or has still to come.
func TestAnswersSayHowFarTheyHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	holds := func(query postgres.Query) string {
		t.Helper()
		query.Metric, query.Size = "gas", bucket.Daily
		answer, err := w.store.Answer(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, s := range answer.Standings {
			fmt.Fprintf(&text, "%s %s %s %t %s", s.Chain, s.Stream, s.Watermark, s.Incomplete, s.LowWater.Format("02T15:04"))
		}
		return text.String()
	}
	const whole, lacking = "testchain " + stream + " 0-100 false 02T01:30", "testchain " + stream + " 0-100 true 01T00:00"
	for _, test := range []struct {
		change string
		query  postgres.Query
		want   string
	}{
		{"select", postgres.Query{}, whole},
		{"select", postgres.Query{Chain: "other"}, ""},
		{"select", postgres.Query{AsOf: genesis}, ""},
		{"update runs set state = 'failed', reason = 'reverted' where bucket_size = 'daily' and bucket_start = '2024-02-01Z'", postgres.Query{}, lacking},
		{"select", postgres.Query{To: genesis.AddDate(0, 0, 1)}, whole},
		{"update runs set state = 'queued' where state = 'failed'", postgres.Query{From: genesis.AddDate(0, 0, 1)}, lacking},
		{"update runs set reason = 'due'", postgres.Query{}, whole},
	} {
		w.execute(t, test.change)
		if got := holds(test.query); got != test.want {
			t.Errorf("after %q, %+v holds %q, want %q", test.change, test.query, got, test.want)
		}
	}
}
