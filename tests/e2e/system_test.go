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
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const (
	overlay    = "tests/e2e" // kustomization.yaml of this folder
	stream     = "blockchain_events:bitcoin"
	firstPart  = 10_000 // blocks that kustomization.yaml has fed to begin with
	restRate   = "2"    // blocks of the rest per second, so that 34 minutes are there to disturb them
	allAtOnce  = "0"    // as a rate: what is left when nothing is to be disturbed any more
	patience   = 5 * time.Minute
	counterPod = "serving.knative.dev/service=counter"
)

// system is the deployed system.
type system struct {
	*testing.T
	deployed bool // perhaps in part
	database *pgxpool.Pool
	store    *postgres.Store
	redis    *redis.Client
	address  string // of the database, from here
	objects  string // path of the manifests that are deployed
	inbox    string // host and port of the HTTP side of the inbox, from here
}

func TestMain(m *testing.M) { harness.Main(m) }

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
		{"an earlier commit is deployed from nothing", s.deployBefore},
		{"the first blocks equal the independent computation", s.compareFirst},
		{"the function goes to sleep", s.sleep},
		{"new entries wake it", s.wake},
		{"this commit is deployed over it in the middle of a load", s.upgrade},
		{"a metric that is applied gets its PingSource", s.apply},
		{"a tick of that makes a window final that has passed", s.finalize},
		{"the metric is deleted, and what was made for it", s.deleteMetric},
		{"a run that fails is tried again, then mailed and posted", s.failRun},
		{"pods of functions are deleted by force in the middle of a load", s.removeFunctions},
		{"pods of sources are deleted by force in the middle of a load", s.removeSources},
		{"the functions are updated in the middle of a load", s.updateFunctions},
		{"the sources are updated in the middle of a load", s.updateSources},
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
	kubectl(s.T, "apply", "--filename=../../config/knative/100-namespace.yaml", "--filename=../../config/knative/200-serviceaccount.yaml",
		"--filename=../../config/knative/200-serviceaccount-planner.yaml")
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

func (s *system) sleep() string {
	pipeline.Eventually(s.T, patience, "no pod of counter is left", func() bool {
		return strings.TrimSpace(kubectl(s.T, "get", "pods", "--selector", counterPod, "--output=name")) == ""
	})
	return "no pod is left"
}

// wake begins to feed the other blocks, and measures how long the first of them takes from the stream to its buckets.
func (s *system) wake() string {
	s.feedRest(slowFeed, restRate)
	kubectl(s.T, "label", "job", slowFeed, "app.kubernetes.io/instance-") // or the next deploy would remove it
	pipeline.Eventually(s.T, patience, "new entries arrive", func() bool { return s.end() > firstPart })
	begin := time.Now()
	pipeline.Eventually(s.T, patience, "new entries are applied", func() bool { return s.applied() > firstPart })
	return fmt.Sprintf("%.1f s from the first entry in the stream to its buckets", time.Since(begin).Seconds())
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
	objects, err := os.ReadFile(s.objects)
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

func (s *system) undeploy() string {
	script(s.T, "../../scripts/undeploy", overlay)
	s.deployed = false
	kinds := strings.Fields(kubectl(s.T, "api-resources", "--verbs=list", "--output=name"))
	pipeline.Eventually(s.T, patience, "no object with our label is left", func() bool {
		left := kubectl(s.T, "get", strings.Join(kinds, ","), "--all-namespaces", "--ignore-not-found", "--output=name", "--selector", ours)
		return strings.TrimSpace(left) == ""
	})
	return fmt.Sprintf("no object with our label in %d API resources", len(kinds))
}
