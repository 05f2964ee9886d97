package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/supervisor"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

// loopback is where the children listen: nobody else's business.
const loopback = "127.0.0.1"

// keepsDying is how often in succession a child may die at once before up gives up on starting.
const keepsDying = 3

// errKeepsDying says that a child cannot be started.
var errKeepsDying = errors.New("keeps dying")

// programs finds the children's programs beside this one, each of which may be named more than once.
func programs(names []string) (map[string]string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return nil, fmt.Errorf("find the programs: %w", err)
	}
	var (
		folder  = filepath.Dir(self)
		paths   = make(map[string]string, len(names))
		missing []string
	)
	for _, name := range names {
		if paths[name] != "" {
			continue
		}
		paths[name] = filepath.Join(folder, name)
		if info, err := os.Stat(paths[name]); err != nil || info.IsDir() || info.Mode().Perm()&0o100 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, advise(fmt.Errorf("%s not found in %s", strings.Join(missing, ", "), folder), "build them with: make build")
	}
	return paths, nil
}

// Ports of children lie between those of well-known services and those that systems give to clients, from 32768 on at the
// earliest: another process's connection must not take one before its child listens, or while that is started again.
const (
	lowestPort  = 20000
	highestPort = 32767
	portTries   = 1000
)

// freePorts gives ports that nothing listens on now.
func freePorts(ctx context.Context, count int) ([]int, error) {
	var (
		ports  []int
		failed error
	)
	for range portTries {
		if len(ports) == count {
			return ports, nil
		}
		port := lowestPort + rand.N(highestPort-lowestPort+1) //nolint:gosec // any will do
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("%s:%d", loopback, port))
		if err != nil {
			failed = err
			continue
		}
		defer listener.Close() //nolint:errcheck // nothing was sent; all stay open, so that no port comes twice
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find a free port: %w", failed)
}

// start starts a child. One that keeps dying before start-up is over ends it.
func (s *localSystem) start(p wiring.Process, environment []string, once bool) (*supervisor.Child, error) {
	log, err := s.directory.log(p.Name)
	if err != nil {
		return nil, err
	}
	process := supervisor.Process{Name: p.Name, Path: s.programs[p.Program], Env: environment, Log: log, Once: once}
	return supervisor.Start(process, func(exit supervisor.Exit) {
		if exit.Delay == 0 {
			return // it has done its work
		}
		lines := exitLines(s.screen.style, exit)
		if exit.Quick < keepsDying || s.settled.Load() {
			s.screen.notice(lines...)
			return
		}
		s.fail(advise(fmt.Errorf("%s %w (%w):\n%s", p.Name, errKeepsDying, exit.Err, strings.Join(plainLines(exit.Lines), "\n")),
			"its log is %s", log))
	}), nil
}

// await waits until children are ready.
func (s *localSystem) await(ctx context.Context, names []string) error {
	for _, name := range names {
		waiting, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s is not ready after %s", name, readyTimeout))
		err := awaitReady(waiting, s.ports[name])
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitReady waits until a child says that it is ready.
func awaitReady(ctx context.Context, port int) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for ready(ctx, port) != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// exitLines tells how a child ended, and what it said last.
func exitLines(s style, exit supervisor.Exit) []string {
	how := "ended"
	if exit.Err != nil {
		how = "died: " + exit.Err.Error()
	}
	head := fmt.Sprintf("  %s %s after %s; starting it again in %s", exit.Name, how,
		exit.Ran.Round(100*time.Millisecond), exit.Delay.Round(100*time.Millisecond))
	lines := []string{s.yellow(head)}
	for _, line := range exit.Lines {
		lines = append(lines, s.faint("    "+logLine(line)))
	}
	return lines
}

// plainLines makes lines of a log short, and indents them.
func plainLines(lines []string) []string {
	plain := make([]string, len(lines))
	for i, line := range lines {
		plain[i] = "  " + logLine(line)
	}
	return plain
}
