package postgres

import (
	"encoding"
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
