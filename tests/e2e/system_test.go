//go:build e2e

// Package e2e_test deploys the system to the cluster of the current kubeconfig, disturbs it, and removes it.
package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const (
	overlay    = "tests/e2e" // kustomization.yaml of this folder
	stream     = "blockchain_events:bitcoin"
	firstPart  = 10_000 // blocks that kustomization.yaml has fed to begin with
	restRate   = "4"    // blocks of the rest per second, so that 17 minutes are there to disturb them
	allAtOnce  = "0"    // as a rate: what is left when nothing is to be disturbed any more
	patience   = 5 * time.Minute
	counterPod = "serving.knative.dev/service=counter"
	sourcePod  = "app.kubernetes.io/name=counter-source"
)

// system is the deployed system.
type system struct {
	*testing.T
	deployed bool // perhaps in part
	database *pgxpool.Pool
	store    *postgres.Store
	redis    *redis.Client
}

func TestSystem(t *testing.T) {
	s := &system{T: t}
	t.Cleanup(func() {
		if t.Failed() && s.deployed {
			fmt.Printf("e2e: what is deployed stays, to be looked at; to remove it: scripts/undeploy %s\n", overlay)
		}
	})
	for _, stage := range []struct {
		what string
		do   func() (seen string)
	}{
		{"a server takes the overlay production in a dry run", s.dryRun},
		{"deployed from nothing", s.deploy},
		{"the first blocks equal the independent computation", s.compareFirst},
		{"a tick of a PingSource has its effect", s.tick},
		{"the function goes to sleep", s.sleep},
		{"new entries wake it", s.wake},
		{"a window that has passed is made final", s.finalize},
		{"its pod is deleted by force in the middle of a load", func() string { return s.remove(counterPod) }},
		{"the source's pod is deleted by force in the middle of a load", func() string { return s.remove(sourcePod) }},
		{"the function is updated in the middle of a load", s.updateFunction},
		{"the source is updated in the middle of a load", s.updateSource},
		{"all blocks equal the independent computation", s.compareAll},
		{"undeployed, nothing is left", s.undeploy},
	} {
		begin := time.Now()
		seen := stage.do()
		fmt.Printf("e2e: %-60s %6.1f s  %s\n", stage.what, time.Since(begin).Seconds(), seen)
	}
}

// dryRun lets the API server and Knative's webhooks judge what the test does not deploy. The namespace and the account must
// be there, since Knative tries to make a pod.
func (s *system) dryRun() string {
	if os.Getenv("KO_DOCKER_REPO") == "" {
		s.Fatal("KO_DOCKER_REPO is not set: where images are pushed, for example kind.local")
	}
	if kubectl(s.T, "get", "namespace", namespace, "--ignore-not-found", "--output=name") != "" {
		s.Fatalf("namespace %s exists: this test makes it, and removes it with all that it holds", namespace)
	}
	defer func() { kubectl(s.T, "delete", "namespace", namespace) }()
	kubectl(s.T, "apply", "--filename=../../config/knative/100-namespace.yaml", "--filename=../../config/knative/200-serviceaccount.yaml")
	var taken []string
	for _, folder := range []string{"config/overlays/production", "config/redis"} {
		manifests := filepath.Join(s.TempDir(), "manifests.yaml")
		if err := os.WriteFile(manifests, []byte(kubectl(s.T, "kustomize", "../../"+folder)), 0o600); err != nil {
			s.Fatal(err)
		}
		objects, err := exec.CommandContext(s.Context(), "../../scripts/images", manifests).Output()
		if err != nil {
			s.Fatalf("images: %v", err)
		}
		result := kubectlWith(s.T, string(objects), "apply", "--dry-run=server", "--output=name", "--filename=-")
		taken = append(taken, strings.Fields(result)...)
	}
	return fmt.Sprintf("%d objects, those of config/redis among them", len(taken))
}

func (s *system) deploy() string {
	s.deployed = true
	script(s.T, "deploy", overlay)
	address := postgresURL(s.T)
	s.database, s.store = pipeline.Database(s.T, address), pipeline.Store(s.T, address)
	s.redis = pipeline.Redis(s.T, "redis://"+forward(s.T, "statefulset/redis", 6379))
	return fmt.Sprintf("%d objects of Knative are ready", len(strings.Fields(kubectl(s.T, "get", "--output=name", "--selector", ours,
		"services.serving.knative.dev,brokers,triggers,pingsources,sinkbindings"))))
}

