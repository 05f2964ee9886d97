package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	nameWidth   = 10 // of a phase
	resultWidth = 52 // of what it did
	detailWidth = 48 // of progress, before its bar
	longestBar  = 24
	// plainPause is how often progress is told where the output is no terminal.
	plainPause = 3 * time.Second
)

// screen is what up shows: a line for each phase, a bar or lines of progress, notices. Its methods may be called
// concurrently.
type screen struct {
	style
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	now      func() time.Time
	bar      *progressbar.ProgressBar
	running  string    // the phase whose line stands unfinished on the terminal
	told     time.Time // when progress was last told in a line
	last     string    // that line
}

func newScreen(out io.Writer, now func() time.Time) *screen {
	return &screen{style: styleOf(out), out: out, terminal: isTerminal(out), now: now}
}

// phase shows that something is done, what came of it, and the time that it took.
func (s *screen) phase(name string, do func() (result string, err error)) error {
	started := s.now()
	s.mu.Lock()
	s.told = started
	if s.terminal {
		s.running = name
		s.print("  %s…", s.faint(pad(name, nameWidth)))
	}
	s.mu.Unlock()
	result, err := do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	s.running = ""
	if err != nil {
		return err
	}
	s.print("  %s%s%6.1fs\n", s.bold(pad(name, nameWidth)), pad(result, resultWidth), s.now().Sub(started).Seconds())
	return nil
}

// notice shows lines between the others.
func (s *screen) notice(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	for _, line := range lines {
		s.print("%s\n", line)
	}
	if s.running != "" && s.bar == nil {
		s.print("  %s…", s.faint(pad(s.running, nameWidth)))
	}
}

// progress shows how far a phase has come: done of total, which is 0 where it is unknown, with details.
func (s *screen) progress(done, total int64, details string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		if s.now().Sub(s.told) >= plainPause && details != s.last {
			s.told, s.last = s.now(), details
			s.print("  %s%s\n", pad("", nameWidth), details)
		}
		return
	}
	if total <= 0 {
		s.wipe()
		s.print("  %s%s", s.faint(pad(s.running, nameWidth)), details)
		return
	}
	if s.bar == nil {
		s.wipe()
		s.bar = newBar(s.out, total)
	}
	s.bar.Describe("  " + pad(s.running, nameWidth) + pad(details, detailWidth))
	_ = s.bar.Set64(min(done, total-1)) // it ends with its phase; drawing fails only where the terminal is gone
}

// newBar makes a bar that leaves room for the description before it.
func newBar(out io.Writer, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(max(4, min(longestBar, terminalWidth(out)-2-nameWidth-detailWidth-len("100%   ")))),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionSetTheme(progressbar.Theme{
			Saucer: "━", SaucerHead: "━", SaucerPadding: "─", BarStart: "", BarEnd: "",
		}),
	)
}

// wipe takes the unfinished line from the terminal. The caller holds the lock.
func (s *screen) wipe() {
	if s.bar != nil {
		_ = s.bar.Clear() // drawing fails only where the terminal is gone
		s.bar = nil
	}
	if s.terminal {
		s.print("\r\x1b[K")
	}
}

// print writes to the output; where that is gone, up goes on without.
func (s *screen) print(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...)
}

// pad puts spaces behind text up to a width in columns.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(1, width-len([]rune(text))))
}
