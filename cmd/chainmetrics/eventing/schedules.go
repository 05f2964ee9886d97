package eventing

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

// Schedules publish events when they are due.
type Schedules struct {
	router *Router
	now    func() time.Time
	lost   func(error)
	all    []wiring.Schedule
	cron   *cron.Cron
	drop   context.CancelFunc // ends what is under way
}

// Start runs schedules until [Schedules.Stop]. An event that was given up is told to lost, concurrently.
func Start(ctx context.Context, schedules []wiring.Schedule, router *Router, now func() time.Time, lost func(error)) *Schedules {
	s := &Schedules{router: router, now: now, lost: lost, all: schedules, cron: cron.New()}
	ctx, s.drop = context.WithCancel(context.WithoutCancel(ctx))
	for _, schedule := range schedules {
		s.cron.Schedule(schedule.When, cron.FuncJob(func() { s.fire(ctx, schedule) }))
	}
	s.cron.Start()
	return s
}

// fire publishes a schedule's event, as it would be now.
func (s *Schedules) fire(ctx context.Context, schedule wiring.Schedule) {
	e := schedule.Event.Clone()
	e.SetID(rand.Text())
	e.SetTime(s.now().UTC())
	if err := s.router.Publish(ctx, schedule.Broker, e); err != nil && ctx.Err() == nil {
		s.lost(err)
	}
}

// Next gives the schedule that is due first from now on, and when.
func (s *Schedules) Next() (name string, at time.Time) {
	now := s.now()
	for _, schedule := range s.all {
		if due := schedule.When.Next(now); name == "" || due.Before(at) {
			name, at = schedule.Name, due
		}
	}
	return name, at
}

// Stop publishes nothing more, and waits for what is under way. What is not done when the context ends is dropped: a
// tick may be lost.
func (s *Schedules) Stop(ctx context.Context) {
	published := s.cron.Stop()
	select {
	case <-published.Done():
	case <-ctx.Done():
	}
	s.drop()
	<-published.Done()
}
