package manifests_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// unexplained gives an error for each annotation of a manifest's source that has no comment above it.
func unexplained(source []byte) (errs []error) {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	for {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return errs
		} else if err != nil {
			return append(errs, err)
		}
		errs = append(errs, withoutReason(&document, false)...)
	}
}

// withoutReason goes through a node; its keys are annotations, or not.
func withoutReason(node *yaml.Node, annotations bool) (errs []error) {
	if node.Kind != yaml.MappingNode {
		for _, child := range node.Content {
			errs = append(errs, withoutReason(child, false)...)
		}
		return errs
	}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if annotations && len(strings.Fields(key.HeadComment)) < 4 { // the # is one of them
			errs = append(errs, fmt.Errorf("line %d: annotation %s has no reason above it", key.Line, key.Value))
		}
		errs = append(errs, withoutReason(value, key.Value == "annotations")...)
	}
	return errs
}

func TestEveryAnnotationHasAReason(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "config", "knative", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	annotations := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range unexplained(source) {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		n := bytes.Count(uncommented(source), []byte(autoscaling))
		annotations += n
		if missing := len(unexplained(uncommented(source))); missing < n {
			t.Errorf("%s: without its comments %d annotations lack a reason, want at least %d", filepath.Base(file), missing, n)
		}
	}
	if annotations == 0 {
		t.Error("no annotation was looked at")
	}
}

// uncommented gives YAML without the lines that are comments.
func uncommented(source []byte) []byte {
	var kept [][]byte
	for line := range bytes.SplitSeq(source, []byte("\n")) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, []byte("\n"))
}
