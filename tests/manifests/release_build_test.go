//go:build release

package manifests_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const version = "v0.987.6-rc.1"

// TestReleaseIsWhole releases a copy of this repository's last commit, for this machine alone, and looks at everything that
// it has made. A copy in another folder gives the same files.
func TestReleaseIsWhole(t *testing.T) {
	repo := newRegistry(t)
	first, second := taggedCopy(t), taggedCopy(t)
	dist := release(t, first, repo)
	if output, err := inFolder(t, first, nil, "scripts/release"); err == nil || !strings.Contains(output, "is there already") {
		t.Errorf("a second time: got %v\n%s", err, output)
	}
	if left := status(t, first); left != "" {
		t.Errorf("it has left in the tree:\n%s", left)
	}
	sums := expectSums(t, dist)
	platform := runtime.GOOS + "-" + runtime.GOARCH
	var want []string
	for _, program := range shipped() {
		want = append(want, "image-"+filepath.Base(program)+"-linux-"+runtime.GOARCH+".spdx.json")
	}
	archive := "chainmetrics-" + version + "-" + platform
	want = append(want, archive+".cdx.json", archive+".tar.gz", "chainmetrics-"+version+".yaml",
		"chainmetrics-redis-"+version+".yaml", "NOTES.md", "images.txt")
	slices.Sort(want)
	if diff := cmp.Diff(want, keys(sums)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if notes := read(t, dist, "NOTES.md"); notes != "### Added\n\n- What the test adds.\n" {
		t.Errorf("the notes are %q", notes)
	}
	revision := strings.TrimSpace(must(t, first, "git", "rev-parse", "HEAD"))
	expectImages(t, read(t, dist, "chainmetrics-"+version+".yaml"), read(t, dist, "images.txt"), revision)
	for _, file := range want {
		switch {
		case strings.HasSuffix(file, ".spdx.json"):
			expectSPDX(t, file, read(t, dist, file))
		case strings.HasSuffix(file, ".cdx.json"):
			expectCycloneDX(t, file, read(t, dist, file))
		case strings.HasSuffix(file, ".tar.gz"):
			expectCommand(t, filepath.Join(dist, file), archive)
		}
	}
	if diff := cmp.Diff(sums, expectSums(t, release(t, second, repo))); diff != "" {
		t.Errorf("another copy gives other files (-first +second)\n%s", diff)
	}
}

// newRegistry serves a registry with a base image that is empty, and gives the folder for ours.
func newRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	reference, err := name.ParseReference(address + "/base:latest")
	if err != nil {
		t.Fatal(err)
	}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, base); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KO_DEFAULTBASEIMAGE", address+"/base:latest")
	return address + "/chainmetrics"
}

// taggedCopy clones the repository and adds a commit with the version's notes, the same one each time.
func taggedCopy(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "copy")
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	must(t, ".", "git", "clone", "--quiet", "--shared", "--no-tags", root, folder)
	file := filepath.Join(folder, "CHANGELOG.md")
	changelog, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := "## [" + strings.TrimPrefix(version, "v") + "] - 2026-01-02\n\n### Added\n\n- What the test adds.\n\n## [0.0.0] - 2026-01-01\n"
	if err := os.WriteFile(file, append(changelog, section...), 0o600); err != nil {
		t.Fatal(err)
	}
	const commit = `export GIT_AUTHOR_DATE=2026-01-02T00:00:00Z GIT_COMMITTER_DATE=2026-01-02T00:00:00Z
		git -c user.name=test -c user.email=test@example.com commit --quiet --all -m test && git tag `
	must(t, folder, "bash", "-c", commit+version)
	return folder
}

// release runs scripts/release in a copy and gives the folder of what it has made.
func release(t *testing.T, folder, repo string) string {
	t.Helper()
	output, err := inFolder(t, folder, []string{
		"KO_DOCKER_REPO=" + repo, "PLATFORM=linux/" + runtime.GOARCH, "CLI_PLATFORM=" + runtime.GOOS + "/" + runtime.GOARCH, "VERSION=",
	}, "scripts/release")
	if err != nil {
		t.Fatalf("release: %v\n%s", err, output)
	}
	return filepath.Join(folder, "dist", version)
}

// status gives what git finds changed, and what a release has left in dist beside the version.
func status(t *testing.T, folder string) string {
	t.Helper()
	return must(t, folder, "bash", "-c", "git status --porcelain; ls -A dist | grep -vxF "+version+" || :")
}

