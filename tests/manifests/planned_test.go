package manifests_test

import (
	"bytes"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// planned gives what the planner makes of a metric of each type and complexity that has all bucket sizes.
func planned(t *testing.T) []byte {
	t.Helper()
	var definitions []metric.Definition
	for _, kind := range functions.Definitions() {
		for _, complexity := range []string{"small", "medium", "large"} {
			definitions = append(definitions, metric.Definition{
				Name: kind.Name + "_" + complexity, Type: kind.Name, Complexity: complexity, BucketSizes: bucket.Sizes(),
			})
		}
	}
	objects, err := planner.Objects(definitions, namespace)
	if err != nil {
		t.Fatal(err)
	}
	var documents bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		documents.WriteString("---\n")
		documents.Write(text)
	}
	return documents.Bytes()
}
