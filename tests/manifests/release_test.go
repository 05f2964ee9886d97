package manifests_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"

	"github.com/chainmetrics/chainmetrics/config"
)

const (
	productionFolder = "overlays/production"
	digest           = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
)

// released gives the objects of a folder as a release has them.
func released(t *testing.T, folder, version string) []object {
	t.Helper()
	images := map[string]string{}
	for _, program := range shipped() {
		name := filepath.Base(program)
		images[name] = "registry.example/" + name + ":" + version + "@" + digest
	}
	manifests, err := config.Release(folder, version, images)
	if err != nil {
		t.Fatal(err)
	}
	objects, errs := decode(manifests)
	for _, err := range errs {
		t.Error(err)
	}
	return objects
}

// TestReleasesAreAccepted holds the objects of a release to what the overlay is held to, images apart.
func TestReleasesAreAccepted(t *testing.T) {
	t.Parallel()
	all := checks(t)
	for folder, names := range map[string][]string{
		productionFolder: {"accepted", "admitted", "confined", "labelled", "probed", "referenced", "served", "wired", "production"},
		redisBase:        {"accepted", "admitted", "confined", "labelled", "probed", "referenced", "durable", "replicated"},
	} {
		objects := released(t, folder, "v1.2.3-rc.1")
		if len(objects) == 0 || folder == productionFolder && title(objects[0]) != "Namespace/"+namespace {
			t.Fatalf("%s does not begin with its namespace", folder)
		}
		job := slices.IndexFunc(objects, func(o object) bool { return strings.HasPrefix(title(o), "Job/migrate-") })
		function := slices.IndexFunc(objects, func(o object) bool { return title(o) == "Service/counter" })
		if folder == productionFolder && (job < 0 || job > function) {
			t.Errorf("%s brings the Job that migrates after the functions, which may leave it no room", folder)
		}
		whole := objects
		if folder == productionFolder {
			more, errs := decode(planned(t))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			whole = slices.Concat(objects, more)
		}
		for _, name := range names {
			for _, err := range all[name].run(whole) {
				t.Errorf("%s %s: %v", folder, name, err)
			}
		}
		for _, o := range objects {
			if have := o.GetLabels()["app.kubernetes.io/version"]; have != "v1.2.3-rc.1" {
				t.Errorf("%s has version %q", title(o), have)
			}
		}
		for _, p := range templates(objects) {
			for _, c := range p.containers() {
				if folder == productionFolder && !strings.HasSuffix(c.Image, "@"+digest) {
					t.Errorf("%s has the image %s, without a digest", title(p.owner), c.Image)
				}
			}
		}
	}
}

func TestReleaseWithoutAnImageIsRefused(t *testing.T) {
	t.Parallel()
	_, err := config.Release(productionFolder, "v1.2.3", map[string]string{"counter": "registry.example/counter@" + digest})
	if err == nil || !strings.Contains(err.Error(), "no image of ko://"+module+"/functions/gauge") {
		t.Errorf("got %v", err)
	}
}

// TestReleaseIsAppliedOverAnother: an API server refuses changes of some fields. Where a release would make one, it has
// another object instead.
func TestReleaseIsAppliedOverAnother(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{productionFolder, redisBase} {
		older := map[string]object{}
		for _, o := range released(t, folder, "v1.2.3") {
			older[title(o)] = o
		}
		for _, o := range released(t, folder, "v1.3.0") {
			if was, ok := older[title(o)]; ok {
				if diff := cmp.Diff(immutable(was), immutable(o)); diff != "" {
					t.Errorf("%s cannot be applied over that of an older release:\n%s", title(o), diff)
				}
			} else if _, ok := o.(*batchv1.Job); !ok {
				t.Errorf("%s has another name in each release: the older one would stay", title(o))
			}
		}
	}
	local, _ := decode(rendered(t, "local"))
	job := of[*batchv1.Job](local)[0].DeepCopy()
	job.Spec.Template.Spec.Containers[0].Image = "registry.example/other"
	if cmp.Equal(immutable(of[*batchv1.Job](local)[0]), immutable(job)) {
		t.Error("a changed Job was not noticed")
	}
}

