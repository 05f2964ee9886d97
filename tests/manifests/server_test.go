package manifests_test

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// accepted: an API server takes the object. What the Go types cannot say, and a dry run would.
func accepted(objects []object) []error {
	var found findings
	seen := map[string]bool{}
	for _, o := range objects {
		key := fmt.Sprintf("%s %s/%s", o.GetObjectKind().GroupVersionKind().GroupKind(), o.GetNamespace(), o.GetName())
		if seen[key] {
			found.add(title(o), "the object comes twice")
		}
		seen[key] = true
		names := validation.IsDNS1123Label(o.GetName())
		if _, ok := o.(*corev1.Service); ok {
			names = validation.IsDNS1035Label(o.GetName())
		}
		for _, problem := range names {
			found.add(title(o), "name: %s", problem)
		}
		found.metadata(title(o), &metav1.ObjectMeta{Labels: o.GetLabels(), Annotations: o.GetAnnotations()})
	}
	for _, p := range templates(objects) {
		where := title(p.owner)
		found.metadata(where, &p.meta)
		found.workload(where, p)
		found.podSpec(where, p)
	}
	return found
}

// metadata checks labels and annotations.
func (f *findings) metadata(where string, meta *metav1.ObjectMeta) {
	for _, err := range slices.Concat(
		metavalidation.ValidateLabels(meta.Labels, field.NewPath("metadata", "labels")),
		apivalidation.ValidateAnnotations(meta.Annotations, field.NewPath("metadata", "annotations")),
	) {
		f.add(where, "%w", err)
	}
}

// workload checks what an object says of its pods.
func (f *findings) workload(where string, p pods) {
	var selector *metav1.LabelSelector
	restart := []corev1.RestartPolicy{"", corev1.RestartPolicyAlways}
	switch o := p.owner.(type) {
	case *appsv1.Deployment:
		selector = o.Spec.Selector
	case *appsv1.StatefulSet:
		selector = o.Spec.Selector
	case *batchv1.Job:
		restart = []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
		if o.Spec.Selector != nil {
			f.add(where, "a Job's selector is made by the server")
		}
	case *servingv1.Service:
	}
	if !slices.Contains(restart, p.spec.RestartPolicy) {
		f.add(where, "restartPolicy %q, want one of %q", p.spec.RestartPolicy, restart)
	}
	switch p.owner.(type) {
	case *appsv1.Deployment, *appsv1.StatefulSet:
		if !matches(selector, p.meta.Labels) {
			f.add(where, "the selector does not match the labels of the template")
		}
	}
}

// matches tells whether a selector that selects something selects these labels.
func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && !s.Empty() && s.Matches(labels.Set(set))
}

// podSpec checks the names in a template, and that what they name is there.
func (f *findings) podSpec(where string, p pods) {
	volumes := map[string]bool{}
	volume := func(name string) {
		if volumes[name] {
			f.add(where, "volume %s comes twice", name)
		}
		volumes[name] = true
	}
	for _, v := range p.spec.Volumes {
		if v.VolumeSource == (corev1.VolumeSource{}) {
			f.add(where, "volume %s has no source", v.Name)
		}
		volume(v.Name)
	}
	for _, claim := range p.claims {
		volume(claim.Name)
	}
	if len(p.spec.Containers) == 0 {
		f.add(where, "no container")
	}
	names := map[string]bool{}
	for _, c := range p.containers() {
		where := where + " container " + c.Name
		for _, problem := range validation.IsDNS1123Label(c.Name) {
			f.add(where, "name: %s", problem)
		}
		if names[c.Name] {
			f.add(where, "the container comes twice")
		}
		names[c.Name] = true
		f.container(where, c, volumes)
	}
}

// container checks one container of a template.
func (f *findings) container(where string, c corev1.Container, volumes map[string]bool) {
	paths := map[string]bool{}
	for _, mount := range c.VolumeMounts {
		if !volumes[mount.Name] {
			f.add(where, "it mounts volume %s, which is not there", mount.Name)
		}
		if mount.MountPath == "" || paths[mount.MountPath] {
			f.add(where, "mount path %q is empty or comes twice", mount.MountPath)
		}
		paths[mount.MountPath] = true
	}
	ports := map[string]bool{}
	for _, port := range c.Ports {
		if port.Name != "" { // at most 15 characters
			for _, problem := range validation.IsValidPortName(port.Name) {
				f.add(where, "port %q: %s", port.Name, problem)
			}
			if ports[port.Name] {
				f.add(where, "port %s comes twice", port.Name)
			}
			ports[port.Name] = true
		}
		for _, problem := range validation.IsValidPortNum(int(port.ContainerPort)) {
			f.add(where, "port %d: %s", port.ContainerPort, problem)
		}
	}
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if name := probedPort(probe); name != "" && !ports[name] {
			f.add(where, "a probe asks port %s, which is not there", name)
		}
	}
	variables := map[string]bool{}
	for _, v := range c.Env {
		for _, problem := range validation.IsEnvVarName(v.Name) {
			f.add(where, "variable %q: %s", v.Name, problem)
		}
		if variables[v.Name] { // a server takes it, and the last one holds
			f.add(where, "variable %s comes twice", v.Name)
		}
		variables[v.Name] = true
		if v.Value != "" && v.ValueFrom != nil {
			f.add(where, "variable %s has two values", v.Name)
		}
	}
	for resource, request := range c.Resources.Requests {
		if limit, ok := c.Resources.Limits[resource]; ok && limit.Cmp(request) < 0 {
			f.add(where, "it requests %s of %s, above its limit of %s", request.String(), resource, limit.String())
		}
	}
	if c.Image == "" {
		f.add(where, "no image")
	}
}

// probedPort gives the name of the port that a probe asks, if it has one.
func probedPort(probe *corev1.Probe) string {
	var port intstr.IntOrString
	switch {
	case probe == nil:
	case probe.HTTPGet != nil:
		port = probe.HTTPGet.Port
	case probe.TCPSocket != nil:
		port = probe.TCPSocket.Port
	}
	return port.StrVal
}
