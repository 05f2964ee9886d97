package main_test

import (
	"strings"
	"testing"
)

// TestFailedChecks lists what windows fail, and says what to do.
func TestFailedChecks(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	if r := o.run(t, "check", "list"); r.code != 0 || r.out != "" || r.errors != "no failed checks: every window that was checked passes\n" {
		t.Errorf("got %+v", r)
	}
	o.execute(t, `insert into check_failures (metric_id, bucket_size, bucket_start, chain, check_name, severity, message, run_id, failed_at)
		select metric_id, f.size, f.start, 'testchain', f.name, f.severity, f.message, f.run, f.at
		from metric_registry, (values
			('test_blocks', 'daily', timestamptz '2024-02-28Z', 'min 48', 'block', '47 is less than 48', 7, timestamptz '2024-04-01 12:00Z'),
			('test_blocks', 'hourly', '2024-02-28 05:00Z', 'not_null', 'warn', 'there is no bucket', null, '2024-04-01 13:00Z'),
			('test_value', 'daily', '2024-02-28Z', 'value <= 2 * previous', 'warn', '7 after 3 does not hold, {"kind":"normal"}, and 2 more buckets',
				8, '2024-04-01 11:00Z')
		) as f (metric, size, start, name, severity, message, run, at) where metric_registry.name = f.metric`)
	for name, args := range map[string][]string{
		"all.txt":      nil,
		"all.json":     {"-o", "json"},
		"metric.txt":   {"test_blocks", "-b", "daily"},
		"severity.txt": {"--severity", "warn", "--limit", "1"},
	} {
		golden(t, "check-list-"+name, o.must(t, append([]string{"check", "list"}, args...)...))
	}
	const want = "put the data right and have the window computed again, the first one by\n" +
		"  chainmetrics metric run test_blocks --bucket hourly --from 2024-02-28T05:00:00Z\n" +
		"or change the definition's checks and apply it:\n  chainmetrics metric apply -f FILE\n"
	if r := o.run(t, "check", "list"); strings.ReplaceAll(r.errors, o.binary, "chainmetrics") != want {
		t.Errorf("got %s", r.errors)
	}
	for problem, args := range map[string][]string{
		"--severity \"grave\": want one of warn, block": {"--severity", "grave"},
		"--limit 0: at least 1 is expected":             {"--limit", "0"},
	} {
		o.refused(t, 2, "chainmetrics: "+problem+"\n  see chainmetrics check list --help\n", append([]string{"check", "list"}, args...)...)
	}
	o.refused(t, 1, "chainmetrics: unknown metric: none\n  see the names with: "+o.binary+" metric list\n", "check", "list", "none")
}

// TestDefinitionsWithChecks are shown as they may be applied.
func TestDefinitionsWithChecks(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.write(t, "checked.yaml", `
name: checked
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
checks:
- not_null: true
- {min: 0.50, severity: block}
- expression: value <= 2 * previous
`)
	o.must(t, "metric", "apply", "-f", "checked.yaml")
	shown := o.must(t, "metric", "show", "checked")
	const want = `checks:
  - not_null: true
    severity: warn
  - min: "0.50"
    severity: block
  - expression: value <= 2 * previous
    severity: warn
`
	if !strings.Contains(shown, want) {
		t.Errorf("got %s", shown)
	}
	o.write(t, "shown.yaml", shown)
	if again := o.must(t, "metric", "apply", "-f", "shown.yaml"); !strings.Contains(again, "unchanged") {
		t.Errorf("applied again: %s", again)
	}
}
