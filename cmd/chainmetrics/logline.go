package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// logLine makes a line of a child's log short: of slog's JSON it gives level, message and attributes, without time and
// program; everything else stays as it is.
func logLine(line string) string {
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return printable(line)
	}
	var level, message string
	var attributes strings.Builder
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return printable(line)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return printable(line)
		}
		switch name {
		case "time", "program":
		case "level":
			level = text(value)
		case "msg":
			message = text(value)
		default:
			fmt.Fprintf(&attributes, " %s=%s", name, text(value))
		}
	}
	return printable(strings.TrimSpace(level + " " + message + attributes.String()))
}

// text gives a JSON string without its quotes, any other value as it is.
func text(value json.RawMessage) string {
	var s string
	if bytes.HasPrefix(value, []byte(`"`)) && json.Unmarshal(value, &s) == nil {
		return s
	}
	return string(value)
}
