package examples

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSampleChain(t *testing.T) {
	t.Parallel()
	file, err := SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != 16<<20 || string(data[:4]) != "\xf9\xbe\xb4\xd9" {
		t.Errorf("%s is no block file of mainnet", file)
	}
}

func TestSampleChainWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := SampleChain(t.Context()); err == nil || !strings.Contains(err.Error(), "install Go") {
		t.Errorf("got %v", err)
	}
}

func TestSampleChainWithoutNetwork(t *testing.T) {
	t.Setenv("GOMODCACHE", filepath.Join(t.TempDir(), "mod"))
	t.Setenv("GOPROXY", "off")
	if _, err := SampleChain(t.Context()); err == nil || !strings.Contains(err.Error(), "GOPROXY") {
		t.Errorf("got %v", err)
	}
}

func TestSampleIn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer string
		want   string
	}{
		"no answer":          {"", "exit status 1"},
		"another checksum":   {`{"Dir": "/", "Sum": "h1:AAAA"}`, "checksum"},
		"files were removed": {`{"Dir": "/nowhere", "Sum": "` + sampleChecksum + `"}`, "go clean -modcache"},
		"not found":          {`{"Error": "no such module"}`, "no such module"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sampleIn([]byte(test.answer), errors.New("exit status 1"))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %q", err, test.want)
			}
		})
	}
}
