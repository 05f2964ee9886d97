package manifests_test

import (
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// production: nothing stops for one pod or node that is lost, functions are reached through Knative alone, and nothing
// secret or lasting is in the manifests.
func production(objects []object) []error {
	var found findings
	found.noSecrets(objects)
	found.lastingData(objects)
	for _, s := range of[*servingv1.Service](objects) {
		if bound(s, objects) && s.Spec.Template.Annotations[autoscaling+"min-scale"] != "1" {
			found.add(title(s), "a stream Service sleeps: want min-scale 1")
		}
		if s.Labels[function] == "scheduler" && s.Spec.Template.Annotations[autoscaling+"min-scale"] != "1" {
			found.add(title(s), "what tells Prometheus of the store sleeps: want min-scale 1")
		}
	}
	budgets := of[*policyv1.PodDisruptionBudget](objects)
	for _, d := range of[*appsv1.Deployment](objects) {
		if !slices.ContainsFunc(of[*sourcesv1.SinkBinding](objects), func(b *sourcesv1.SinkBinding) bool {
			return b.Spec.Subject.Kind == "Deployment" && b.Spec.Subject.Name == d.Name
		}) {
			continue
		}
		if d.Spec.Replicas == nil || *d.Spec.Replicas != 2 {
			found.add(title(d), "a source has no standby: want 2 replicas")
		}
		if len(d.Spec.Template.Spec.TopologySpreadConstraints) == 0 {
			found.add(title(d), "its replicas may share a node")
		}
		if !slices.ContainsFunc(budgets, func(b *policyv1.PodDisruptionBudget) bool {
			return matches(b.Spec.Selector, d.Spec.Template.Labels)
		}) {
			found.add(title(d), "no PodDisruptionBudget")
		}
	}
	if !slices.ContainsFunc(of[*networkingv1.NetworkPolicy](objects), func(n *networkingv1.NetworkPolicy) bool {
		return len(n.Spec.PodSelector.MatchLabels)+len(n.Spec.PodSelector.MatchExpressions)+len(n.Spec.Ingress) == 0
	}) {
		found.add("NetworkPolicy", "none refuses what no other allows")
	}
	for _, p := range templates(objects) {
		if !trustsSecret(p) {
			found.add(title(p.owner), "it cannot be given the certificates of the Secret tls")
		}
		for name, namespace := range ofKnative {
			if servedByKnative(p) && !admits(objects, namespace, p) {
				found.add(title(p.owner), "no NetworkPolicy admits %s, through which it is called", name)
			}
		}
	}
	return found
}

// trustsSecret tells whether the first container has the files of the Secret tls, where there is one, at the place that the
// documentation names.
func trustsSecret(p pods) bool {
	return slices.ContainsFunc(p.spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == "tls" && isOptional(v.Secret) &&
			slices.ContainsFunc(p.spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == v.Name && m.MountPath == "/etc/chainmetrics/tls" && m.ReadOnly
			})
	})
}

// ofKnative are the labels of the namespaces that requests come from: the activator's and the autoscaler's, an ingress's.
var ofKnative = map[string]map[string]string{
	"Knative Serving": {"kubernetes.io/metadata.name": "knative-serving", "app.kubernetes.io/name": "knative-serving"},
	"the ingress":     {"kubernetes.io/metadata.name": "kourier-system", "networking.knative.dev/ingress-provider": "kourier"},
}

// admits tells whether a policy lets all pods of a namespace reach all ports of a pod: which ones are Knative's business.
func admits(objects []object, namespace map[string]string, p pods) bool {
	selects := func(selector *metav1.LabelSelector, set map[string]string) bool {
		s, err := metav1.LabelSelectorAsSelector(selector) // none for nil, all for an empty one
		return err == nil && s.Matches(labels.Set(set))
	}
	return slices.ContainsFunc(of[*networkingv1.NetworkPolicy](objects), func(n *networkingv1.NetworkPolicy) bool {
		return selects(&n.Spec.PodSelector, p.labels()) &&
			slices.ContainsFunc(n.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
				return len(rule.Ports) == 0 && slices.ContainsFunc(rule.From, func(from networkingv1.NetworkPolicyPeer) bool {
					return from.PodSelector == nil && selects(from.NamespaceSelector, namespace)
				})
			})
	})
}

