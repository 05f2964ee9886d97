package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// timeRange is a range of time that two flags bound.
type timeRange struct {
	prefix           string // of their names
	fromText, toText string
	from, to         time.Time // zero: they were not said
}

// add adds the flags, which are --from and --to behind a prefix.
func (r *timeRange) add(cmd *cobra.Command, prefix, fromHelp, toHelp string) {
	r.prefix = prefix
	cmd.Flags().StringVar(&r.fromText, prefix+"from", "", fromHelp)
	cmd.Flags().StringVar(&r.toText, prefix+"to", "", toHelp)
}

// read reads the times. It tells everything that is wrong with them, all of which is wrong usage.
func (r *timeRange) read(now time.Time) error {
	var errFrom, errTo error
	if r.from, errFrom = parseTime(r.fromText, now); errFrom != nil {
		errFrom = fmt.Errorf("--%sfrom: %w", r.prefix, errFrom)
	}
	if r.to, errTo = parseTime(r.toText, now); errTo != nil {
		errTo = fmt.Errorf("--%sto: %w", r.prefix, errTo)
	}
	if err := errors.Join(errFrom, errTo); err != nil {
		return err
	}
	if !r.from.IsZero() && !r.to.IsZero() && !r.from.Before(r.to) {
		return fmt.Errorf("--%[1]sfrom %[2]s is not before --%[1]sto %[3]s", r.prefix, r.fromText, r.toText)
	}
	return nil
}

// begun gives the times, of which the last is not in the future: windows that have not begun are not empty.
func (r *timeRange) begun(now time.Time) (from, to time.Time) {
	if r.to.After(now) {
		return r.from, now.UTC()
	}
	return r.from, r.to
}
