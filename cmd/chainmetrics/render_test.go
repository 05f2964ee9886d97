package main_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRender: the objects of files need no server; those of the registry are the same.
func TestRender(t *testing.T) {
	t.Parallel()
	alone := newOperator(t)
	got := alone.must(t, "render", "-f", file(t, "metrics.yaml"))
	golden(t, "render.yaml", got)
	golden(t, "render-queries.yaml", alone.must(t, "render", "-f", file(t, "queries.yaml")))

	o := newOperator(t, "postgres")
	o.must(t, "migrate")
	if empty := o.must(t, "render"); empty != "" {
		t.Errorf("without metrics:\n%s", empty)
	}
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	if diff := cmp.Diff(got, o.must(t, "render")); diff != "" {
		t.Errorf("objects (-of the file +of the registry)\n%s", diff)
	}
	if o.must(t, "render", "--namespace", "staging") == got {
		t.Error("another namespace gives the same objects")
	}
}
