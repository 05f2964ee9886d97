package manifests_test

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// authorised: who speaks to the Kubernetes API is somebody's alone, and may do what a Role names, no more. That the planner's Role
// has what it needs, and nothing else, its own tests show.
func authorised(objects []object) []error {
	var found findings
	for _, r := range of[*rbacv1.Role](objects) {
		for _, rule := range r.Rules {
			for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "*") }) {
					found.add(title(r), "a rule is about %q: name what it is about", list)
				}
			}
			if slices.Contains(rule.Resources, "secrets") {
				found.add(title(r), "a rule is about Secrets")
			}
		}
	}
	bound := map[string]bool{}
	for _, b := range of[*rbacv1.RoleBinding](objects) {
		if b.RoleRef.Kind != "Role" || b.RoleRef.APIGroup != rbacv1.GroupName || !named[*rbacv1.Role](objects, b.RoleRef.Name) {
			found.add(title(b), "%s %s is not there", b.RoleRef.Kind, b.RoleRef.Name)
		}
		for _, s := range b.Subjects {
			if s.Kind != rbacv1.ServiceAccountKind || s.Namespace != b.Namespace || !named[*corev1.ServiceAccount](objects, s.Name) {
				found.add(title(b), "%s %s/%s is not there", s.Kind, s.Namespace, s.Name)
			}
			bound[s.Name] = true
		}
	}
	users := map[string]int{}
	for _, p := range templates(objects) {
		users[p.spec.ServiceAccountName]++
	}
	for _, a := range of[*corev1.ServiceAccount](objects) {
		switch token := a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken; {
		case token != bound[a.Name]:
			found.add(title(a), "it has a token, but no Role, or a Role, but no token")
		case token && users[a.Name] != 1:
			found.add(title(a), "%d workloads have its token, want 1", users[a.Name])
		}
	}
	return found
}

// isBound tells whether a Role says what a service account may do.
func isBound(name string, objects []object) bool {
	return slices.ContainsFunc(of[*rbacv1.RoleBinding](objects), func(b *rbacv1.RoleBinding) bool {
		return slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return s.Name == name })
	})
}
