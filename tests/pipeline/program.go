// Package pipeline runs feed, source and function for tests, as the separate processes that they are in production.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is a binary with its environment. It can be started any number of times, one process at a time.
type Program struct {
	Name        string // in messages, such as "source 2"
	Binary      string // path
	Arguments   []string
	Environment map[string]string

	log string // path

	mu      sync.Mutex
	process *os.Process
	ended   chan struct{} // closed when the process has ended
	err     error         // how it ended
	worked  time.Duration // processor time of the one that ended last
	doomed  bool          // this test ends it
}

// defects are what a Go program writes when it has one.
var defects = []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"}

// NewProgram makes a program, which is stopped with the test. The test fails where the log tells of a defect. When it
// fails the last lines of the log are shown.
func NewProgram(t testing.TB, name, binary string, environment map[string]string) *Program {
	t.Helper()
	p := &Program{
		Name: name, Binary: binary, Environment: environment,
		log: filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "-")+".log"),
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		log, err := p.Log()
		if err != nil {
			t.Error(err)
		}
		for _, defect := range defects {
			if at := strings.Index(log, defect); at >= 0 {
				t.Errorf("%s: %.2000s", name, log[at:])
			}
		}
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", name, tail(log, 40))
		}
	})
	return p
}

// Start starts a process with the program's arguments and environment, and nothing else.
func (p *Program) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		return fmt.Errorf("start %s: it runs already", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.Command(p.Binary, p.Arguments...) //nolint:noctx // built by the test, which ends it
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range p.Environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel takes the end of the thread that forked for the parent's death: this thread waits for the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := errors.Join(cmd.Start(), log.Close())
		started <- err
		if err == nil {
			err = cmd.Wait()
			p.finish(err, cmd.ProcessState, ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.process, p.ended, p.err, p.doomed = cmd.Process, ended, nil, false
	return nil
}

func (p *Program) finish(err error, state *os.ProcessState, ended chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process, p.err = nil, err
	if state != nil {
		p.worked = state.UserTime() + state.SystemTime()
	}
	close(ended)
}

// Worked is the processor time that the process took which ended last.
func (p *Program) Worked() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worked
}

// Signal sends a signal to the process. Without a process it does nothing.
func (p *Program) Signal(signal os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil
	}
	if err := p.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill sends SIGKILL, then waits for the end of the process.
func (p *Program) Kill() error {
	p.mu.Lock()
	ended := p.ended
	p.doomed = true
	p.mu.Unlock()
	if ended == nil {
		return nil
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-ended
	return nil
}

// Wait waits for the end of the process that was started last. Another status than 0 is an error.
func (p *Program) Wait(ctx context.Context) error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", p.Name, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("%s ended: %w", p.Name, p.err)
	}
	return nil
}

// Ended tells whether a process was started and has ended by itself.
func (p *Program) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended != nil && p.process == nil && !p.doomed
}

// Running tells whether there is a process.
func (p *Program) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process != nil
}

// Log gives what the program's processes have written.
func (p *Program) Log() (string, error) {
	text, err := os.ReadFile(p.log)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

func tail(log string, lines int) string {
	all := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Eventually waits until a condition holds, which fails the test after the given time. What says what is waited for.
func Eventually(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
