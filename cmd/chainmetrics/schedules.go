package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
)

// startSchedules starts the schedules, and what takes events for the Brokers; but with --once, which ends sooner than most are due.
func (s *localSystem) startSchedules(ctx context.Context) error {
	if s.flags.once || len(s.wiring.Schedules) == 0 {
		return nil
	}
	return s.screen.phase("schedules", func() (string, error) {
		urls := make(map[string]string)
		for _, f := range s.wiring.Functions {
			urls[f.Name] = s.url(f.Name)
		}
		router := eventing.NewRouter(s.wiring.Triggers, s.wiring.Functions, urls)
		var err error
		if s.brokers, err = serveBrokers(ctx, eventing.NewIngress(ctx, router, s.eventLost), s.ports[ingress]); err != nil {
			return "", err
		}
		s.schedules = eventing.Start(ctx, s.wiring.Schedules, router, s.app.now, s.eventLost)
		next, at := s.schedules.Next()
		return fmt.Sprintf("%d, next %s at %s UTC", len(s.wiring.Schedules), next, at.UTC().Format("15:04")), nil
	})
}

func (s *localSystem) eventLost(err error) {
	for line := range strings.Lines(err.Error()) {
		s.screen.notice(s.screen.yellow("  event lost: " + printable(strings.TrimRight(line, "\n"))))
	}
}

func (s *localSystem) stopSchedules(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if s.schedules != nil {
		s.schedules.Stop(ctx)
	}
	if s.brokers != nil {
		s.brokers.stop(ctx)
	}
	if s.planning != nil {
		s.planning.stop()
	}
}
