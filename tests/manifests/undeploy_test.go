package manifests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/chainmetrics/chainmetrics/config"
)

// TestMain is kubectl where the tests' program is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "kubectl" {
		os.Exit(m.Run())
	}
	c := &cluster{file: os.Getenv("CLUSTER")}
	err := c.load()
	if err == nil {
		err = c.kubectl(os.Args[1:])
	}
	if err = errors.Join(err, c.save()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// item is an object as undeploy sees it.
type item struct {
	Resource string `json:"resource"` // what kubectl calls its kind
	Kind     string `json:"kind"`
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels,omitempty"`
		Owners []owner           `json:"ownerReferences,omitempty"`
	} `json:"metadata"`
}

type owner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// newItem makes an object from resource, kind, name, and perhaps its label of an overlay.
func newItem(resource, kind, name, instance string, owners ...owner) item {
	i := item{Resource: resource, Kind: kind}
	i.Metadata.Name, i.Metadata.Owners = name, owners
	if instance != "" {
		i.Metadata.Labels = map[string]string{"app.kubernetes.io/instance": instance, partOf: project}
	}
	return i
}

func (i item) title() string { return i.Kind + "/" + i.Metadata.Name }

// cluster is as much of a cluster as undeploy asks for: one namespace, whose garbage is collected after somebody looks.
type cluster struct {
	file  string
	Items []item `json:"items"`
}

func (c *cluster) load() error {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, c)
}

func (c *cluster) save() error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(c.file, text, 0o600)
}

// option gives the value of an option that is written in two words.
func option(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// kubectl does what a command line says, as far as undeploy uses it.
func (c *cluster) kubectl(args []string) error {
	call := strings.Join(args[:min(2, len(args))], " ")
	isNamespace := func(i item) bool { return i.Kind == "Namespace" }
	switch {
	case args[0] == "version":
	case call == "config current-context":
		fmt.Println("test")
	case args[0] == "kustomize":
		manifests, err := config.Render("local")
		fmt.Print(strings.ReplaceAll(string(manifests), "kind: Namespace\n", "kind: Other\n"))
		return err
	case args[0] == "api-resources":
		for _, i := range c.Items {
			fmt.Println(i.Resource)
		}
	case call == "get namespace":
		if i := slices.IndexFunc(c.Items, isNamespace); i >= 0 && option(args, "--output") == "name" {
			fmt.Println("namespace/" + c.Items[i].Metadata.Name)
		} else if i >= 0 {
			fmt.Print(c.Items[i].Metadata.Labels["app.kubernetes.io/instance"])
		}
	case args[0] == "get":
		return c.get(args)
	case call == "label namespace":
		i := slices.IndexFunc(c.Items, isNamespace)
		for _, label := range args[3:] {
			delete(c.Items[i].Metadata.Labels, strings.TrimSuffix(label, "-"))
		}
	case call == "delete namespace":
		c.Items = nil
	case args[0] == "delete" && option(args, "--filename") != "":
		return c.deleteFile(option(args, "--filename"))
	case args[0] == "delete":
		selector, err := labels.Parse(option(args, "--selector"))
		c.Items = slices.DeleteFunc(c.Items, func(i item) bool {
			return i.in(args[1]) && selector.Matches(labels.Set(i.Metadata.Labels))
		})
		return err
	default:
		return fmt.Errorf("unknown command %q", args)
	}
	return nil
}

// in tells whether an object is of one of the kinds, which commas separate; the namespace is in none.
func (i item) in(resources string) bool {
	return i.Kind != "Namespace" && slices.Contains(strings.Split(resources, ","), i.Resource)
}

// get prints objects by a template. Those whose owners have gone, go.
func (c *cluster) get(args []string) error {
	_, text, _ := strings.Cut(option(args, "--output"), "go-template=")
	shape, err := template.New("").Parse(text)
	if err != nil {
		return err
	}
	selector, err := labels.Parse(option(args, "--selector"))
	if err != nil {
		return err
	}
	shown := cluster{}
	for _, i := range c.Items {
		if i.in(args[1]) && selector.Matches(labels.Set(i.Metadata.Labels)) {
			shown.Items = append(shown.Items, i)
		}
	}
	encoded, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	var list map[string]any
	if err := json.Unmarshal(encoded, &list); err != nil {
		return err
	}
	c.collect()
	return shape.Execute(os.Stdout, list)
}

// collect removes objects whose owner has gone.
func (c *cluster) collect() {
	there := map[string]bool{}
	for _, i := range c.Items {
		there[i.title()] = true
	}
	c.Items = slices.DeleteFunc(c.Items, func(i item) bool {
		return slices.ContainsFunc(i.Metadata.Owners, func(o owner) bool { return !there[o.Kind+"/"+o.Name] })
	})
}

// deleteFile deletes the objects that a file names.
func (c *cluster) deleteFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var named item
		if err := yaml.Unmarshal(document, &named); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		c.Items = slices.DeleteFunc(c.Items, func(i item) bool { return i.title() == named.title() })
	}
	return nil
}

