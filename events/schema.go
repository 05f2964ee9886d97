package events

import (
	"embed"
	"strings"
)

//go:embed schema/*.json
var schemas embed.FS

// Schema gives the JSON Schema of the data of a type of CloudEvents; nil for a ping, whose data is free, and for types of others.
func Schema(ceType string) []byte {
	name, ours := strings.CutPrefix(ceType, "dev.chainmetrics.")
	if !ours {
		return nil
	}
	text, err := schemas.ReadFile("schema/" + name + ".json")
	if err != nil {
		return nil
	}
	return text
}
