package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
)

// startSchedules starts the schedules, but with --once, which ends sooner than most are due.
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
		s.schedules = eventing.Start(ctx, s.wiring.Schedules, router, s.app.now, s.tickLost)
		next, at := s.schedules.Next()
		return fmt.Sprintf("%d, next %s at %s UTC", len(s.wiring.Schedules), next, at.UTC().Format("15:04")), nil
	})
}

func (s *localSystem) tickLost(err error) {
	for line := range strings.Lines(err.Error()) {
		s.screen.notice(s.screen.yellow("  tick lost: " + printable(strings.TrimRight(line, "\n"))))
	}
}

func (s *localSystem) stopSchedules(ctx context.Context) {
	if s.schedules == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tickTimeout)
	defer cancel()
	s.schedules.Stop(ctx)
}
