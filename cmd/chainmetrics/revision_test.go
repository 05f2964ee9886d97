package main_test

import "testing"

// TestRevisions: a day is published, then an event comes late.
func TestRevisions(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	r := o.run(t, "revision", "list")
	if r.code != 0 || r.out != "" || r.errors != "no such revisions\n" {
		t.Errorf("got %+v", r)
	}
	o.deliver(t, chain(t, 3))
	o.execute(t, `insert into windows (metric_id, bucket_size, bucket_start, chain, final, base_version, finalized_at)
		select metric_id, bucket_size, bucket_start, chain, true, 1, '2024-04-01 12:00Z'
		from metrics_data where bucket_size = 'daily' group by 1, 2, 3, 4
		on conflict (metric_id, bucket_size, bucket_start, chain) do update set finalized_at = excluded.finalized_at, final = true`)
	o.execute(t, `insert into bucket_revisions (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, reason, run_id,
			old_value, old_value_json, new_value, new_value_json, revised_at)
		select metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, 'late', null, value - 1, null::jsonb, value, null::jsonb, timestamptz '2024-05-01 12:00Z'
		from metrics_data join metric_registry using (metric_id)
		where name = 'test_blocks' and bucket_size = 'daily' and bucket_start = '2024-02-28Z'
		union all
		select metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, 'reverted', 7, value, '{"n": 1}', null, null, timestamptz '2024-05-02 12:00Z'
		from metrics_data join metric_registry using (metric_id)
		where name = 'test_value' and bucket_size = 'daily' and bucket_start = '2024-02-28Z' and dimensions ~ 'normal'`)
	for name, args := range map[string][]string{
		"all.txt":     nil,
		"all.json":    {"-o", "json"},
		"metric.txt":  {"test_blocks", "-b", "daily", "--from", "2024-02-28", "--to", "2024-02-29"},
		"reason.json": {"--reason", "reverted", "--limit", "1", "-o", "json"},
	} {
		golden(t, "revision-list-"+name, o.must(t, append([]string{"revision", "list"}, args...)...))
	}
	golden(t, "query-as-of.csv", o.must(t, "query", "test_blocks", "-b", "daily", "--as-of", "2024-04-15", "-o", "csv"))
	for want, args := range map[string][]string{
		"chainmetrics: --reason \"none\": want one of late, reverted, imported, definition, cleared, drift\n": {"revision", "list", "--reason", "none"},
		"chainmetrics: --limit 0: at least 1 is expected\n":                                                   {"revision", "list", "--limit", "0"},
		"chainmetrics: --as-of: \"then\" is no time: write 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n": {
			"query", "test_blocks", "-b", "daily", "--as-of", "then",
		},
		"chainmetrics: --as-of: 3000-01-01 has not come yet\n": {"query", "test_blocks", "-b", "daily", "--as-of", "3000-01-01"},
	} {
		command := "query"
		if args[0] == "revision" {
			command = "revision list"
		}
		o.refused(t, 2, want+"  see chainmetrics "+command+" --help\n", args...)
	}
}
