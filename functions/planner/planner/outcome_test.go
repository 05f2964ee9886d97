package planner

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestOutcomeIsCounted: what is refused, and what another pass may do, are told apart.
func TestOutcomeIsCounted(t *testing.T) {
	var o Outcome
	o.count(PingSource, created, fmt.Errorf("apply: %w", ErrForeign))
	o.count(PingSource, "", fmt.Errorf("%w: no schedule", ErrRefused))
	o.count(ConfigMap, pruned, errors.New("timeout"))
	o.count(ConfigMap, changed, errNoTime)
	if len(o.Refused) != 2 || len(o.Failed) != 1 || o.Left != 1 || o.Complete() {
		t.Errorf("the outcome is %+v", o)
	}
	if err := o.failure(); errors.Is(err, ErrRefused) || !errors.Is(err, errNoTime) || !errors.Is(o.Refusal(), ErrForeign) {
		t.Errorf("it fails with %v, and refuses %v", err, o.Refusal())
	}
	gauge := func(kind Kind) float64 { return testutil.ToFloat64(objects.WithLabelValues(string(kind), "refused")) }
	o.measure()
	if gauge(PingSource) != 2 || gauge(ConfigMap) != 0 {
		t.Errorf("%v PingSources are refused, %v ConfigMaps", gauge(PingSource), gauge(ConfigMap))
	}
	Outcome{}.measure()
	if gauge(PingSource) != 0 {
		t.Errorf("then %v PingSources are refused", gauge(PingSource))
	}
	if got := testutil.ToFloat64(changes.WithLabelValues(string(PingSource), "failed")); got != 2 {
		t.Errorf("%v changes have failed", got)
	}
}
