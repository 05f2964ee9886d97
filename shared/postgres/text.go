package postgres

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v5/pgtype"
)

// text scans a column of texts into a value that has a text form.
type text struct {
	into encoding.TextUnmarshaler
}

var _ pgtype.TextScanner = text{}

// ScanText reads the text form. Null is an error.
func (t text) ScanText(value pgtype.Text) error {
	if !value.Valid {
		return errors.New("null where a text is expected")
	}
	return t.into.UnmarshalText([]byte(value.String))
}

// key gives a text that PostgreSQL takes, and that fits an index beside others. What is not kept of it is told apart by a hash.
func key(text string) string {
	kept := storable(text)
	if kept == text {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return kept + " " + hex.EncodeToString(sum[:16])
}
