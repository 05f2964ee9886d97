package supervisor

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// tailBytes bounds how much of a log is read for its last lines.
const tailBytes = 16 << 10

// tail gives the last lines of a file that lie behind an offset; none where it cannot be read, since it only
// illustrates.
func tail(path string, offset int64, lines int) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	from := max(offset, info.Size()-tailBytes)
	data, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return nil
	}
	if from > offset { // begins within a line
		if _, rest, found := bytes.Cut(data, []byte("\n")); found {
			data = rest
		}
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) == 1 && all[0] == "" {
		return nil
	}
	return all[max(0, len(all)-lines):]
}