// noSecrets checks that Secrets are named, not written.
func (f *findings) noSecrets(objects []object) {
	for _, s := range of[*corev1.Secret](objects) {
		if len(s.Data)+len(s.StringData) > 0 {
			f.add(title(s), "it holds data")
		}
	}
}

// scratch are the folders of a server's image whose files may end with its pod.
var scratch = []string{"/tmp", "/run", "/var/run"}

// lastingData checks that servers that are not ours keep their data in volumes that outlive their pods.
func (f *findings) lastingData(objects []object) {
	for _, p := range templates(objects) {
		for _, c := range p.spec.Containers {
			if strings.HasPrefix(c.Image, koScheme) {
				continue
			}
			for _, v := range p.spec.Volumes {
				for _, mount := range c.VolumeMounts {
					if v.EmptyDir != nil && mount.Name == v.Name && !slices.ContainsFunc(scratch, func(folder string) bool {
						return mount.MountPath == folder || path.Dir(mount.MountPath) == folder
					}) {
						f.add(title(p.owner)+" container "+c.Name, "what it writes to %s ends with the pod", mount.MountPath)
					}
				}
			}
		}
	}
}

// local: it fits on one small machine, and functions go to sleep.
func local(objects []object) []error {
	var found findings
	least, most := resource.MustParse("10m"), resource.MustParse("50m")
	for _, p := range templates(objects) {
		where := title(p.owner)
		for _, c := range p.containers() {
			if cpu := c.Resources.Requests.Cpu(); cpu.Cmp(least) < 0 || cpu.Cmp(most) > 0 {
				found.add(where+" container "+c.Name, "it requests %s of cpu, want 10m to 50m", cpu)
			}
		}
		if len(p.claims) > 0 {
			found.add(where, "it claims a volume, which outlives the overlay")
		}
		if scale, ok := p.meta.Annotations[autoscaling+"min-scale"]; ok && scale != "0" {
			found.add(where, "min-scale %s: it never sleeps", scale)
		}
		if set, ok := p.owner.(*appsv1.StatefulSet); ok && (set.Spec.Replicas == nil || *set.Spec.Replicas != 1) {
			found.add(where, "want 1 replica")
		}
	}
	return found
}

// settings are the lines of redis.conf that durability rests on.
var settings = []string{
	"appendonly yes",
	"appendfsync everysec",
	"no-appendfsync-on-rewrite no",
	"auto-aof-rewrite-percentage 100",
	"auto-aof-rewrite-min-size 64mb",
	"save 900 1 300 10 60 10000",
	"maxmemory-policy noeviction",
}

// durable: Redis has the settings that its streams need.
func durable(objects []object) []error {
	var found findings
	configs := 0
	for _, c := range of[*corev1.ConfigMap](objects) {
		text, ok := c.Data["redis.conf"]
		if !ok {
			continue
		}
		configs++
		lines := strings.Split(text, "\n")
		for _, setting := range settings {
			if !slices.Contains(lines, setting) {
				found.add(title(c), "redis.conf has no line %q", setting)
			}
		}
	}
	if configs != 1 {
		found.add("redis.conf", "%d ConfigMaps have it, want 1", configs)
	}
	return found
}

// replicated: Redis survives the loss of a node: three servers with volumes of their own, a Sentinel beside each.
func replicated(objects []object) []error {
	var found findings
	found.noSecrets(objects)
	found.lastingData(objects)
	for _, set := range of[*appsv1.StatefulSet](objects) {
		where := title(set)
		if set.Spec.Replicas == nil || *set.Spec.Replicas != 3 {
			found.add(where, "want 3 replicas")
		}
		if !slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(claim corev1.PersistentVolumeClaim) bool {
			return claim.Spec.Resources.Requests.Storage().String() == "10Gi"
		}) {
			found.add(where, "want a claim of 10Gi for each")
		}
		if !slices.ContainsFunc(set.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == "sentinel" }) {
			found.add(where, "want a Sentinel beside each")
		}
	}
	if n := len(of[*appsv1.StatefulSet](objects)); n != 1 {
		found.add("StatefulSet", "%d of them, want 1", n)
	}
	return found
}
