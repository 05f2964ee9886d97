package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetricsAreAppliedShownAndDeleted(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	definitions := file(t, "metrics.yaml")

	if got := o.run(t, "metric", "list"); got.code != 0 || got.out != "" || !strings.Contains(got.errors, "metric apply") {
		t.Errorf("without metrics: %+v", got)
	}
	golden(t, "apply.txt", o.must(t, "metric", "apply", "-f", definitions))
	golden(t, "apply-again.txt", o.must(t, "metric", "apply", "-f", definitions))
	golden(t, "list.txt", o.must(t, "metric", "list"))

	shown := o.must(t, "metric", "show", "test_value")
	comment, text, _ := strings.Cut(shown, "\n")
	if !strings.HasPrefix(comment, "# version 1, created 20") {
		t.Errorf("show begins with %q", comment)
	}
	golden(t, "show.yaml", text)
	if got := o.answer(t, shown, "metric", "apply", "-f", "-"); got.out != "unchanged  test_value\n" {
		t.Errorf("applying what is shown: %+v", got)
	}
	var listed []struct {
		Definition struct {
			Name  string   `json:"name"`
			Sizes []string `json:"bucket_sizes"`
		} `json:"definition"`
		Version int `json:"version"`
	}
	if err := json.Unmarshal([]byte(o.must(t, "metric", "list", "--output", "json")), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed) != 3 || listed[0].Definition.Name != "test_blocks" || listed[0].Version != 1 {
		t.Errorf("listed %+v", listed)
	}
	if got := o.must(t, "__complete", "metric", "show", "test_"); !strings.Contains(got, "test_blocks\tBlocks\n") {
		t.Errorf("names complete to %q", got)
	}

	o.deliver(t, chain(t, 3))
	if got := o.answer(t, "no\n", "metric", "delete", "test_value"); got.code != 1 || got.out != "" {
		t.Errorf("not confirmed: %+v", got)
	}
	if got := o.answer(t, "", "metric", "delete", "test_value"); got.code != 1 || !strings.Contains(got.errors, "--yes") {
		t.Errorf("nobody answers: %+v", got)
	}
	if got := o.answer(t, "y\n", "metric", "delete", "test_value"); got.out != "deleted test_value and 6 buckets\n" {
		t.Errorf("confirmed: %+v", got)
	}
	o.refused(t, 1, "chainmetrics: unknown metric: test_value\n  see the names with: "+o.binary+" metric list\n",
		"metric", "show", "test_value")
	if got := o.must(t, "metric", "delete", "--yes", "test_blocks"); !strings.HasPrefix(got, "deleted test_blocks and ") {
		t.Errorf("with --yes: %q", got)
	}
	want := "created    test_blocks  since 0-3 of blockchain_events:testchain; nothing before is archived yet\n" +
		"created    test_value  since 0-3 of blockchain_events:testchain; nothing before is archived yet\nunchanged  test_senders\n"
	if diff := cmp.Diff(want, o.must(t, "metric", "apply", "-f", definitions)); diff != "" {
		t.Errorf("applied to a stream that has begun (-want +got):\n%s", diff)
	}
	if got := o.must(t, "metric", "show", "test_value"); !strings.Contains(got, "# since 0-3 of blockchain_events:testchain\n") {
		t.Errorf("since is missing:\n%s", got)
	}
}

func TestWrongDefinitionsAreRefusedByFileAndLine(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	for _, name := range []string{"metrics.yaml", "wrong.yaml"} {
		text, err := os.ReadFile(file(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"metric", "validate", "-f", "wrong.yaml"},
		{"metric", "apply", "-f", "metrics.yaml", "-f", "wrong.yaml"},
	} {
		r := o.run(t, args...)
		lines := strings.Split(strings.TrimSuffix(r.errors, "\n"), "\n")
		want := []string{
			"chainmetrics: wrong.yaml:6: test_wrong: where: character 13: ",
			"chainmetrics: wrong.yaml:7: test_wrong: unknown field \"agg\": ",
			"chainmetrics: wrong.yaml:12: test_type: type: \"thermometer\" is no metric type: write one of counter, gauge, histogram",
		}
		if r.code != 1 || r.out != "" || !slices.EqualFunc(lines, want, strings.HasPrefix) {
			t.Errorf("%s: %+v", strings.Join(args, " "), r)
		}
	}
	o.refused(t, 1, `chainmetrics: metrics.yaml:1: test_blocks: name: is the name of a metric in metrics.yaml already: choose another one
chainmetrics: metrics.yaml:12: test_value: name: is the name of a metric in metrics.yaml already: choose another one
chainmetrics: metrics.yaml:28: test_senders: name: is the name of a metric in metrics.yaml already: choose another one
`, "metric", "validate", "-f", "metrics.yaml", "-f", "metrics.yaml")
	o.refused(t, 1, "chainmetrics: read definitions: stat none.yaml: no such file or directory\n",
		"metric", "validate", "-f", "none.yaml")
	if got := o.must(t, "metric", "validate", "-f", "metrics.yaml"); got != "3 metrics are valid\n" {
		t.Errorf("valid: %q", got)
	}
	if got := o.must(t, "metric", "list", "-o", "json"); got != "[]\n" {
		t.Errorf("the registry was changed: %s", got)
	}
}

func TestTheCalculationOfAMetricIsChanged(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	definitions := file(t, "metrics.yaml")
	o.must(t, "metric", "apply", "-f", definitions)
	o.deliver(t, chain(t, 1))
	text, err := os.ReadFile(definitions)
	if err != nil {
		t.Fatal(err)
	}
	r := o.answer(t, strings.ReplaceAll(string(text), "scale: -8", "scale: -7"), "metric", "apply", "-f", "-")
	want := "unchanged  test_blocks\nupdated    test_value  since 0-1 of blockchain_events:testchain; nothing before is archived yet\n" +
		"unchanged  test_senders\n"
	if r.code != 0 || r.out != want {
		t.Errorf("applying another scale: %+v", r)
	}
	text = []byte(strings.ReplaceAll(string(text), "scale: -8", "scale: -7"))
	r = o.answer(t, strings.ReplaceAll(string(text), "owner: data-team", "owner: research"), "metric", "apply", "-f", "-")
	if r.code != 0 || r.out != want {
		t.Errorf("applying another owner: %+v", r)
	}
}
