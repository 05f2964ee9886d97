package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// write shows the status to people.
func (s *status) write(w io.Writer, a *app) error {
	style := styleOf(w)
	var text strings.Builder
	if len(s.Streams) == 0 {
		text.WriteString("no stream yet: a feed makes one, or: " + a.command("up") + "\n")
	} else if err := s.streamTable().write(&text, style, ""); err != nil {
		return err
	}
	if len(s.Functions) > 0 {
		text.WriteString("\n")
		if err := s.functionTable().write(&text, style, ""); err != nil {
			return err
		}
	}
	for _, trouble := range s.troubles(a) {
		text.WriteString("\n" + style.red(trouble.what) + "\n")
		for _, line := range trouble.lines {
			text.WriteString("  " + printable(line) + "\n")
		}
	}
	for _, f := range s.Functions {
		if f.Away != "" {
			fmt.Fprintf(&text, "\n%s is away from %s: %s\n", f.Function, printable(f.Stream), f.Away)
		}
	}
	if len(s.Holes) > 0 {
		text.WriteString("\nlosses that were accepted or healed\n")
		for _, h := range s.Holes {
			fmt.Fprintf(&text, "  %s in %s: between %s and %s, %s: %s", h.Function, printable(h.Stream), h.After, h.Next,
				h.AcceptedAt.Format(time.DateOnly), printable(h.Reason))
			if h.ImportedAt != nil {
				text.WriteString(", imported " + h.ImportedAt.Format(time.DateOnly))
			}
			text.WriteString("\n")
		}
	}
	for _, m := range s.MissingBlocks {
		fmt.Fprintf(&text, "\nthe archive lacks %s of %s in %s: %s\n", plural(int(m.Blocks), "block", "blocks"), printable(m.Chain),
			plural(int(m.Holes), "hole", "holes"), a.command("coverage", m.Stream))
	}
	if len(s.Paused) > 0 {
		text.WriteString("\npaused metrics, whose runs are not begun\n")
		for _, p := range s.Paused {
			fmt.Fprintf(&text, "  %s, %s: %s\n", p.Metric, p.PausedAt.Format(time.DateTime), a.command("metric", "resume", p.Metric))
		}
	}
	if s.OK && len(s.Streams) > 0 {
		text.WriteString("\n" + style.green("nothing is wrong") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (s *status) streamTable() *table {
	t := &table{columns: []column{
		{name: "stream"},
		{name: "mode"},
		{name: "chain"},
		{name: "entries", right: true},
		{name: "first", right: true},
		{name: "last", right: true},
		{name: "size", right: true},
	}}
	for _, stream := range s.Streams {
		mode := stream.Mode
		if mode == "" {
			mode = "-"
		}
		if !stream.Exists {
			t.add(printable(stream.Name), mode, printable(stream.Chain), "missing", "", "", "")
			continue
		}
		t.add(printable(stream.Name), mode, printable(stream.Chain), grouped(stream.Length), stream.First.String(),
			stream.Last.String(), byteSize(stream.Bytes))
	}
	return t
}

// trouble is something to look at, and what to do about it.
type trouble struct {
	what  string
	lines []string
}

func (s *status) troubles(a *app) []trouble {
	var all []trouble
	for _, f := range s.Functions {
		if f.Loss != "" {
			t := trouble{what: fmt.Sprintf("%s cannot go on in %s: %s", f.Function, printable(f.Stream), printable(f.Loss))}
			switch {
			case f.heals:
				t.lines = []string{"the archive's next tick has it go on, with all that is archived or still to come"}
			case f.acceptable:
				t.lines = []string{
					"a feed that runs and still has the entries heals this by itself; where none can:",
					a.command("stream", "accept", f.Stream),
				}
			default:
				t.lines = []string{"nothing follows what is lost: start its feed again"}
			}
			all = append(all, t)
		}
		if f.Late {
			t := trouble{
				what: fmt.Sprintf("%s is late in %s: it has applied nothing that was appended in the last %s", f.Function,
					printable(f.Stream), f.age()),
				lines: []string{"look at its log, or at its source's"},
			}
			if f.holds {
				t.lines = append(t.lines, "it alone keeps the stream from being trimmed; where it is to stay away:",
					a.command("function", "detach", f.Function))
			}
			all = append(all, t)
		}
	}
	if s.DeadLetters > 0 {
		all = append(all, trouble{
			what:  plural(int(s.DeadLetters), "entry", "entries") + " could not be read; all others are applied",
			lines: []string{"see which and why: " + a.command("dead-letter", "list")},
		})
	}
	if len(s.MetricErrors) > 0 {
		t := trouble{what: "metrics that do not count everything"}
		for _, m := range s.MetricErrors {
			t.lines = append(t.lines, fmt.Sprintf("%s: %s: %s, such as in %s of %s", m.Metric, m.Reason,
				plural(int(m.Count), "time", "times"), m.Sample, m.Stream))
		}
		all = append(all, t)
	}
	if len(s.PendingReverts) > 0 {
		t := trouble{what: "reverted blocks that are still counted"}
		for _, r := range s.PendingReverts {
			t.lines = append(t.lines, fmt.Sprintf("%s in %s: %s takes back what follows %s, height %s", r.Function, r.Stream,
				r.ID, r.Ancestor, strconv.FormatUint(r.Number, 10)))
		}
		all = append(all, t)
	}
	if len(s.FailedRuns) > 0 {
		t := trouble{what: "windows whose run has failed"}
		for _, f := range s.FailedRuns {
			t.lines = append(t.lines, fmt.Sprintf("%s, %s: %s, %s: %s", f.Metric, f.BucketSize, plural(int(f.Windows), "window", "windows"),
				f.FailedAt.Format(time.DateTime), f.Error))
		}
		t.lines = append(t.lines, "have them computed again: "+a.command("run", "retry", "--state", "failed"))
		all = append(all, t)
	}
	if len(s.Blocked) > 0 {
		t := trouble{what: "windows that a check keeps from being final"}
		for _, b := range s.Blocked {
			t.lines = append(t.lines, fmt.Sprintf("%s, %s: %s, %s: %s", b.Metric, b.BucketSize, plural(int(b.Windows), "window", "windows"),
				b.FailedAt.Format(time.DateTime), b.Failure))
		}
		t.lines = append(t.lines, "see which, and what to do: "+a.command("check", "list", "--severity", "block"))
		all = append(all, t)
	}
	return slices.Concat(all, s.Notices.troubles(), s.Notifications.troubles())
}

func (n notificationStatus) troubles() (all []trouble) {
	if n.stuck > 0 {
		all = append(all, trouble{
			what: fmt.Sprintf("%s not sent, the oldest for %s", plural(int(n.Waiting), "notification is", "notifications are"),
				n.stuck.Round(time.Minute)),
			lines: append(lines(n.WaitingError), "it is tried again; look at the log of notify, and at what SMTP_… and WEBHOOK_… say"),
		})
	}
	if n.GivenUp > 0 {
		all = append(all, trouble{
			what:  plural(int(n.GivenUp), "notification was", "notifications were") + " given up within a week: nobody was told",
			lines: []string{n.GivenUpError},
		})
	}
	return all
}

// lines gives a text that may be empty as lines of a trouble.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func (n noticeStatus) troubles() (all []trouble) {
	if n.stuck > 0 {
		all = append(all, trouble{
			what: fmt.Sprintf("%s not sent, the oldest for %s", plural(int(n.Waiting), "notice is", "notices are"),
				n.stuck.Round(time.Minute)),
			lines: append(lines(n.WaitingError), "look at the log of the scheduler, and whether its Broker is there"),
		})
	}
	if n.GivenUp > 0 {
		all = append(all, trouble{
			what:  plural(int(n.GivenUp), "notice is", "notices are") + " not sent any more: the Broker has refused them",
			lines: lines(n.GivenUpError),
		})
	}
	return all
}

// byteSize writes a number of bytes in binary units.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, i := float64(n)/unit, 0
	for ; size >= unit && i < 4; i++ {
		size /= unit
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTP"[i])
}
