package row

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/chainmetrics/chainmetrics/events"
)

// Format is how the rows of a file are written.
type Format string

// The formats.
const (
	CSV       Format = "csv"   // RFC 4180 with a line of names
	JSONLines Format = "jsonl" // an object per line
)

// Options say how a file is read.
type Options struct {
	Format    Format            // empty: by the file's name, .csv, .tsv, .json, .jsonl or .ndjson, before .gz or .zst
	Delimiter rune              // of CSV; zero: a comma, or what the name .tsv says
	Null      []string          // values that mean that there is none; an empty CSV value and JSON's null always do
	Rename    map[string]string // of columns; the new names are those that everybody else knows
	Count     *atomic.Int64     // adds up the bytes that were read, before decompression; may be nil
}

// ErrEmpty says that a file of CSV has not even a line of names.
var ErrEmpty = errors.New("it is empty: a line with the names of the columns is expected")

// maxLine is the longest line of JSON.
const maxLine = 2 * events.MaxDataBytes

// Reader reads a file from its beginning.
type Reader struct {
	name    string
	options Options
	raw     io.Reader
	closers []io.Closer
	next    func() (Row, error)
}

// counter counts the bytes of a file that were read, as they lie in it.
type counter struct {
	io.Reader
	bytes *atomic.Int64
}

func (c counter) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	if c.bytes != nil {
		c.bytes.Add(int64(n))
	}
	return n, err
}

// Open opens a file, which gzip or zstd may have compressed. The path "-" is standard input, for which in stands.
func Open(path string, in io.Reader, options Options) (*Reader, error) {
	r := &Reader{name: path, options: options}
	if path == "-" {
		r.name = "standard input"
		r.raw = counter{in, options.Count}
	} else {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		r.raw, r.closers = counter{file, options.Count}, []io.Closer{file}
	}
	err := r.start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r.name, err), r.Close())
	}
	return r, nil
}

func (r *Reader) start() error {
	plain, err := r.decompress()
	if err != nil {
		return err
	}
	extension := filepath.Ext(strings.TrimSuffix(strings.TrimSuffix(r.name, ".gz"), ".zst"))
	format, delimiter := r.options.Format, r.options.Delimiter
	switch extension {
	case ".tsv":
		if delimiter == 0 {
			delimiter = '\t'
		}
		fallthrough
	case ".csv":
		if format == "" {
			format = CSV
		}
	case ".json", ".jsonl", ".ndjson":
		if format == "" {
			format = JSONLines
		}
	}
	switch format {
	case CSV:
		return r.readCSV(plain, delimiter)
	case JSONLines:
		r.readJSONLines(plain)
		return nil
	case "":
		return fmt.Errorf("its name does not tell how it is written: say it with --format %s or --format %s", CSV, JSONLines)
	}
	return fmt.Errorf("unknown format %q: want %s or %s", format, CSV, JSONLines)
}

// decompress looks at the first bytes, not at the name.
func (r *Reader) decompress() (*bufio.Reader, error) {
	const room = 1 << 16
	raw := bufio.NewReaderSize(r.raw, room)
	magic, err := raw.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(raw) // which holds nothing that has to be closed
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		return bufio.NewReaderSize(unpacked, room), nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		unpacked, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("read zstd: %w", err)
		}
		r.closers = append(r.closers, unpacked.IOReadCloser())
		return bufio.NewReaderSize(unpacked, room), nil
	}
	return raw, nil
}

// Next gives the next row, [io.EOF] after the last, or an [*Error].
func (r *Reader) Next() (Row, error) { return r.next() }

// Close closes the file.
func (r *Reader) Close() error {
	var failed []error
	for _, c := range slices.Backward(r.closers) {
		failed = append(failed, c.Close())
	}
	return errors.Join(failed...)
}

func (r *Reader) readCSV(plain io.Reader, delimiter rune) error {
	lines := csv.NewReader(plain)
	if delimiter != 0 {
		lines.Comma = delimiter
	}
	header, err := lines.Read()
	if errors.Is(err, io.EOF) {
		return ErrEmpty
	}
	if err != nil {
		return err
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // a byte order mark
	for i, name := range header {
		switch {
		case name == "":
			return fmt.Errorf("line 1: column %d has no name", i+1)
		case slices.Contains(header[:i], r.named(name)):
			return fmt.Errorf("line 1: two columns are named %q", r.named(name))
		}
		header[i] = r.named(name)
	}
	lines.FieldsPerRecord = len(header)
	r.next = func() (Row, error) {
		values, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return Row{}, io.EOF
		}
		row := Row{File: r.name}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			row.Line = wrong.StartLine
			if errors.Is(err, csv.ErrFieldCount) {
				return row, row.Refuse("it has %d values, but there are %d columns", len(values), len(header))
			}
			return row, row.Refuse("no valid CSV: %w", wrong.Err)
		}
		if err != nil {
			return row, fmt.Errorf("read %s: %w", r.name, err)
		}
		row.Line, _ = lines.FieldPos(0)
		row.Fields = make([]events.Field, 0, len(values))
		for i, value := range values {
			if value != "" && !slices.Contains(r.options.Null, value) {
				row.Fields = append(row.Fields, events.Field{Name: header[i], Value: value})
			}
		}
		return row, nil
	}
	return nil
}

func (r *Reader) readJSONLines(plain *bufio.Reader) {
	number := 0
	r.next = func() (Row, error) {
		for {
			line, err := readLine(plain)
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return Row{}, io.EOF
			}
			number++
			row := Row{File: r.name, Line: number}
			if errors.Is(err, errLongLine) {
				return row, row.Refuse("it is longer than %d bytes", maxLine)
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return row, fmt.Errorf("read %s: %w", r.name, err)
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			row.Fields, err = r.fields(line)
			if err != nil {
				return row, row.Refuse("%w", err)
			}
			return row, nil
		}
	}
}

var errLongLine = errors.New("long line")

// named gives the name of a column as it is from here on.
func (r *Reader) named(column string) string {
	if name, ok := r.options.Rename[column]; ok {
		return name
	}
	return column
}

func readLine(from *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, errLongLine
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// fields reads an object's members in their order: texts as they are, everything else as JSON.
func (r *Reader) fields(line []byte) ([]events.Field, error) {
	if !json.Valid(line) || line[0] != '{' {
		return nil, errors.New("no JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	if _, err := decoder.Token(); err != nil { // {
		return nil, err
	}
	var fields []events.Field
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		text := string(value)
		if value[0] == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, err
			}
		}
		if text == "null" && value[0] == 'n' || slices.Contains(r.options.Null, text) {
			continue
		}
		fields = append(fields, events.Field{Name: r.named(name.(string)), Value: text})
	}
	return fields, nil
}
