package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestCommandsWaitForTheSchema(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.environ = append(o.environ, "POSTGRES_URL="+harness.PostgresServer(t).URL())
	waited := make(chan result)
	go func() { waited <- o.run(t, "metric", "list", "--wait", "1m") }()
	select {
	case r := <-waited:
		t.Fatalf("it did not wait: exit status %d\n%s", r.code, r.errors)
	case <-time.After(time.Second):
	}
	o.must(t, "migrate")
	r := <-waited
	if r.code != 0 || !strings.HasPrefix(r.errors, "waiting: ") {
		t.Errorf("exit status %d\n%s", r.code, r.errors)
	}
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "redis")
	install(t, o, failing)
	for _, args := range [][]string{{"migrate"}, {"metric", "list"}, {"up", "--no-feed"}} {
		begin := time.Now()
		r := o.run(t, append(args, "--wait", "1500ms", "--postgres-url", "postgres://nobody@127.0.0.1:1/none")...)
		if r.code != 1 || !strings.HasPrefix(r.errors, "waiting: ") || time.Since(begin) < time.Second {
			t.Errorf("%v: exit status %d after %s\n%s", args, r.code, time.Since(begin), r.errors)
		}
	}
}
