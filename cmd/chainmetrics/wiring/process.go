package wiring

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Names of the Job and of its container that feed the system.
const (
	feedJob       = "sample"
	feedContainer = "feed"
)

// defaultTimeout is that of a Service whose manifest says nothing.
const defaultTimeout = 300 * time.Second

func (r *reader) function(o object) {
	var spec workload
	if !r.spec(o, &spec) {
		return
	}
	f := Function{
		Process:     r.process(o, o.Metadata.Name, r.single(o, spec)),
		Concurrency: spec.Template.Spec.ContainerConcurrency,
		Timeout:     time.Duration(spec.Template.Spec.TimeoutSeconds) * time.Second,
	}
	if f.Concurrency < 0 || f.Timeout < 0 {
		r.wrong(o, "containerConcurrency or timeoutSeconds is negative")
	}
	if f.Timeout == 0 {
		f.Timeout = defaultTimeout
	}
	r.wiring.Functions = append(r.wiring.Functions, f)
}

func (r *reader) source(o object) {
	var spec workload
	if r.spec(o, &spec) {
		r.wiring.Sources = append(r.wiring.Sources, Source{Process: r.process(o, o.Metadata.Name, r.single(o, spec))})
	}
}

// feed reads the feed; other Jobs do what is done here without them.
func (r *reader) feed(o object) {
	var spec workload
	if o.Metadata.Name != feedJob || !r.spec(o, &spec) {
		return
	}
	for _, c := range spec.Template.Spec.Containers {
		if c.Name == feedContainer {
			r.wiring.Feed = r.process(o, feedContainer, c)
		}
	}
}

// single gives the one container that there may be.
func (r *reader) single(o object, w workload) container {
	if len(w.Template.Spec.Containers) != 1 || len(w.Template.Spec.InitContainers) > 0 {
		r.wrong(o, "it has %d containers and %d init containers: want one container",
			len(w.Template.Spec.Containers), len(w.Template.Spec.InitContainers))
		return container{}
	}
	return w.Template.Spec.Containers[0]
}

// process reads a container; one without a name has been complained of.
func (r *reader) process(o object, name string, c container) Process {
	p := Process{Name: name}
	if r.names[name] {
		r.wrong(o, "another process is named %s", name)
	}
	r.names[name] = true
	if c.Name == "" {
		return p
	}
	importPath, built := strings.CutPrefix(c.Image, "ko://")
	if !built {
		r.wrong(o, "image %q is not built from this project: want ko://<import path>", c.Image)
	}
	p.Program = path.Base(importPath)
	if len(c.Command) > 0 || len(c.Args) > 0 {
		r.wrong(o, "command and args of container %s are not carried out here", c.Name)
	}
	for _, variable := range c.Env {
		r.unknown(o, "env "+variable.Name, variable.Others)
		if strings.Contains(variable.Value, "$(") {
			r.wrong(o, "env %s: $(…) is not carried out here", variable.Name)
		}
		p.Environ = append(p.Environ, variable.Name+"="+variable.Value)
	}
	for _, from := range c.EnvFrom {
		r.unknown(o, "envFrom", from.Others)
		r.unknown(o, "envFrom.secretRef", from.SecretRef.Others)
		name := from.SecretRef.Name
		switch _, found := r.find(secret, name); {
		case name == "": // it is something else
		case !slices.Contains(secrets, name):
			r.wrong(o, "envFrom: nothing here has the variables of Secret %q: want one of %s", name, strings.Join(secrets, ", "))
		case !found && !from.SecretRef.Optional:
			r.wrong(o, "envFrom: there is no Secret %q", name)
		}
		p.Secrets = append(p.Secrets, name)
	}
	return p
}