func (s *system) compareFirst() string {
	return s.compare(pipeline.Beginning(s.T, firstPart), firstPart)
}

func (s *system) compareAll() string {
	kubectl(s.T, "delete", "job", slowFeed)
	s.feedRest("sample-end", allAtOnce)
	return s.compare(pipeline.SampleChain(s.T), pipeline.SampleBlocks)
}

// compare waits until so many blocks are applied, and compares every bucket with the computation of tests/oracle.
func (s *system) compare(file string, blocks int) string {
	s.Helper()
	pipeline.Eventually(s.T, patience, fmt.Sprintf("%d blocks are applied", blocks), func() bool { return s.applied() == blocks })
	expected := pipeline.Expected(s.T, file)
	if difference := pipeline.Differences(s.T, s.database, expected); difference != "" {
		s.Fatal(difference)
	}
	for _, table := range []string{"dead_letters", "metric_errors"} {
		var rows int
		if err := s.database.QueryRow(s.Context(), "select count(*) from "+table).Scan(&rows); err != nil || rows > 0 {
			s.Fatalf("%s has %d rows: %v", table, rows, err)
		}
	}
	return fmt.Sprintf("%d blocks, %d buckets", blocks, len(expected))
}

// applied gives how many blocks every function has applied.
func (s *system) applied() int {
	blocks := pipeline.SampleBlocks
	for _, kind := range functions.Definitions() {
		blocks = min(blocks, int(pipeline.Watermark(s.T, s.database, kind.Name, stream).Minor))
	}
	return blocks
}

// ticked is a metric that need not be waited for long.
const ticked = `
name: e2e_ticks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [bitcoin]
bucket_sizes: [hourly]
schedule: "* * * * *"
`

// tick applies a metric, of which the planner makes a PingSource, and waits for what only a tick does: the sample chain ends in 2009,
// so nothing else makes partitions of these years.
func (s *system) tick() string {
	pipeline.Apply(s.T, s.store, "ticked.yaml", []byte(ticked))
	partition := fmt.Sprintf("metrics_data_hourly_%d", time.Now().UTC().Year()+1)
	pipeline.Eventually(s.T, patience, partition+" exists", func() bool {
		var exists bool
		if err := s.database.QueryRow(s.Context(), "select to_regclass($1) is not null", partition).Scan(&exists); err != nil {
			s.Fatal(err)
		}
		return exists
	})
	return partition + " was made ahead"
}

func (s *system) sleep() string {
	pipeline.Eventually(s.T, patience, "no pod of counter is left", func() bool {
		return strings.TrimSpace(kubectl(s.T, "get", "pods", "--selector", counterPod, "--output=name")) == ""
	})
	return "no pod is left"
}

