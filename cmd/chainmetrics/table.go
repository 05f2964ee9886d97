package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// columnGap is the number of spaces between columns.
const columnGap = 2

// column is the head of a table's column.
type column struct {
	name  string
	right bool // numbers
}

// table is text in columns.
type table struct {
	columns []column
	rows    [][]string // one text for each column
}

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

// write prints the table with its head, each line behind an indent.
func (t *table) write(w io.Writer, s style, indent string) error {
	widths := t.widths()
	head := make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i] = c.name
	}
	var text strings.Builder
	text.WriteString(indent + s.bold(t.line(head, widths)) + "\n")
	for _, row := range t.rows {
		text.WriteString(indent + t.line(row, widths) + "\n")
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

// width gives the number of columns on the screen.
func (t *table) width() int {
	width := columnGap * (len(t.columns) - 1)
	for _, w := range t.widths() {
		width += w
	}
	return width
}

func (t *table) line(cells []string, widths []int) string {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(strings.Repeat(" ", columnGap))
		}
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.columns[i].right {
			line.WriteString(space + cell)
		} else {
			line.WriteString(cell + space)
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// printable makes text from outside safe for a terminal: control characters are shown, not obeyed.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, text)
}
