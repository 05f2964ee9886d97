package main

import (
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

func TestChildrenHaveTheServersOfTheirSecrets(t *testing.T) {
	t.Setenv("POSTGRES_URL", "postgres://here")
	t.Setenv("REDIS_URL", "redis://here")
	t.Setenv("K_SINK", "http://elsewhere")
	t.Setenv("SOURCE_GRACE", "7s")
	t.Setenv("FUNCTION", "gauge")
	t.Setenv("SMTP_PASSWORD", "hidden")
	t.Setenv("WEBHOOK_URL", "https://here")
	t.Setenv("CONNECTION_OTHER", "postgres://elsewhere")
	source := wiring.Source{
		Process:    wiring.Process{Name: "counter-source", Environ: []string{"FUNCTION=counter"}, Secrets: []string{wiring.Redis}},
		Extensions: map[string]string{"origin": "test"},
	}
	environment := strings.Join(sourceEnviron(source, "http://here", 7), "\n") + "\n"
	for _, want := range []string{
		"REDIS_URL=redis://here", "K_SINK=http://here", "FUNCTION=counter", "METRICS_PORT=7", "SOURCE_GRACE=7s",
		`K_CE_OVERRIDES={"extensions":{"origin":"test"}}`,
	} {
		if !strings.Contains(environment, want+"\n") {
			t.Errorf("%s is not there:\n%s", want, environment)
		}
	}
	for _, unwanted := range []string{"POSTGRES_URL=", "elsewhere", "gauge", "SMTP_", "WEBHOOK_"} {
		if strings.Contains(environment, unwanted) {
			t.Errorf("%s is there:\n%s", unwanted, environment)
		}
	}
	notify := wiring.Function{Process: wiring.Process{Name: "notify", Secrets: []string{wiring.Postgres, wiring.Notify}}}
	environment = strings.Join(functionEnviron(notify, "", 8), "\n") + "\n"
	for _, want := range []string{"SMTP_PASSWORD=hidden", "WEBHOOK_URL=https://here", "POSTGRES_URL=postgres://here"} {
		if !strings.Contains(environment, want+"\n") {
			t.Errorf("notify has no %s:\n%s", want, environment)
		}
	}
	if strings.Contains(environment, "REDIS_URL=") || strings.Contains(environment, "CONNECTION_") {
		t.Errorf("notify has Redis, or other databases:\n%s", environment)
	}
	runs := wiring.Function{Process: wiring.Process{Name: "counter-small", Secrets: []string{wiring.Postgres, wiring.Connections}}}
	if environment = strings.Join(functionEnviron(runs, "", 9), "\n"); !strings.Contains(environment, "CONNECTION_OTHER=postgres://elsewhere") {
		t.Errorf("runs have no other databases:\n%s", environment)
	}
}
