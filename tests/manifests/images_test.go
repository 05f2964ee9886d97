package manifests_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	repository = "../.." // from the folder of this test
	module     = "github.com/chainmetrics/chainmetrics"
	koScheme   = "ko://"
)

// server is an image of a server that is not ours, with a tag or a digest, from any registry.
var server = regexp.MustCompile(`^(\S+/)?(redis|postgres)(:[\w.-]+|@sha256:[0-9a-f]{64})$`)

// buildable: images of ours are named by the main package that ko builds them from, and no others but the servers' are used.
func buildable(objects []object) []error {
	var found findings
	for _, p := range templates(objects) {
		for _, c := range p.containers() {
			where := title(p.owner) + " container " + c.Name
			switch {
			case strings.HasPrefix(c.Image, koScheme):
				if err := isMain(strings.TrimPrefix(c.Image, koScheme)); err != nil {
					found.add(where, "image %s: %w", c.Image, err)
				}
			case !server.MatchString(c.Image):
				found.add(where, "image %q is neither of ours, %s…, nor a server's with a tag", c.Image, koScheme)
			}
		}
	}
	return found
}

// isMain checks that an import path is a main package of this repository.
func isMain(importPath string) error {
	folder, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return fmt.Errorf("not of module %s", module)
	}
	files, err := filepath.Glob(filepath.Join(repository, folder, "*.go"))
	if err != nil {
		return err
	}
	found := false
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		found = true
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		if parsed.Name.Name != "main" {
			return fmt.Errorf("package %s is no main package", parsed.Name.Name)
		}
	}
	if !found {
		return fmt.Errorf("no package in folder %s", folder)
	}
	return nil
}
