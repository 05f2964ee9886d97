package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// errNotConfirmed says that nothing was done, because the answer was not yes.
var errNotConfirmed = errors.New("not confirmed, nothing was changed")

// confirm asks a question on standard error and succeeds where the answer is yes.
func (a *app) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if _, err := fmt.Fprintf(a.errors, "%s [y/N] ", question); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(a.errors) // the cursor still stands behind the question
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return advise(errNotConfirmed, "answer y, or pass --yes where nobody can answer")
}
