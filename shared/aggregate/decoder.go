package aggregate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// ErrEncoding says that bytes are not what a state of the type was encoded to.
var ErrEncoding = errors.New("not the encoding of such a state")

// Decoder reads an encoded state, field by field. The first mistake stays; what is read after it is zero. Varints have to
// be as short as they can be, so that a state has one encoding.
type Decoder struct {
	rest []byte
	err  error
}

// NewDecoder reads a state whose first byte is its version.
func NewDecoder(encoded []byte, version byte) *Decoder {
	if len(encoded) == 0 || encoded[0] != version {
		return &Decoder{err: ErrEncoding}
	}
	return &Decoder{rest: encoded[1:]}
}

// Uvarint reads what binary.AppendUvarint wrote.
func (d *Decoder) Uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	d.skip(size)
	if d.err != nil {
		return 0
	}
	return n
}

// Varint reads what binary.AppendVarint wrote.
func (d *Decoder) Varint() int64 {
	n, size := binary.Varint(d.rest)
	d.skip(size)
	if d.err != nil {
		return 0
	}
	return n
}

// skip passes a varint of so many bytes.
func (d *Decoder) skip(size int) {
	if size <= 0 || size > 1 && d.rest[size-1] == 0 { // none, or one that could be shorter
		d.Refuse()
		return
	}
	d.rest = d.rest[size:]
}

// Decimal reads what decimal.Decimal.AppendBinary wrote.
func (d *Decoder) Decimal() decimal.Decimal {
	n, rest, err := decimal.Decode(d.rest)
	if err != nil {
		d.Refuse()
		return decimal.Decimal{}
	}
	d.rest = rest
	return n
}

// Len is the number of bytes that are left.
func (d *Decoder) Len() int { return len(d.rest) }

// Refuse makes what was read a mistake.
func (d *Decoder) Refuse() { d.rest, d.err = nil, ErrEncoding }

// Close gives the mistake, if there was one. Bytes that were not read are one.
func (d *Decoder) Close() error {
	if len(d.rest) > 0 {
		return fmt.Errorf("%w: %d bytes behind it", ErrEncoding, len(d.rest))
	}
	return d.err
}
