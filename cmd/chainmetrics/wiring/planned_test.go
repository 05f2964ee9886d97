package wiring_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlanned(t *testing.T) {
	t.Parallel()
	w := read(t, render(t))
	schedules, err := w.Planned([]byte(counterHourly))
	if err != nil || len(schedules) != 1 {
		t.Fatalf("%d schedules, %v", len(schedules), err)
	}
	want := w.Schedules[len(w.Schedules)-1]
	if got := schedules[0]; got.Name != want.Name || got.Broker != want.Broker || got.Event.String() != want.Event.String() {
		t.Errorf("planned is %+v, read %+v", got, want)
	}
	tests := map[string]struct{ text, by, want string }{
		"another Broker": {"name: metrics", "name: others", `PingSource counter-hourly: spec.sink.ref: there is no Broker "others"`},
		"untaken":        {"small", "huge", "PingSource counter-hourly: no Trigger of Broker metrics takes its events"},
		"another field":  {"  timezone", "  dataBase64: AA==\n  timezone", "PingSource counter-hourly: spec.dataBase64 is not carried out here"},
		"another kind":   {"kind: PingSource", "kind: ApiServerSource", "ApiServerSource counter-hourly: a ApiServerSource of sources.knative.dev/v1 is not carried out here"},
		"no YAML":        {"apiVersion", "{", "read manifests: "},
	}
	for name, test := range tests {
		_, err := w.Planned([]byte(strings.Replace(counterHourly, test.text, test.by, 1)))
		if err == nil {
			t.Errorf("%s: it is read", name)
		} else if got := err.Error(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: the error (-want +got)\n%s", name, cmp.Diff(test.want, got))
		}
	}
}
