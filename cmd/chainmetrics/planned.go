package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
)

// plannedObjects are the planner's cluster on one machine: PingSources are schedules that run, and ready at once; the rest is kept.
type plannedObjects struct {
	wiring    *wiring.Wiring
	schedules *eventing.Schedules
	now       func() time.Time

	mu  sync.Mutex
	all map[string]planner.Live // by kind and name
}

var _ planner.Cluster = (*plannedObjects)(nil)

// List gives all objects: nobody else makes any.
func (p *plannedObjects) List(context.Context) ([]planner.Live, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]planner.Live, 0, len(p.all))
	for _, live := range p.all {
		all = append(all, live)
	}
	return all, nil
}

// Apply runs a schedule as it is to be. It fails where this machine cannot carry it out.
func (p *plannedObjects) Apply(_ context.Context, o planner.Object) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", o.Kind, o.Metadata.Name, err)
	}
	live := planner.Live{
		Kind: o.Kind, Name: o.Metadata.Name, Labels: o.Metadata.Labels, Annotations: o.Metadata.Annotations, ReadySince: p.now(),
	}
	if err := json.Unmarshal(text, &live.Fields); err != nil {
		return fmt.Errorf("apply %s %s: %w", o.Kind, o.Metadata.Name, err)
	}
	if o.Kind == planner.PingSource {
		schedules, err := p.wiring.Planned(text) // JSON is YAML
		if err != nil {
			return err
		}
		for _, schedule := range schedules {
			p.schedules.Put(schedule)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[string(o.Kind)+"/"+o.Metadata.Name] = live
	return nil
}

// Delete ends a schedule.
func (p *plannedObjects) Delete(_ context.Context, live planner.Live) error {
	if live.Kind == planner.PingSource {
		p.schedules.Remove(live.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, string(live.Kind)+"/"+live.Name)
	return nil
}
