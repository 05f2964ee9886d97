package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/chainmetrics/chainmetrics/shared/devserver"
)

// server is a private server that is started again when it dies.
type server struct {
	name   string
	screen *screen
	start  func(context.Context) (*devserver.Server, error)
	quit   context.CancelFunc
	done   chan struct{} // closed when nothing starts it any more

	mu      sync.Mutex
	current *devserver.Server
}

// startServer starts a server and watches over it until [server.stop].
func startServer(ctx context.Context, name string, screen *screen,
	start func(context.Context) (*devserver.Server, error),
) (*server, error) {
	first, err := start(ctx)
	if err != nil {
		if errors.Is(err, devserver.ErrNotInstalled) {
			return nil, err // which says what to do
		}
		return nil, fmt.Errorf("start private %s: %w", name, err)
	}
	watching, quit := context.WithCancel(context.WithoutCancel(ctx))
	s := &server{name: name, screen: screen, start: start, quit: quit, done: make(chan struct{}), current: first}
	go s.watch(watching)
	return s, nil
}

func (s *server) url() string { return s.present().URL() }

func (s *server) present() *devserver.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// watch starts the server again, at the same address, whenever it has ended by itself.
func (s *server) watch(ctx context.Context) {
	defer close(s.done)
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = time.Second, 30*time.Second
	for {
		present := s.present()
		select {
		case <-ctx.Done():
			return
		case <-present.Done():
		}
		s.say(present.Err())
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(delays.NextBackOff()):
			}
			next, err := s.start(ctx)
			if err == nil {
				s.mu.Lock()
				s.current = next
				s.mu.Unlock()
				s.screen.notice(s.screen.yellow("  " + s.name + " runs again"))
				break
			}
			s.say(err)
		}
	}
}

func (s *server) say(err error) {
	if err == nil {
		return
	}
	head, rest, _ := strings.Cut(err.Error(), "\n")
	lines := []string{s.screen.yellow("  " + head + "; starting it again")}
	for line := range strings.Lines(rest) {
		lines = append(lines, s.screen.faint("    "+printable(strings.TrimRight(line, "\n"))))
	}
	s.screen.notice(lines...)
}

// stop ends the watch, then the server.
func (s *server) stop(ctx context.Context) error {
	s.quit()
	<-s.done
	return s.present().Stop(ctx)
}
