//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// deployBefore deploys an earlier commit by its own scripts: what scripts/previous says, or E2E_FROM.
func (s *system) deployBefore() string {
	from := os.Getenv("E2E_FROM")
	if from == "" {
		from = s.output("../../scripts/previous")
	}
	// The tree goes when it is deployed; its manifests are wanted once more.
	s.objects = filepath.Join(s.TempDir(), "objects.yaml")
	s.deployed = true
	script(s.T, "../../scripts/at", from, "sh", "-c", `scripts/deploy "$0" && cp bin/deploy/objects.yaml "$1"`, overlay, s.objects)
	s.connect()
	return s.output("git", "log", "-1", "--format=%h %s", from)
}

// output runs a program and gives what it prints.
func (s *system) output(name string, args ...string) string {
	s.Helper()
	output, err := exec.CommandContext(s.Context(), name, args...).Output()
	if err != nil {
		s.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(output))
}

// upgrade deploys this commit over the earlier one in the middle of a load.
func (s *system) upgrade() string {
	before := s.images()
	seen := s.loading(func() { script(s.T, "../../scripts/deploy", overlay) })
	s.objects = "../../bin/deploy/objects.yaml"
	s.inbox = forward(s.T, "deployment/inbox", 8080)
	after := s.images()
	for name, image := range before {
		if after[name] == image {
			s.Errorf("%s runs the image that it ran before, %s", name, image)
		}
	}
	return seen
}

// images gives the images of the functions.
func (s *system) images() map[string]string {
	all := map[string]string{}
	const template = `{range .items[*]}{.metadata.name} {.spec.template.spec.containers[0].image}{"\n"}{end}`
	for line := range strings.Lines(kubectl(s.T, "get", "services.serving.knative.dev", "--output=jsonpath="+template)) {
		name, image, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = image
	}
	return all
}

// connect reaches the servers from here.
func (s *system) connect() {
	address := postgresURL(s.T)
	s.address = address
	s.database, s.store = pipeline.Database(s.T, address), pipeline.Store(s.T, address)
	s.redis = pipeline.Redis(s.T, "redis://"+forward(s.T, "statefulset/redis", 6379))
}