// immutable gives what the API servers of Kubernetes and Knative do not let anybody change of an object.
func immutable(o object) any {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o.Spec.Selector
	case *appsv1.StatefulSet:
		return []any{o.Spec.Selector, o.Spec.ServiceName, o.Spec.PodManagementPolicy, o.Spec.VolumeClaimTemplates}
	case *batchv1.Job:
		return []any{o.Spec.Selector, o.Spec.Template, o.Spec.Completions, o.Spec.CompletionMode}
	case *eventingv1.Broker:
		return o.Annotations[eventingv1.BrokerClassAnnotationKey]
	case *eventingv1.Trigger:
		return o.Spec.Broker
	case *sourcesv1.SinkBinding:
		return o.Spec.Subject
	default:
		return nil
	}
}

// TestReleaseIsRefused runs scripts/release in a repository of its own, where it has to end before it builds anything.
func TestReleaseIsRefused(t *testing.T) {
	t.Parallel()
	const changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- One.\n\n## [1.2.2] - 2026-01-01\n\n## [1.2.1] - 2026-01-01\n"
	tests := map[string]struct {
		tags    string
		version string
		before  string // a command
		says    string
	}{
		"no tag":                  {says: "this commit has no tag"},
		"several tags":            {tags: "v1.2.3 v1.2.4", says: "want VERSION=, one of v1.2.3 v1.2.4"},
		"no semantic version":     {version: "1.2.3", says: "want a semantic version"},
		"leading zero":            {version: "v1.02.3", says: "want a semantic version"},
		"build metadata":          {version: "v1.2.3+4", says: "want a semantic version"},
		"another commit's tag":    {tags: "v1.2.3", version: "v1.2.2", says: "v1.2.2 is no tag of this commit"},
		"changed file":            {tags: "v1.2.3", before: "echo >>CHANGELOG.md", says: "changes that are not committed"},
		"new file":                {tags: "v1.2.3", before: "touch new", says: "changes that are not committed"},
		"no section":              {tags: "v1.2.4", says: "no section ## [1.2.4] - "},
		"version that begins one": {tags: "v1.2.3-rc.1", says: "no section ## [1.2.3-rc.1] - "},
		"empty section":           {tags: "v1.2.2", says: "nothing in it"},
		"empty last section":      {tags: "v1.2.1", says: "nothing in it"},
		"made before":             {tags: "v1.2.3", before: "mkdir -p dist/v1.2.3", says: "dist/v1.2.3 is there already"},
		"no registry":             {tags: "v1.2.3", says: "KO_DOCKER_REPO is not set"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			for _, script := range []string{"release", "images"} {
				text, err := os.ReadFile(filepath.Join(repository, "scripts", script))
				target := filepath.Join(folder, "scripts", script)
				err = errors.Join(err, os.MkdirAll(filepath.Dir(target), 0o700), os.WriteFile(target, text, 0o700))
				if err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range map[string]string{"CHANGELOG.md": changelog, ".gitignore": "/dist/\n"} {
				if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			const setup = `git init --quiet && git add . && git -c user.name=test -c user.email=test@example.com commit --quiet -m test
				for tag in $TAGS; do git tag "$tag"; done; `
			if output, err := inFolder(t, folder, []string{"TAGS=" + tt.tags}, "bash", "-c", setup+tt.before); err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			output, err := inFolder(t, folder, []string{"VERSION=" + tt.version, "KO_DOCKER_REPO="}, "scripts/release")
			if err == nil || !strings.Contains(output, tt.says) {
				t.Errorf("got %v, want it to say %q:\n%s", err, tt.says, output)
			}
			if made, _ := filepath.Glob(filepath.Join(folder, "dist", "*", "*")); len(made) > 0 {
				t.Errorf("it has made %q", made)
			}
		})
	}
}

// inFolder runs a command with more environment, unaware of what git was told about this repository.
func inFolder(t *testing.T, folder string, environment []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		cmd.Path = filepath.Join(folder, name)
	}
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	cmd.Env = append(cmd.Env, environment...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}