// wake begins to feed the other blocks, and measures how long the first of them takes from the stream to its buckets.
func (s *system) wake() string {
	s.feedRest(slowFeed, restRate)
	pipeline.Eventually(s.T, patience, "new entries arrive", func() bool { return s.end() > firstPart })
	begin := time.Now()
	pipeline.Eventually(s.T, patience, "new entries are applied", func() bool { return s.applied() > firstPart })
	return fmt.Sprintf("%.1f s from the first entry in the stream to its buckets", time.Since(begin).Seconds())
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

// finalize applies a metric, and measures how long the window that is open then takes from its end, by the low-water time, until it
// is final: by the PingSource of the sweep, the scheduler's request, and the run Service. The metric's history is there by then.
func (s *system) finalize() string {
	const within = 3 * time.Minute
	pipeline.Apply(s.T, s.store, "finalized.yaml", []byte(finalized))
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
	if _, err := s.store.DeleteMetric(s.Context(), "e2e_blocks"); err != nil {
		s.Fatal(err)
	}
	return fmt.Sprintf("%.1f s after the stream had passed its end, with all days before it", took.Seconds())
}

// end gives how many blocks the stream holds.
func (s *system) end() int {
	info, err := s.redis.XInfoStream(s.Context(), stream).Result()
	if err != nil {
		s.Fatal(err)
	}
	id, err := events.ParseID(info.LastGeneratedID)
	if err != nil {
		s.Fatal(err)
	}
	return int(id.Minor)
}

// slowFeed is the Job that feeds while the system is disturbed.
const slowFeed = "sample-rest"

// feedRest runs the Job sample again, under another name, without what holds it back, at a rate of blocks per second.
func (s *system) feedRest(name, rate string) {
	objects, err := os.ReadFile("../../bin/deploy/objects.yaml")
	if err != nil {
		s.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(objects)); ; {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			s.Fatal("there is no Job sample")
		} else if err != nil {
			s.Fatal(err)
		}
		metadata, _ := object["metadata"].(map[string]any)
		if object["kind"] != "Job" || metadata["name"] != "sample" {
			continue
		}
		metadata["name"] = name
		text, err := yaml.Marshal(object)
		if err != nil {
			s.Fatal(err)
		}
		job := strings.Replace(string(text), "name: FEED_CONFIRMATIONS\n", "name: FEED_RATE\n", 1)
		kubectlWith(s.T, strings.Replace(job, `value: "4132"`, `value: "`+rate+`"`, 1), "apply", "--filename=-")
		return
	}
}

// loading does something while blocks are being applied, and waits until more are applied afterwards.
func (s *system) loading(do func()) string {
	s.Helper()
	before := s.applied()
	do()
	during := s.applied()
	if before <= firstPart || during >= pipeline.SampleBlocks {
		s.Fatalf("it was not in the middle of a load: %d blocks applied before, %d after", before, during)
	}
	pipeline.Eventually(s.T, patience, "it goes on", func() bool { return s.applied() > during })
	return fmt.Sprintf("at block %d; it goes on from %d", before, during)
}

// remove deletes pods as if their node were gone, and waits until others are ready in their place.
func (s *system) remove(selector string) string {
	return s.loading(func() {
		before := pods(s.T, selector)
		if len(before) == 0 {
			s.Fatalf("there is no pod %s", selector)
		}
		kubectl(s.T, append([]string{"delete", "pods", "--force", "--grace-period=0"}, before...)...)
		var after []string
		pipeline.Eventually(s.T, patience, "another pod comes", func() bool {
			after = slices.DeleteFunc(pods(s.T, selector), func(name string) bool { return slices.Contains(before, name) })
			return len(after) > 0
		})
		kubectl(s.T, append([]string{"wait", "--for=condition=Ready", "--timeout", patience.String(), "pods"}, after...)...)
	})
}

func (s *system) updateFunction() string {
	return s.loading(func() {
		revision := func() string {
			return kubectl(s.T, "get", "services.serving.knative.dev", "counter", "--output=jsonpath={.status.latestReadyRevisionName}")
		}
		before := revision()
		kubectl(s.T, "patch", "services.serving.knative.dev", "counter", "--type=json",
			`--patch=[{"op": "add", "path": "/spec/template/metadata/annotations/e2e", "value": "updated"}]`)
		pipeline.Eventually(s.T, patience, "a new revision is ready", func() bool { return revision() != before })
	})
}

func (s *system) updateSource() string {
	return s.loading(func() {
		before := pods(s.T, sourcePod)
		kubectl(s.T, "rollout", "restart", "deployment/counter-source")
		kubectl(s.T, "rollout", "status", "deployment/counter-source", "--timeout", patience.String())
		if after := pods(s.T, sourcePod); len(after) != 1 || slices.Contains(before, after[0]) {
			s.Fatalf("pods %v became %v", before, after)
		}
	})
}

func (s *system) undeploy() string {
	script(s.T, "undeploy", overlay)
	s.deployed = false
	kinds := strings.Fields(kubectl(s.T, "api-resources", "--verbs=list", "--output=name"))
	pipeline.Eventually(s.T, patience, "no object with our label is left", func() bool {
		left := kubectl(s.T, "get", strings.Join(kinds, ","), "--all-namespaces", "--ignore-not-found", "--output=name", "--selector", ours)
		return strings.TrimSpace(left) == ""
	})
	return fmt.Sprintf("no object with our label in %d API resources", len(kinds))
}
