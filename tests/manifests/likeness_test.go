package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The metric types have the same manifests, comments included: what is right for one is right for the others. They differ
// in what may be tuned for each, which is when they are due and what resources they get.
func TestMetricTypesAreDeployedAlike(t *testing.T) {
	counter := manifestsOf(t, "counter")
	if len(counter) == 0 {
		t.Fatal("there are no manifests of the counter")
	}
	for _, metricType := range []string{"gauge", "histogram"} {
		if diff := cmp.Diff(counter, manifestsOf(t, metricType)); diff != "" {
			t.Errorf("%s is not deployed as the counter is: %s", metricType, diff)
		}
	}
}

var tuned = regexp.MustCompile(`(?m)^( *(?:schedule|requests|limits):) .*$`)

// manifestsOf gives the texts of a metric type's manifests by their file names, the type's name left out.
func manifestsOf(t *testing.T, metricType string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "config", "*", "*"+metricType+"*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := tuned.ReplaceAllString(string(source), "$1 …")
		texts[strings.ReplaceAll(filepath.Base(file), metricType, "TYPE")] = strings.ReplaceAll(text, metricType, "TYPE")
	}
	return texts
}
