package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// usageError is a command line that cannot be understood; the exit status is 2.
type usageError struct {
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// advisedError is an error with what the reader can do about it.
type advisedError struct {
	err    error
	advice string
}

func (e *advisedError) Error() string { return e.err.Error() }
func (e *advisedError) Unwrap() error { return e.err }

// advise adds to an error what to do about it.
func advise(err error, format string, args ...any) error {
	return &advisedError{err: err, advice: fmt.Sprintf(format, args...)}
}

// report prints an error: each of its lines behind the command's name, those that belong to the line before and what to
// do about it indented.
func report(w io.Writer, err error) {
	var text strings.Builder
	for line := range strings.Lines(strings.TrimRight(err.Error(), "\n")) {
		if detail := strings.TrimLeft(line, " \t"); detail != line {
			fmt.Fprintf(&text, "  %s\n", strings.TrimRight(detail, "\n"))
			continue
		}
		fmt.Fprintf(&text, "chainmetrics: %s\n", strings.TrimRight(line, "\n"))
	}
	if advised, ok := errors.AsType[*advisedError](err); ok {
		for line := range strings.Lines(advised.advice) {
			fmt.Fprintf(&text, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	_, _ = io.WriteString(w, text.String()) // nobody is left to be told that standard error is gone
}
