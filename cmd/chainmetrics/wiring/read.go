package wiring

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Read reads the documents of a system. The error names every mistake in them.
func Read(manifests []byte) (*Wiring, error) {
	objects, err := decode(manifests)
	if err != nil {
		return nil, err
	}
	r := &reader{objects: objects, names: make(map[string]bool)}
	for _, o := range objects {
		r.read(o)
	}
	r.bind()
	if r.wiring.Feed.Program == "" {
		missing := object{kind: job}
		missing.Metadata.Name = feedJob
		r.wrong(missing, "there is none with a container %s", feedContainer)
	}
	if len(r.mistakes) == 0 {
		r.findUntaken()
	}
	if err := errors.Join(r.mistakes...); err != nil {
		return nil, err
	}
	return &r.wiring, nil
}

// reader collects what it reads, and what is wrong with it.
type reader struct {
	objects  []object
	names    map[string]bool // of processes
	bindings []binding
	wiring   Wiring
	mistakes []error
}

// binding is a SinkBinding.
type binding struct {
	object     object
	subject    string // a Deployment or a function
	sink       string // of a Deployment a function, of a function a Broker
	extensions map[string]string
}

// wrong notes a mistake in an object.
func (r *reader) wrong(o object, format string, args ...any) {
	r.mistakes = append(r.mistakes, fmt.Errorf(o.Kind+" "+o.Metadata.Name+": "+format, args...))
}

// unknown notes fields that are not carried out, below a field.
func (r *reader) unknown(o object, field string, fields others) {
	for _, name := range fields.names() {
		r.wrong(o, "%s.%s is not carried out here", field, name)
	}
}

// spec decodes an object's.
func (r *reader) spec(o object, to any) (ok bool) {
	err := o.Spec.Decode(to)
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		for _, text := range wrong.Errors {
			_, what, _ := strings.Cut(text, ": ") // behind a line of the rendered manifests, which nobody has at hand
			r.wrong(o, "spec: %s", what)
		}
	} else if err != nil {
		r.wrong(o, "spec: %w", err)
	}
	return err == nil
}

func (r *reader) read(o object) {
	switch o.kind {
	case service:
		r.function(o)
	case deployment:
		r.source(o)
	case job:
		r.feed(o)
	case sinkBinding:
		r.binding(o)
	case pingSource:
		r.schedule(o)
	case trigger:
		r.trigger(o)
	case broker:
		r.broker(o)
	default: // everything else needs a cluster
		if group, _, _ := strings.Cut(o.APIVersion, "/"); strings.HasSuffix(group, "knative.dev") {
			r.wrong(o, "a %s of %s is not carried out here", o.Kind, o.APIVersion)
		}
	}
}

// find gives the object of a kind and name.
func (r *reader) find(k kind, name string) (o object, found bool) {
	i := slices.IndexFunc(r.objects, func(o object) bool { return o.kind == k && o.Metadata.Name == name })
	if i < 0 {
		return object{}, false
	}
	return r.objects[i], true
}

// resolve gives the name of the object that a field refers to.
func (r *reader) resolve(o object, field string, ref reference, want kind) string {
	r.unknown(o, field, ref.Others)
	switch _, found := r.find(want, ref.Name); {
	case ref.kind != want:
		r.wrong(o, "%s is %q, a %s of %s: want a %s of %s", field, ref.Name, ref.Kind, ref.APIVersion, want.Kind, want.APIVersion)
	case ref.Namespace != "" && ref.Namespace != o.Metadata.Namespace:
		r.wrong(o, "%s lies in another namespace, %s", field, ref.Namespace)
	case !found:
		r.wrong(o, "%s: there is no %s %q", field, want.Kind, ref.Name)
	}
	return ref.Name
}

func (r *reader) destination(o object, field string, d destination, want kind) string {
	r.unknown(o, field, d.Others)
	if d.Ref.Name == "" {
		r.wrong(o, "%s.ref is missing", field)
		return ""
	}
	return r.resolve(o, field+".ref", d.Ref, want)
}

func (r *reader) binding(o object) {
	var spec bindingSpec
	if !r.spec(o, &spec) {
		return
	}
	r.unknown(o, "spec", spec.Others)
	r.unknown(o, "spec.ceOverrides", spec.Overrides.Others)
	subject, sink := deployment, service
	if spec.Subject.kind == service {
		subject, sink = service, broker
	}
	r.bindings = append(r.bindings, binding{
		object:     o,
		subject:    r.resolve(o, "spec.subject", spec.Subject, subject),
		sink:       r.destination(o, "spec.sink", spec.Sink, sink),
		extensions: spec.Overrides.Extensions,
	})
}

// bind gives each source its function, and functions the Broker that they send to.
func (r *reader) bind() {
	for i := range r.wiring.Sources {
		source := &r.wiring.Sources[i]
		source.Sink, source.Extensions = r.bound(deployment, source.Name)
		if source.Sink == "" {
			o, _ := r.find(deployment, source.Name)
			r.wrong(o, "no SinkBinding says where it sends to")
		}
	}
	for i := range r.wiring.Functions {
		f := &r.wiring.Functions[i]
		f.Broker, f.Extensions = r.bound(service, f.Name)
	}
}

// bound gives what the SinkBinding of an object says, if there is one.
func (r *reader) bound(subject kind, name string) (sink string, extensions map[string]string) {
	for _, b := range r.bindings {
		if b.subject != name {
			continue
		}
		if sink != "" {
			r.wrong(b.object, "%s %s is bound already", subject.Kind, name)
		}
		sink, extensions = b.sink, b.extensions
	}
	return sink, extensions
}
