package eventing

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

// Schedules publish events when they are due. They may be changed while they run.
type Schedules struct {
	router *Router
	now    func() time.Time
	lost   func(error)
	cron   *cron.Cron
	ctx    context.Context    //nolint:containedctx // of what is under way, which outlives the call that started it
	drop   context.CancelFunc // ends what is under way

	mu  sync.Mutex
	all []entry
}

// entry is a schedule that runs.
type entry struct {
	wiring.Schedule
	id cron.EntryID
}

// Start runs schedules until [Schedules.Stop]. An event that was given up is told to lost, concurrently.
func Start(ctx context.Context, schedules []wiring.Schedule, router *Router, now func() time.Time, lost func(error)) *Schedules {
	s := &Schedules{router: router, now: now, lost: lost, cron: cron.New()}
	s.ctx, s.drop = context.WithCancel(context.WithoutCancel(ctx))
	for _, schedule := range schedules {
		s.add(schedule)
	}
	s.cron.Start()
	return s
}

// Put runs a schedule in the place of the one that has its name, if there is one.
func (s *Schedules) Put(schedule wiring.Schedule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(schedule.Name)
	s.add(schedule)
}

// Remove ends a schedule. What it has under way goes on.
func (s *Schedules) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(name)
}

func (s *Schedules) add(schedule wiring.Schedule) {
	id := s.cron.Schedule(schedule.When, cron.FuncJob(func() { s.fire(schedule) }))
	s.all = append(s.all, entry{schedule, id})
}

func (s *Schedules) remove(name string) {
	s.all = slices.DeleteFunc(s.all, func(e entry) bool {
		if e.Name == name {
			s.cron.Remove(e.id)
		}
		return e.Name == name
	})
}

// fire publishes a schedule's event, as it would be now.
func (s *Schedules) fire(schedule wiring.Schedule) {
	e := schedule.Event.Clone()
	e.SetID(rand.Text())
	e.SetTime(s.now().UTC())
	if err := s.router.Publish(s.ctx, schedule.Broker, e); err != nil && s.ctx.Err() == nil {
		s.lost(err)
	}
}

// Next gives the schedule that is due first from now on, and when.
func (s *Schedules) Next() (name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