// TestUndeployRemovesItsOwn runs scripts/undeploy in a cluster that holds more than the overlay.
func TestUndeployRemovesItsOwn(t *testing.T) {
	t.Parallel()
	deployed := []item{
		newItem("namespaces", "Namespace", namespace, "local"),
		newItem("deployments.apps", "Deployment", "counter-source", "local"),
		newItem("replicasets.apps", "ReplicaSet", "counter-source-1", "local", owner{"Deployment", "counter-source"}),
		newItem("brokers.eventing.knative.dev", "Broker", "metrics", "local"),
		newItem("inmemorychannels.messaging.knative.dev", "InMemoryChannel", "metrics-kne", "", owner{"Broker", "metrics"}),
		newItem("configmaps", "ConfigMap", "kube-root-ca.crt", ""),
		newItem("serviceaccounts", "ServiceAccount", "default", ""),
		newItem("events", "Event", "pulled", ""),
		newItem("leases.coordination.k8s.io", "Lease", "lease", ""),
		// Of an older version: the manifests do not name it.
		newItem("pingsources.sources.knative.dev", "PingSource", "counter-yearly", "local"),
		newItem("services.serving.knative.dev", "Service", "planner", "local"),
		// The planner's, which no manifest names.
		newItem("pingsources.sources.knative.dev", "PingSource", "metric-gas-used-daily", "", owner{"Service", "planner"}),
		newItem("configmaps", "ConfigMap", "metrics-config-gas-used", "", owner{"Service", "planner"}),
	}
	tests := map[string]struct {
		others []item
		left   []string // of them, in the order of names; the namespace stays where there are any
	}{
		"nothing else": {},
		"the owner of a Secret": {
			others: []item{
				newItem("externalsecrets.external-secrets.io", "ExternalSecret", "alerts", ""),
				newItem("secrets", "Secret", "alerts", "", owner{"ExternalSecret", "alerts"}),
			},
			left: []string{"ExternalSecret/alerts", "Secret/alerts"},
		},
		"a kind that kubectl's all leaves out": {
			others: []item{newItem("roles.rbac.authorization.k8s.io", "Role", "reader", "")},
			left:   []string{"Role/reader"},
		},
		"what is labelled as ours, but of no overlay": {
			others: []item{func() item {
				i := newItem("jobs.batch", "Job", "feed", "")
				i.Metadata.Labels = map[string]string{partOf: project}
				return i
			}()},
			left: []string{"Job/feed"},
		},
		"data": {
			others: []item{newItem("persistentvolumeclaims", "PersistentVolumeClaim", "data-0", "local")},
			left:   []string{"PersistentVolumeClaim/data-0"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{file: filepath.Join(t.TempDir(), "cluster.json"), Items: slices.Concat(deployed, tt.others)}
			output := c.undeploy(t)
			var left []string
			for _, i := range c.Items {
				if !slices.ContainsFunc(deployed[5:9], func(d item) bool { return d.title() == i.title() }) && i.Kind != "Namespace" {
					left = append(left, i.title())
				}
			}
			slices.Sort(left)
			if !slices.Equal(left, tt.left) {
				t.Errorf("left are %q, want %q:\n%s", left, tt.left, output)
			}
			if len(tt.left) == 0 {
				if len(c.Items) > 0 {
					t.Errorf("the namespace is left:\n%s", output)
				}
				return
			}
			if len(c.Items) == 0 || len(c.Items[0].Metadata.Labels) > 0 {
				t.Fatalf("the namespace has gone, or has our labels still: %v\n%s", c.Items, output)
			}
			kind, object, _ := strings.Cut(tt.left[0], "/")
			if !strings.Contains(output, kind+" "+object+"\n") {
				t.Errorf("%s is not named:\n%s", tt.left[0], output)
			}
		})
	}
}

// undeploy runs the script on the overlay local, in a copy of the folders that it wants.
func (c *cluster) undeploy(t *testing.T) string {
	t.Helper()
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(repository, "scripts", "undeploy"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for name, text := range map[string]string{"scripts/undeploy": string(script), "config/overlays/local/kustomization.yaml": ""} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(self, filepath.Join(root, "kubectl")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(root, "scripts", "undeploy"))
	cmd.Env = append(os.Environ(), "PATH="+root+":"+os.Getenv("PATH"), "CLUSTER="+c.file)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("undeploy: %v\n%s", err, output)
	}
	*c = cluster{file: c.file}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	return string(output)
}