func must(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	output, err := inFolder(t, folder, nil, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
	return output
}

func read(t *testing.T, folder, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keys(sums map[string]string) []string {
	var names []string
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// expectSums compares SHA256SUMS with all other files, and gives the sums by file.
func expectSums(t *testing.T, dist string) map[string]string {
	t.Helper()
	listed, found := map[string]string{}, map[string]string{}
	for line := range strings.Lines(read(t, dist, "SHA256SUMS")) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		listed[file] = sum
	}
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file.Name() != "SHA256SUMS" {
			sum := sha256.Sum256([]byte(read(t, dist, file.Name())))
			found[file.Name()] = hex.EncodeToString(sum[:])
		}
	}
	if diff := cmp.Diff(found, listed); diff != "" {
		t.Errorf("SHA256SUMS (-files +listed)\n%s", diff)
	}
	return found
}

// expectImages: every image of the manifests, and every program of ours, is in the registry under its digest and its version.
func expectImages(t *testing.T, manifests, list, revision string) {
	t.Helper()
	if lines := strings.Count(list, "\n"); lines != len(shipped()) {
		t.Errorf("%d images are listed, want %d:\n%s", lines, len(shipped()), list)
	}
	used := regexp.MustCompile(`\bimage: (\S+)`).FindAllStringSubmatch(manifests, -1)
	if len(used) == 0 {
		t.Error("the manifests have no images")
	}
	for _, image := range used {
		if !slices.Contains(strings.Fields(list), image[1]) {
			t.Errorf("%s is not listed", image[1])
		}
	}
	for image := range strings.FieldsSeq(list) {
		tag, hash, _ := strings.Cut(image, "@")
		reference, err := name.NewDigest(image)
		if err != nil {
			t.Errorf("%s is not pinned: %v", image, err)
			continue
		}
		pulled, err := remote.Image(reference)
		if err != nil {
			t.Errorf("pull %s: %v", image, err)
			continue
		}
		config, err := pulled.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		labels := config.Config.Labels
		if labels["org.opencontainers.image.version"] != version || labels["org.opencontainers.image.revision"] != revision {
			t.Errorf("%s has the labels %v", image, labels)
		}
		tagged, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		head, err := remote.Head(tagged)
		if err != nil || head.Digest.String() != hash || tagged.TagStr() != version {
			t.Errorf("%s: its tag leads to %v, %v", image, head, err)
		}
		expectRevision(t, image, pulled, revision)
	}
}

// expectRevision: the program in an image knows its commit, which runs note as code_version.
func expectRevision(t *testing.T, image string, pulled v1.Image, revision string) {
	t.Helper()
	files := tar.NewReader(mutate.Extract(pulled))
	for {
		header, err := files.Next()
		if err != nil {
			t.Errorf("%s has no program: %v", image, err)
			return
		}
		if !strings.Contains(header.Name, "ko-app/") || header.Typeflag != tar.TypeReg {
			continue
		}
		program := filepath.Join(t.TempDir(), "program")
		expand(t, program, files)
		said := must(t, ".", "go", "version", "-m", program)
		for _, want := range []string{"vcs.revision=" + revision, "vcs.modified=false", "\t" + module + "\t" + version + "\t"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s does not say %q:\n%s", image, want, said)
			}
		}
		return
	}
}

// expand writes a file that can be run.
func expand(t *testing.T, path string, content io.Reader) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, content)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// linked are modules that a program must be said to be made of, by a part of the file's name.
var linked = map[string]string{
	"counter": "github.com/jackc/pgx/v5", "source": "github.com/redis/go-redis/v9", "chainmetrics": "github.com/spf13/cobra",
}

// spdxPackage is what a document in SPDX says of a module, an image or a base image.
type spdxPackage struct{ Name, VersionInfo string }

func expectSPDX(t *testing.T, file, text string) {
	t.Helper()
	var document struct {
		SPDXVersion string `json:"spdxVersion"`
		Packages    []spdxPackage
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || !strings.HasPrefix(document.SPDXVersion, "SPDX-2.") {
		t.Errorf("%s is no SPDX: %q, %v", file, document.SPDXVersion, err)
	}
	// ko gives the version of our own module in its package URL alone.
	own := func(p spdxPackage) bool { return p.Name == module }
	if !slices.ContainsFunc(document.Packages, own) || !strings.Contains(text, "@"+version) {
		t.Errorf("%s does not name %s %s", file, module, version)
	}
	for part, name := range linked {
		if strings.Contains(file, "-"+part+"-") {
			linked := func(p spdxPackage) bool { return p.Name == name && p.VersionInfo != "" }
			if !slices.ContainsFunc(document.Packages, linked) {
				t.Errorf("%s does not name %s with its version", file, name)
			}
		}
	}
}

func expectCycloneDX(t *testing.T, file, text string) {
	t.Helper()
	var document struct {
		BOMFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || document.BOMFormat != "CycloneDX" {
		t.Errorf("%s is no CycloneDX: %q, %v", file, document.BOMFormat, err)
	}
	if document.Metadata.Component != (struct{ Name, Version string }{module, version}) {
		t.Errorf("%s is of %v", file, document.Metadata.Component)
	}
	if !strings.Contains(text, linked["chainmetrics"]) || len(document.Components) == 0 {
		t.Errorf("%s does not name %s", file, linked["chainmetrics"])
	}
}

// expectCommand unpacks the command and asks it for its version.
func expectCommand(t *testing.T, path, folder string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was read
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	program := filepath.Join(t.TempDir(), "chainmetrics")
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		names = append(names, strings.TrimPrefix(header.Name, folder+"/"))
		if header.Name == folder+"/chainmetrics" {
			expand(t, program, files)
		}
	}
	want := []string{"LICENSE", "chainmetrics", "completions/chainmetrics.bash", "completions/chainmetrics.fish", "completions/chainmetrics.zsh"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
	if said := must(t, ".", program, "version"); !strings.HasPrefix(said, "chainmetrics "+version+" (") {
		t.Errorf("the command calls itself %q", said)
	}
}
