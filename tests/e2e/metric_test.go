//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// chainmetrics runs the operator's command on the system's database.
func (s *system) chainmetrics(args ...string) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), harness.Build(s.T, "cmd/chainmetrics"), append([]string{"--postgres-url", s.address}, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("chainmetrics %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// finalized is a metric whose windows are due at once, in a run Service of its own.
const finalized = `
name: e2e_blocks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [bitcoin]
bucket_sizes: [daily]
complexity: large
schedule: "* * * * *"
grace: 0s
`

// planned names what the planner makes for the metric.
var planned = []string{"pingsource/metric-e2e-blocks-daily", "configmap/metrics-config-e2e-blocks"}

// present gives what there is of that.
func (s *system) present() []string {
	args := append([]string{"get", "--ignore-not-found", "--output=name"}, planned...)
	return strings.Fields(kubectl(s.T, args...))
}

func (s *system) apply() string {
	file := filepath.Join(s.TempDir(), "finalized.yaml")
	if err := os.WriteFile(file, []byte(finalized), 0o600); err != nil {
		s.Fatal(err)
	}
	s.chainmetrics("metric", "apply", "--file", file)
	begin := time.Now()
	pipeline.Eventually(s.T, 2*time.Minute, "its objects are there", func() bool { return len(s.present()) == len(planned) })
	made := time.Since(begin)
	kubectl(s.T, "wait", "--for=condition=Ready", "--timeout", patience.String(), planned[0])
	if made > time.Minute {
		s.Errorf("its PingSource came after %s", made)
	}
	return fmt.Sprintf("%.1f s after it was applied, ready after %.1f s", made.Seconds(), time.Since(begin).Seconds())
}

// sweeps sets the schedule of the sweep.
func (s *system) sweeps(schedule string) {
	kubectl(s.T, "patch", "pingsource", "sweep", "--type=merge", fmt.Sprintf(`--patch={"spec": {"schedule": %q}}`, schedule))
}

// finalize measures how long the window of the metric that is open takes from its end, by the low-water time, until it is final, by
// nothing but the metric's own PingSource, since no sweep asks for its runs. The metric's history is there by then.
func (s *system) finalize() string {
	const within = 3 * time.Minute
	s.sweeps("0 0 29 2 *")
	read := func(query string, arguments ...any) (text string) {
		s.Helper()
		if err := s.database.QueryRow(s.Context(), "select coalesce(("+query+")::text, '')", arguments...).Scan(&text); err != nil {
			s.Fatalf("%s: %v", query, err)
		}
		return text
	}
	const lowWater = "select low_water from stream_watermarks where function = 'counter' and stream = $1"
	end := read("select date_trunc('day', ("+lowWater+"), 'UTC') + interval '1 day'", stream)
	pipeline.Eventually(s.T, patience, "the stream passes "+end, func() bool {
		return read("select ("+lowWater+") >= $2::timestamptz", stream, end) == "true"
	})
	begin := time.Now()
	const value = "select value from metric_buckets where metric = $1 and bucket_size = 'daily' and bucket_end = $2::timestamptz"
	pipeline.Eventually(s.T, within, "the day until "+end+" is final", func() bool {
		return read(value+" and final", "e2e_blocks", end) != ""
	})
	took := time.Since(begin)
	const sums = "select sum(value) from metric_buckets where metric = $1 and bucket_size = 'daily' and bucket_end <= $2::timestamptz"
	if got, want := read(sums, "e2e_blocks", end), read(sums, "btc_block_count", end); got != want || want == "" {
		s.Fatalf("%s blocks until %s, want %s", got, end, want)
	}
	s.sweeps("* * * * *")
	return fmt.Sprintf("%.1f s after the stream had passed its end, with all days before it", took.Seconds())
}

func (s *system) deleteMetric() string {
	s.chainmetrics("metric", "delete", "e2e_blocks", "--yes")
	begin := time.Now()
	pipeline.Eventually(s.T, 2*time.Minute, "its objects are gone", func() bool { return len(s.present()) == 0 })
	return fmt.Sprintf("after %.1f s", time.Since(begin).Seconds())
}
