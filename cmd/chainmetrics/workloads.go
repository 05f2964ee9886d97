package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/supervisor"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
)

// startFunctions starts all functions at once, and waits until each is ready.
func (s *localSystem) startFunctions(ctx context.Context) error {
	return s.screen.phase("function", func() (string, error) {
		if err := s.choosePorts(ctx); err != nil {
			return "", err
		}
		var names []string
		for _, f := range s.wiring.Functions {
			if f.Program == planner.Name {
				continue
			}
			child, err := s.start(f.Process, functionEnviron(f, s.url(ingress)+"/"+f.Broker, s.ports[f.Name]), false)
			if err != nil {
				return "", err
			}
			s.functions, names = append(s.functions, child), append(names, f.Name)
		}
		return strings.Join(names, ", "), s.await(ctx, names)
	})
}

// startSources starts all sources at once, and waits until each is ready.
func (s *localSystem) startSources(ctx context.Context) error {
	return s.screen.phase("source", func() (string, error) {
		var names, links []string
		for _, source := range s.wiring.Sources {
			child, err := s.start(source.Process, sourceEnviron(source, s.url(source.Sink), s.ports[source.Name]), false)
			if err != nil {
				return "", err
			}
			s.sources = append(s.sources, child)
			names, links = append(names, source.Name), append(links, source.Name+" → "+source.Sink)
		}
		return strings.Join(links, ", "), s.await(ctx, names)
	})
}

// startFeed starts the feed. One that follows never ends, and mends losses of the stream.
func (s *localSystem) startFeed() (*supervisor.Child, error) {
	feed := s.wiring.Feed
	return s.start(feed, feedEnviron(feed, s.files, !s.flags.once, s.ports[feed.Name]), s.flags.once)
}

// ingress is the name under which the way into the Brokers has its port. No object has a name like it.
const ingress = "(ingress)"

// choosePorts gives every child a port, and the way into the Brokers.
func (s *localSystem) choosePorts(ctx context.Context) error {
	names := []string{s.wiring.Feed.Name, ingress}
	for _, f := range s.wiring.Functions {
		names = append(names, f.Name)
	}
	for _, source := range s.wiring.Sources {
		names = append(names, source.Name)
	}
	ports, err := freePorts(ctx, len(names))
	if err != nil {
		return err
	}
	s.ports = make(map[string]int)
	for i, name := range names {
		s.ports[name] = ports[i]
	}
	return nil
}

// url is where a function listens, or the way into the Brokers.
func (s *localSystem) url(name string) string {
	return fmt.Sprintf("http://%s:%d", loopback, s.ports[name])
}
