package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// plainWidth is how wide tables may be where the output is no terminal.
const plainWidth = 100

// isTerminal tells whether a person is looking at w.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth gives the number of columns of w.
func terminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return plainWidth
}

// style marks up text where that is wanted.
type style bool

// styleOf gives the style for w: none where it is no terminal, or where NO_COLOR (no-color.org) or TERM=dumb is set.
func styleOf(w io.Writer) style {
	return style(isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (s style) bold(text string) string   { return s.with("1", text) }
func (s style) faint(text string) string  { return s.with("2", text) }
func (s style) red(text string) string    { return s.with("31", text) }
func (s style) green(text string) string  { return s.with("32", text) }
func (s style) yellow(text string) string { return s.with("33", text) }

func (s style) with(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
