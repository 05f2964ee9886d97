package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

// defaultNamespace is that of the manifests.
const defaultNamespace = "blockchain-metrics"

// Bounds of requests to the planner, as those of its own program.
const (
	planBody  = 1 << 20          // bytes
	planSpare = 10 * time.Second // it answers so long before the time of its Service is over
)

// planning is the planner, which this process serves.
type planning struct {
	cancel context.CancelFunc
	served chan struct{} // closed when it does no more
	log    *os.File
}

// startPlanner runs the schedules of the registry, and serves the planner, which changes them. There are none with --once.
func (s *localSystem) startPlanner(ctx context.Context) error {
	i := slices.IndexFunc(s.wiring.Functions, func(f wiring.Function) bool { return f.Program == planner.Name })
	if s.schedules == nil || i < 0 {
		return nil
	}
	return s.screen.phase("planner", func() (string, error) {
		log, err := s.planningLog(ctx)
		if err != nil {
			return "", err
		}
		objects := &plannedObjects{wiring: s.wiring, schedules: s.schedules, now: s.app.now, all: make(map[string]planner.Live)}
		function := planner.NewFunction(s.store, objects, planner.Place{Namespace: defaultNamespace})
		s.planning = s.servePlanner(ctx, s.wiring.Functions[i], function, log)
		outcome, err := function.Plan(ctx, s.app.now())
		if err != nil {
			return "", err
		}
		if refusal := outcome.Refusal(); refusal != nil {
			return "", refusal
		}
		next, at := s.schedules.Next()
		return fmt.Sprintf("%s of %s, next %s at %s UTC", plural(outcome.PingSources, "schedule", "schedules"),
			plural(outcome.Metrics, "metric", "metrics"), next, at.UTC().Format("15:04")), nil
	})
}

// planningLog has what the planner logs go to a file of its own, as if it were a program.
func (s *localSystem) planningLog(ctx context.Context) (*os.File, error) {
	name, err := s.directory.log(planner.Name)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the planner's log: %w", err)
	}
	if _, err := telemetry.Setup(ctx, telemetry.Config{LogFormat: "json"}, planner.Name, log); err != nil { // nothing that has to be stopped
		return nil, err
	}
	return log, nil
}

func (s *localSystem) servePlanner(ctx context.Context, f wiring.Function, function *planner.Function, log *os.File) *planning {
	p := &planning{served: make(chan struct{}), log: log}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	cfg := receiver.Config{
		Host: loopback, Port: s.ports[f.Name], MaxBodyBytes: planBody, DeliveryTimeout: f.Timeout - planSpare, DrainTimeout: eventTimeout,
	}
	go func() {
		defer close(p.served)
		if err := receiver.Serve(ctx, cfg, function); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("planner: %w", err))
		}
	}()
	return p
}

// stop ends the planner. What it has not done the next one does.
func (p *planning) stop() {
	p.cancel()
	<-p.served
	_ = p.log.Close() // of no consequence
}
