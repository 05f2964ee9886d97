package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
)

// releases are what [Release] makes of the folders below, by their names.
//
// A Job cannot be changed. That which migrates is called by its version, so that the next release brings its own beside it.
// Redis is not started again, nor its claims refused, for a label on its pods. The order is that of the files:
// the namespace first, and the Job before the functions that wait for it.
var releases = map[string]string{
	"overlays/production": `
resources: [../overlays/production]
labels:
- pairs: {app.kubernetes.io/version: VERSION}
  includeTemplates: true
  fields:
  - {group: serving.knative.dev, kind: Service, path: spec/template/metadata/labels, create: true}
patches:
- target: {kind: Job, name: migrate}
  patch: |
    - {op: replace, path: /metadata/name, value: migrate-SUFFIX}
`,
	"redis": `
resources: [../redis]
labels:
- pairs: {app.kubernetes.io/version: VERSION}
`,
}

var koImage = regexp.MustCompile(`\bko://\S+`)

// Release gives the objects of a folder, overlays/production or redis, as a release has them: with the label
// app.kubernetes.io/version, and with images, such as registry/folder/counter:v1.2.3@sha256:…, by the last element of
// the import path that they were built from. An image that is missing is an error.
func Release(folder, version string, images map[string]string) ([]byte, error) {
	text, ok := releases[folder]
	if !ok {
		return nil, fmt.Errorf("release %s: there are releases of overlays/production and redis alone", folder)
	}
	suffix := strings.ToLower(strings.ReplaceAll(version, ".", "-"))
	wrapper := strings.NewReplacer("VERSION", version, "SUFFIX", suffix).Replace(text)
	rendered, err := render("release", krusty.MakeDefaultOptions(), map[string]string{"/config/release/kustomization.yaml": wrapper})
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", folder, err)
	}
	var missing []error
	rendered = koImage.ReplaceAllFunc(rendered, func(name []byte) []byte {
		image, ok := images[path.Base(string(name))]
		if !ok {
			missing = append(missing, fmt.Errorf("release %s: there is no image of %s", folder, name))
		}
		return []byte(image)
	})
	return rendered, errors.Join(missing...)
}
