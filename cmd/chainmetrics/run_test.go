package main_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

// archive has the archive keep the first entries of a stream, whatever is missing between them.
func (o *operator) archive(t *testing.T, stream string, entries []events.Entry) {
	t.Helper()
	o.archiveAfter(t, stream, events.ID{}, entries)
}

// archiveAfter has it keep entries of a stream that follow another.
func (o *operator) archiveAfter(t *testing.T, stream string, after events.ID, entries []events.Entry) {
	t.Helper()
	if _, _, err := archive.NewFunction(archive.Config{}, o.store(t)).Apply(t.Context(), stream, deliveries(stream, after, entries)); err != nil {
		t.Fatal(err)
	}
}

func deliveries(stream string, after events.ID, entries []events.Entry) []events.Delivery {
	batch := make([]events.Delivery, len(entries))
	for i, entry := range entries {
		batch[i] = events.NewDelivery(stream, entry, after)
		after = entry.ID
	}
	return batch
}

// execute changes the operator's database behind the command's back.
func (o *operator) execute(t *testing.T, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.variable("POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // of no consequence
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

var (
	durations = regexp.MustCompile(`(after|took) [0-9.µms]+`)
	commit    = regexp.MustCompile(`code +[0-9a-f]{40}\n`)
)

// shownRun is what run show prints, without what differs between runs.
func (o *operator) shownRun(t *testing.T, id string) string {
	t.Helper()
	text := commit.ReplaceAllString(durations.ReplaceAllString(o.must(t, "run", "show", id), "$1 <duration>"), "")
	return varying[0].pattern.ReplaceAllString(text, "<time>")
}

func TestRunsByHand(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 4) // 27 February to 1 March
	o.archive(t, testStream, entries)
	o.deliver(t, entries)
	o.execute(t, "delete from metrics_data where bucket_start = '2024-02-28Z' and bucket_size = 'daily'")

	r := o.run(t, "metric", "run", "test_blocks", "--bucket", "daily", "--from", "2024-02-28", "--to", "2024-03-01")
	want := "window            chain      dimensions  before  now  final\n" +
		"2024-02-28 00:00  testchain                        1  true\n" +
		"2024-02-29 00:00  testchain                   1    1  true\n"
	if r.code != 0 || r.out != want || r.errors != "2 buckets, 1 changed\n" {
		t.Errorf("metric run: %+v", r)
	}
	var computed []struct {
		Before *string `json:"before"`
		Value  string  `json:"value"`
	}
	output := o.must(t, "metric", "run", "test_blocks", "--bucket", "daily", "--from", "2024-02-28", "--output", "json")
	if err := json.Unmarshal([]byte(output), &computed); err != nil {
		t.Fatal(err)
	}
	if len(computed) != 1 || computed[0].Before == nil || *computed[0].Before != "1" || computed[0].Value != "1" {
		t.Errorf("one window is %s", output)
	}
	golden(t, "run-show.txt", o.shownRun(t, "1"))

	o.execute(t, "update stream_types set left_out = 7")
	o.refused(t, 1, "chainmetrics: begin to rebuild: not archived: 7 events of type block were left out\n",
		"metric", "run", "test_blocks", "--bucket", "daily", "--from", "2024-02-28")
	golden(t, "run-show-skipped.txt", o.shownRun(t, "4"))
	o.execute(t, "update stream_types set left_out = 0")
	for range 2 {
		if got := o.must(t, "run", "retry", "4"); got != "1 window is queued\n" {
			t.Errorf("retry: %q", got)
		}
	}
	o.refused(t, 1, "chainmetrics: retry runs: there is nothing to try again: run 1: succeeded\n"+
		"  compute windows again, whatever came of them: "+o.binary+" backfill METRIC\n", "run", "retry", "4", "1")
	o.refused(t, 1, "chainmetrics: unknown run: 99\n  see the runs with: "+o.binary+" run list\n", "run", "show", "99")
	if got := o.answer(t, "no\n", "run", "retry", "--state", "skipped"); got.code != 1 || got.out != "" ||
		!strings.HasPrefix(got.errors, "Queue the windows of all metrics whose newest run is skipped? [y/N]") {
		t.Errorf("not confirmed: %+v", got)
	}
	if got := o.must(t, "run", "retry", "--state", "skipped", "--yes"); got != "0 windows are queued\n" {
		t.Errorf("of all metrics: %q", got)
	}
	if got := o.must(t, "run", "retry", "--metric", "test_blocks", "--state", "skipped"); got != "0 windows are queued\n" {
		t.Errorf("what is queued is queued again: %q", got)
	}

	o.must(t, "metric", "pause", "test_blocks")
	if got := o.status(t, "--late", never); !strings.Contains(got, "\npaused metrics, whose runs are not begun\ntest_blocks, <time>: chainmetrics metric resume") {
		t.Errorf("status:\n%s", got)
	}
	o.refused(t, 1, "chainmetrics: test_blocks: the metric is paused: its runs are not begun\n  first: "+o.binary+
		" metric resume test_blocks\n  or queue the runs until then, with --detach\n", "backfill", "test_blocks", "-b", "daily")
	if got := o.must(t, "metric", "show", "test_blocks", "-o", "json"); !regexp.MustCompile(`"paused_at": "20[^"]+Z"`).MatchString(got) {
		t.Errorf("metric show:\n%s", got)
	}
	if got := o.must(t, "metric", "list"); !regexp.MustCompile(`test_blocks .* 1  20\d\d-\d\d-\d\d [\d:]+\n`).MatchString(got) {
		t.Errorf("metric list:\n%s", got)
	}
	o.must(t, "metric", "resume", "test_blocks")

	clearing := []string{"run", "clear", "test_blocks", "--bucket", "daily", "--from", "2024-02-28", "--to", "2024-03-01"}
	if got := o.answer(t, "no\n", clearing...); got.code != 1 || got.out != "" {
		t.Errorf("not confirmed: %+v", got)
	}
	if got := o.must(t, append(clearing, "--yes")...); got != "cleared 2 daily\n" {
		t.Errorf("clear: %q", got)
	}
	if r := o.run(t, "backfill", "test_blocks", "--bucket", "daily"); r.code != 0 || !strings.Contains(r.errors, "4 succeeded") {
		t.Errorf("backfill: %+v", r)
	}
	if got := o.must(t, "run", "list", "--bucket", "daily", "--state", "queued", "-o", "json"); got != "[]\n" {
		t.Errorf("queued:\n%s", got)
	}

	empty := []string{"metric", "run", "test_blocks", "--bucket", "daily", "--from", "2024-02-26", "--output", "json"}
	if got := o.must(t, empty...); got != "[]\n" {
		t.Errorf("of an empty window:\n%s", got)
	}
	o.execute(t, `update metrics_data set bucket_start = '2024-02-26Z', bucket_end = '2024-02-27Z', value_json = '{"count": 1}'
		where bucket_start = '2024-02-27Z' and bucket_size = 'daily'`)
	var gone []map[string]any
	if err := json.Unmarshal([]byte(o.must(t, empty...)), &gone); err != nil {
		t.Fatal(err)
	}
	left := []map[string]any{{
		"bucket_start": "2024-02-26T00:00:00Z", "chain": testChain, "dimensions": map[string]any{},
		"before": "1", "value": nil, "final": false,
	}}
	if diff := cmp.Diff(left, gone); diff != "" {
		t.Errorf("a bucket that has gone differs (-want +got):\n%s", diff)
	}
}
