package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newProgress(prometheus.NewRegistry())
	if p.check() == nil {
		t.Error("ready before the servers answered")
	}
	p.located(id(7), 9, 3)
	if err := p.check(); err != nil {
		t.Error(err)
	}
	p.failed(failure{ofRedis, errors.New("away")})
	if p.check() == nil {
		t.Error("ready while Redis is away")
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for of, want := range map[origin]string{ofRedis: "REDIS_URL", ofPostgres: "migrate", ofFiles: "BLOCK_FILES"} {
		if got := advice(failure{of, errors.New("away")}); !strings.Contains(got, want) {
			t.Errorf("%s: %q does not name %s", of, got, want)
		}
	}
}
