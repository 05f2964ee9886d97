package manifests_test

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// confined: every container is held to the least: no root, no writes outside its volumes, no capabilities, no way to
// more, bounds of memory and processor, and what the scheduler has to know.
func confined(objects []object) []error {
	var found findings
	for _, p := range templates(objects) {
		where := title(p.owner)
		if p.spec.HostNetwork || p.spec.HostPID || p.spec.HostIPC {
			found.add(where, "it shares a namespace of the node")
		}
		for _, v := range p.spec.Volumes {
			if v.HostPath != nil {
				found.add(where, "volume %s is a folder of the node", v.Name)
			}
		}
		if !withoutToken(p, objects) && !isBound(p.spec.ServiceAccountName, objects) {
			found.add(where, "a token of the Kubernetes API is mounted; this does not speak to it")
		}
		if links := p.spec.EnableServiceLinks; !servedByKnative(p) && (links == nil || *links) {
			found.add(where, "enableServiceLinks is not false: Services would set variables of ours, such as REDIS_PORT")
		}
		for _, c := range p.containers() {
			found.confinement(where+" container "+c.Name, p.spec.SecurityContext, c)
		}
	}
	return found
}

// confinement checks a container; what it leaves open its pod may set, where Kubernetes lets a pod set it.
func (f *findings) confinement(where string, pod *corev1.PodSecurityContext, c corev1.Container) {
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	own := c.SecurityContext
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	if nonRoot := first(own.RunAsNonRoot, pod.RunAsNonRoot); nonRoot == nil || !*nonRoot {
		f.add(where, "runAsNonRoot is not true")
	}
	if user := first(own.RunAsUser, pod.RunAsUser); user != nil && *user == 0 {
		f.add(where, "runAsUser is 0")
	}
	if profile := first(own.SeccompProfile, pod.SeccompProfile); profile == nil ||
		profile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		f.add(where, "seccompProfile is not RuntimeDefault")
	}
	if own.ReadOnlyRootFilesystem == nil || !*own.ReadOnlyRootFilesystem {
		f.add(where, "readOnlyRootFilesystem is not true")
	}
	if own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation {
		f.add(where, "allowPrivilegeEscalation is not false")
	}
	if own.Privileged != nil && *own.Privileged {
		f.add(where, "privileged is true")
	}
	if own.Capabilities == nil || len(own.Capabilities.Add) > 0 ||
		!slices.Contains(own.Capabilities.Drop, corev1.Capability("ALL")) {
		f.add(where, "capabilities are not those of drop ALL")
	}
	for name, list := range map[string]corev1.ResourceList{"requests": c.Resources.Requests, "limits": c.Resources.Limits} {
		if list.Memory().Sign() <= 0 {
			f.add(where, "no %s of memory", name)
		}
		if list.Cpu().Sign() <= 0 {
			f.add(where, "no %s of cpu", name)
		}
	}
}

// first gives a container's setting, or else its pod's.
func first[T any](container, pod *T) *T {
	if container != nil {
		return container
	}
	return pod
}

// servedByKnative tells whether Knative makes the pods, whose default is to have no service links.
func servedByKnative(p pods) bool {
	_, ok := p.owner.(*servingv1.Service)
	return ok
}

// withoutToken tells whether a pod, or its service account, forgoes the token.
func withoutToken(p pods, objects []object) bool {
	mount := p.spec.AutomountServiceAccountToken
	for _, account := range of[*corev1.ServiceAccount](objects) {
		if account.Name == p.spec.ServiceAccountName {
			mount = first(mount, account.AutomountServiceAccountToken)
		}
	}
	return mount != nil && !*mount
}

// probed: whatever of ours runs on says when it is ready, and when it should be started again.
func probed(objects []object) []error {
	var found findings
	for _, p := range templates(objects) {
		if _, ok := p.owner.(*batchv1.Job); ok {
			continue
		}
		for _, c := range p.spec.Containers {
			where := title(p.owner) + " container " + c.Name
			if c.ReadinessProbe == nil {
				found.add(where, "no readinessProbe")
			}
			if c.LivenessProbe == nil && strings.HasPrefix(c.Image, koScheme) {
				found.add(where, "no livenessProbe")
			}
		}
	}
	return found
}
