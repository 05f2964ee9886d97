package manifests_test

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// byHand are the Secrets that an overlay without servers expects: those who look after the servers make them.
var byHand = []string{"postgres", "redis"}

// referenced: what objects of Kubernetes' own kinds name or select is there. A server takes them without; the pods would
// wait for ever, the policy protect nothing.
func referenced(objects []object) []error {
	var found findings
	all := templates(objects)
	for _, p := range all {
		where := title(p.owner)
		if name := p.spec.ServiceAccountName; name != "" && !named[*corev1.ServiceAccount](objects, name) {
			found.add(where, "service account %s is not there", name)
		}
		for _, v := range p.spec.Volumes {
			if v.ConfigMap != nil && !named[*corev1.ConfigMap](objects, v.ConfigMap.Name) {
				found.add(where, "config map %s is not there", v.ConfigMap.Name)
			}
			if v.Secret != nil && !isOptional(v.Secret) {
				found.secret(where, v.Secret.SecretName, objects)
			}
		}
		for _, c := range p.containers() {
			where := where + " container " + c.Name
			for _, from := range c.EnvFrom {
				if from.SecretRef != nil && (from.SecretRef.Optional == nil || !*from.SecretRef.Optional) {
					found.secret(where, from.SecretRef.Name, objects)
				}
				if from.ConfigMapRef != nil && !named[*corev1.ConfigMap](objects, from.ConfigMapRef.Name) {
					found.add(where, "config map %s is not there", from.ConfigMapRef.Name)
				}
			}
			for _, v := range c.Env {
				if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
					found.secret(where, v.ValueFrom.SecretKeyRef.Name, objects)
				}
			}
		}
		for _, spread := range p.spec.TopologySpreadConstraints {
			if !matches(spread.LabelSelector, p.meta.Labels) {
				found.add(where, "topologySpreadConstraints on %s do not select the pods themselves", spread.TopologyKey)
			}
		}
		if set, ok := p.owner.(*appsv1.StatefulSet); ok && !named[*corev1.Service](objects, set.Spec.ServiceName) {
			found.add(where, "service %s is not there", set.Spec.ServiceName)
		}
	}
	for _, s := range of[*corev1.Service](objects) {
		selected := selection(all, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if len(selected) == 0 {
			found.add(title(s), "its selector selects no pods")
		}
		for _, port := range s.Spec.Ports {
			found.port(title(s), &port.TargetPort, selected)
		}
	}
	for _, b := range of[*policyv1.PodDisruptionBudget](objects) {
		if len(selection(all, b.Spec.Selector)) == 0 {
			found.add(title(b), "its selector selects no pods")
		}
	}
	for _, n := range of[*networkingv1.NetworkPolicy](objects) {
		found.policy(n, all)
	}
	return found
}

// isOptional tells whether pods start without the Secret of a volume.
func isOptional(volume *corev1.SecretVolumeSource) bool {
	return volume.Optional != nil && *volume.Optional
}

// policy checks a network policy; one without a selector is for all pods.
func (f *findings) policy(n *networkingv1.NetworkPolicy, all []pods) {
	selected := all
	if len(n.Spec.PodSelector.MatchLabels)+len(n.Spec.PodSelector.MatchExpressions) > 0 {
		selected = selection(all, &n.Spec.PodSelector)
	}
	if len(selected) == 0 {
		f.add(title(n), "its selector selects no pods")
	}
	for _, rule := range n.Spec.Ingress {
		for _, port := range rule.Ports {
			f.port(title(n), port.Port, selected)
		}
	}
}

// port checks that some of the pods have a port where it is given by name.
func (f *findings) port(where string, port *intstr.IntOrString, selected []pods) {
	if port == nil || port.Type != intstr.String {
		return
	}
	if !slices.ContainsFunc(selected, func(p pods) bool { return p.port(port.StrVal) }) {
		f.add(where, "none of the pods has port %s", port.StrVal)
	}
}

// secret checks that a Secret is there, or is one of those made by hand where there is none at all.
func (f *findings) secret(where, name string, objects []object) {
	if named[*corev1.Secret](objects, name) {
		return
	}
	if len(of[*corev1.Secret](objects)) > 0 || !slices.Contains(byHand, name) {
		f.add(where, "secret %s is not there", name)
	}
}

// named tells whether an object of this kind and name is there.
func named[T object](objects []object, name string) bool {
	return slices.ContainsFunc(of[T](objects), func(o T) bool { return o.GetName() == name })
}

// selection gives the templates whose pods a selector selects.
func selection(all []pods, selector *metav1.LabelSelector) []pods {
	var selected []pods
	for _, p := range all {
		if matches(selector, p.labels()) {
			selected = append(selected, p)
		}
	}
	return selected
}
