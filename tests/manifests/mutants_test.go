package manifests_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// mutant is one mistake in the manifests: an edit of one object as it is rendered.
type mutant struct {
	in   string // rendering
	of   string // object, by its title
	edit string // JSON patch (RFC 6902) in YAML; or lines to write behind it; or old→new, wherever old is in any object
	says string // what the check must say, among other things
}

const decoded = "decoded" // the check that decode is

// mutants are mistakes by the check that has to catch them.
var mutants = map[string]map[string]mutant{
	decoded: {
		"unknown field of Kubernetes": {
			"local", "Deployment/counter-source",
			`{op: move, from: /spec/replicas, path: /spec/replica}`, `unknown field "spec.replica"`,
		},
		"unknown field of Serving": {
			"local", "Service/counter",
			`{op: add, path: /spec/template/spec/timeoutSecond, value: 60}`, `unknown field "spec.template.spec.timeoutSecond"`,
		},
		"unknown field of Eventing": {
			"local", "Trigger/counter-small",
			`{op: add, path: /spec/delivery/retries, value: 5}`, `unknown field "spec.delivery.retries"`,
		},
		"unknown field of a PingSource": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: move, from: /spec/timezone, path: /spec/timeZone}`, `unknown field "spec.timeZone"`,
		},
		"field that comes twice": {"local", "Broker/metrics", "kind: Broker\n", "already set"},
		"number as text": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/timeoutSeconds, value: "60"}`, "timeoutSeconds",
		},
		"annotation as number": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale, value: 1}`, "annotations",
		},
		"unknown kind": {"local", "Broker/metrics", `{op: replace, path: /kind, value: Brokers}`, `no kind "Brokers"`},
		"unknown version": {
			"local", "Service/counter",
			`{op: replace, path: /apiVersion, value: serving.knative.dev/v2}`, `no kind "Service"`,
		},
	},
	"admitted": {
		"bad cron": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /spec/schedule, value: "61 * * * *"}`, "spec.schedule",
		},
		"unknown time zone": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /spec/timezone, value: Utopia}`, "spec.timezone",
		},
		"more time than Knative gives": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/timeoutSeconds, value: 601}`, "601",
		},
		"probe with a timeout but no period": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/containers/0/readinessProbe, value: {httpGet: {path: /readyz}, timeoutSeconds: 7}}`,
			"timeoutSeconds is disallowed when periodSeconds is zero",
		},
		"scale below zero": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale, value: "-1"}`, "max-scale",
		},
		"annotation of scale in the wrong place": {
			"local", "Service/counter",
			`{op: add, path: /metadata/annotations, value: {autoscaling.knative.dev/max-scale: "1"}}`, "autoscaling annotations must be put under",
		},
		"field behind a feature flag": {
			"production", "Service/counter",
			`{op: add, path: /spec/template/spec/topologySpreadConstraints, value: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}`, "topologySpreadConstraints",
		},
		"trigger without broker": {"local", "Trigger/counter-small", `{op: remove, path: /spec/broker}`, "spec.broker"},
		"attribute that cannot be": {
			"local", "Trigger/counter-small",
			`{op: add, path: /spec/filter/attributes/bucket-size, value: hourly}`, "bucket-size",
		},
		"delay that is none": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/delivery/backoffDelay, value: 1s}`, "spec.delivery.backoffDelay",
		},
		"delay of a broker that is none": {
			"local", "Broker/metrics",
			`{op: replace, path: /spec/delivery/backoffDelay, value: 1s}`, "spec.delivery.backoffDelay",
		},
		"binding without sink": {"local", "SinkBinding/counter-source", `{op: remove, path: /spec/sink}`, "spec.sink"},
		"extension that cannot be": {
			"local", "SinkBinding/counter-source",
			`{op: add, path: /spec/ceOverrides, value: {extensions: {metric-type: counter}}}`, "metric-type",
		},
	},
	"accepted": {
		"object that comes twice": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /metadata/name, value: metric-counter-small-daily}`, "PingSource/metric-counter-small-daily: the object comes twice",
		},
		"name that is none": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /metadata/name, value: counter_hourly}`, "name: a lowercase RFC 1123 label",
		},
		"service name that is none": {
			"local", "Service/redis",
			`{op: replace, path: /metadata/name, value: 1redis}`, "name: a DNS-1035 label",
		},
		"label that is none": {
			"local", "Trigger/counter-small",
			`{op: add, path: /metadata/labels/complexity, value: very small}`, "metadata.labels",
		},
		"selector of other pods": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/selector/matchLabels, value: {app.kubernetes.io/name: source}}`, "the selector does not match",
		},
		"selector of all pods": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/selector, value: {}}`, "the selector does not match",
		},
		"job that is started again for ever": {
			"local", "Job/migrate",
			`{op: remove, path: /spec/template/spec/restartPolicy}`, "restartPolicy",
		},
		"selector of a job": {
			"local", "Job/migrate",
			`{op: add, path: /spec/selector, value: {matchLabels: {a: b}}}`, "a Job's selector",
		},
		"server that is not started again": {
			"local", "StatefulSet/redis",
			`{op: add, path: /spec/template/spec/restartPolicy, value: Never}`, "restartPolicy",
		},
		"volume that is not there": {
			"local", "Job/sample",
			`{op: replace, path: /spec/template/spec/containers/0/volumeMounts/0/name, value: block}`, "it mounts volume block",
		},
		"volume without source": {
			"local", "Job/sample",
			`{op: add, path: /spec/template/spec/volumes/-, value: {name: nothing}}`, "volume nothing has no source",
		},
		"volume that comes twice": {
			"local", "Job/sample",
			`{op: add, path: /spec/template/spec/volumes/-, value: {name: blocks, emptyDir: {}}}`, "volume blocks comes twice",
		},
		"mount that comes twice": {
			"local", "Job/sample",
			`{op: add, path: /spec/template/spec/containers/0/volumeMounts/-, value: {name: metrics, mountPath: /blocks}}`, `mount path "/blocks"`,
		},
		"container that comes twice": {
			"local", "Job/sample",
			`{op: replace, path: /spec/template/spec/containers/0/name, value: blocks}`, "the container comes twice",
		},
		"container without image": {
			"local", "Job/sample",
			`{op: remove, path: /spec/template/spec/containers/0/image}`, "no image",
		},
		"no container": {
			"local", "Job/migrate",
			`{op: replace, path: /spec/template/spec/containers, value: []}`, "no container",
		},
		"container name that is none": {
			"local", "Job/migrate",
			`{op: replace, path: /spec/template/spec/containers/0/name, value: Migrate}`, "name: a lowercase RFC 1123 label",
		},
		"port name that is too long": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/template/spec/containers/0/ports/0/name, value: redis-stream-server}`, "no more than 15 characters",
		},
		"port that is none": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/template/spec/containers/0/ports/0/containerPort, value: 70000}`, "port 70000",
		},
		"port that comes twice": {
			"local", "StatefulSet/redis",
			`{op: add, path: /spec/template/spec/containers/0/ports/-, value: {name: redis, containerPort: 6380}}`, "port redis comes twice",
		},
		"probe of a port that is not there": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/readinessProbe/httpGet/port, value: http}`, "a probe asks port http",
		},
		"variable that comes twice": {
			"local", "Job/sample",
			`{op: add, path: /spec/template/spec/containers/0/env/-, value: {name: CHAIN, value: ethereum}}`, "variable CHAIN comes twice",
		},
		"variable that is none": {
			"local", "Job/sample",
			`{op: add, path: /spec/template/spec/containers/0/env/-, value: {name: "A=B"}}`, `variable "A=B"`,
		},
		"variable with two values": {
			"local", "Deployment/counter-source",
			`{op: add, path: /spec/template/spec/containers/0/env/0/valueFrom, value: {fieldRef: {fieldPath: metadata.name}}}`, "variable FUNCTION has two values",
		},
		"request above the limit": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/resources/requests/memory, value: 8Gi}`, "above its limit",
		},
		"pod label that is none": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/metadata/labels/metric-type, value: a b}`, "metadata.labels",
		},
	},
	"referenced": {
		"service account that is not there": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/serviceAccountName, value: source}`, "service account source",
		},
		"config map that is not there": {
			"local", "StatefulSet/redis",
			`{op: add, path: /spec/template/spec/volumes/-, value: {name: acl, configMap: {name: redis-acl}}}`, "config map redis-acl",
		},
		"config map of variables that is not there": {
			"local", "Deployment/counter-source",
			`{op: add, path: /spec/template/spec/containers/0/envFrom/-, value: {configMapRef: {name: source}}}`, "config map source",
		},
		"secret that is not there": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/envFrom/0/secretRef/name, value: valkey}`, "secret valkey",
		},
		"secret that nobody makes": {
			"production", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/envFrom/0/secretRef/name, value: valkey}`, "secret valkey",
		},
		"secret that is left out": {"local", "Secret/redis", `{op: replace, path: /metadata/name, value: valkey}`, "secret redis"},
		"secret of a volume that is not there": {
			"local", "StatefulSet/redis",
			`{op: add, path: /spec/template/spec/volumes/-, value: {name: tls, secret: {secretName: redis-tls}}}`, "secret redis-tls",
		},
		"secret of a variable that is not there": {
			"local", "Deployment/counter-source",
			`{op: add, path: /spec/template/spec/containers/0/env/-, value: {name: REDIS_PASSWORD, valueFrom: {secretKeyRef: {name: password, key: p}}}}`, "secret password",
		},
		"spread of other pods": {
			"production", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/topologySpreadConstraints/0/labelSelector, value: {matchLabels: {app: source}}}`, "do not select the pods themselves",
		},
		"set without service": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/serviceName, value: redis-headless}`, "service redis-headless",
		},
		"service of no pods": {
			"local", "Service/postgres",
			`{op: replace, path: /spec/selector, value: {app: postgres}}`, "Service/postgres: its selector selects no pods",
		},
		"service of a port that is not there": {
			"local", "Service/postgres",
			`{op: replace, path: /spec/ports/0/targetPort, value: sql}`, "none of the pods has port sql",
		},
		"budget of no pods": {
			"production", "PodDisruptionBudget/counter-source",
			`{op: replace, path: /spec/selector, value: {matchLabels: {app: source}}}`, "its selector selects no pods",
		},
		"policy for no pods": {
			"production", "NetworkPolicy/monitoring-to-sources",
			`{op: replace, path: /spec/podSelector, value: {matchLabels: {app: source}}}`, "its selector selects no pods",
		},
		"policy for a port that is not there": {
			"production", "NetworkPolicy/monitoring-to-sources",
			`{op: replace, path: /spec/ingress/0/ports/0/port, value: prometheus}`, "none of the pods has port prometheus",
		},
	},
	"buildable": {
		"package that is not there": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: ko://github.com/chainmetrics/chainmetrics/events/sink}`, "no package in folder events/sink",
		},
		"package that is no program": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: ko://github.com/chainmetrics/chainmetrics/events}`, "package events is no main package",
		},
		"package of another module": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: ko://example.com/source}`, "not of module",
		},
		"image that ko does not build": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: "example.com/chainmetrics/source:v1"}`, "is neither of ours",
		},
		"image of a first container that ko does not build": {
			"local", "Job/sample",
			`{op: replace, path: /spec/template/spec/initContainers/0/image, value: chainmetrics}`, "is neither of ours",
		},
		"server of any version": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: redis}`, "nor a server's with a tag",
		},
	},
	"wired": {
		"trigger on a type that nobody sends": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/filter/attributes/type, value: dev.knative.sources.pong}`, "it filters on no type",
		},
		"trigger on every type": {
			"local", "Trigger/counter-small",
			`{op: remove, path: /spec/filter/attributes/type}`, "it filters on no type",
		},
		"trigger without filter": {"local", "Trigger/counter-small", `{op: remove, path: /spec/filter}`, "it filters on no type"},
		"trigger on an extension that nobody sets": {
			"local", "Trigger/counter-small",
			`{op: add, path: /spec/filter/attributes/complexity, value: huge}`, "no PingSource sends",
		},
		"trigger with filters": {
			"local", "Trigger/counter-small",
			`{op: add, path: /spec/filters, value: [{exact: {type: dev.knative.sources.ping}}]}`, "it has filters",
		},
		"broker that is not there": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/broker, value: default}`, `broker "default" is not there`,
		},
		"subscriber that is not there": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/subscriber/ref/name, value: counter-huge}`, "its subscriber is not there",
		},
		"subscriber of another kind": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/subscriber/ref/apiVersion, value: v1}`, "its subscriber is not there",
		},
		"sink that is not there": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /spec/sink/ref/name, value: default}`, "PingSource/metric-counter-small-hourly: its sink is not there",
		},
		"sink in another namespace": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: add, path: /spec/sink/ref/namespace, value: default}`, "PingSource/metric-counter-small-hourly: its sink is not there",
		},
		"no time zone": {"local", "PingSource/metric-counter-small-hourly", `{op: remove, path: /spec/timezone}`, `time zone ""`},
		"a machine's time zone": {
			"local", "PingSource/metric-counter-small-hourly", `{op: replace, path: /spec/timezone, value: Local}`, `time zone "Local"`,
		},
		"no bucket size": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: remove, path: /spec/ceOverrides/extensions/bucketsize}`, "no bucketsize",
		},
		"no extensions": {"local", "PingSource/metric-counter-small-hourly", `{op: remove, path: /spec/ceOverrides}`, "no metrictype"},
		"unknown bucket size": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /spec/ceOverrides/extensions/bucketsize, value: yearly}`, "yearly",
		},
		"trigger that wakes another Service": {
			"local", "Trigger/counter-medium",
			`{op: replace, path: /spec/subscriber/ref/name, value: counter-large}`, "1 Triggers take its events, want that of Service counter-medium",
		},
		"tick that wakes twice": {
			"local", "Trigger/counter-medium",
			`{op: replace, path: /spec/filter/attributes/complexity, value: large}`, "2 Triggers take its events, want that of Service counter-large",
		},
		"tick that no trigger takes": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /spec/ceOverrides/extensions/complexity, value: huge}`, "no Trigger takes its events",
		},
		"extension that is none": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: add, path: /spec/ceOverrides/extensions/bucket-size, value: hourly}`, "it sends no CloudEvent",
		},
		"requests that no trigger takes": {
			"local", "Trigger/counter-large-runs",
			`{op: replace, path: /spec/filter/attributes/complexity, value: huge}`, "0 Triggers take requests of large complexity",
		},
		"requests that wake another function": {
			"local", "Trigger/counter-large-runs",
			`{op: replace, path: /spec/subscriber/ref/name, value: counter-medium}`, "1 Triggers take requests of large complexity",
		},
		"scheduler that sends to a broker that is not there": {
			"local", "SinkBinding/scheduler",
			`{op: replace, path: /spec/sink/ref/name, value: default}`, "SinkBinding/scheduler: its sink is not there",
		},
		"binding to a sink that is not there": {
			"local", "SinkBinding/counter-source",
			`{op: replace, path: /spec/sink/ref/name, value: count}`, "SinkBinding/counter-source: its sink is not there",
		},
		"binding of a subject that is not there": {
			"local", "SinkBinding/counter-source",
			`{op: replace, path: /spec/subject/kind, value: StatefulSet}`, "its subject is not there",
		},
	},
	"confined": {
		"root": {
			"local", "Deployment/counter-source",
			`{op: remove, path: /spec/template/spec/containers/0/securityContext/runAsNonRoot}`, "runAsNonRoot",
		},
		"user 0": {
			"local", "Deployment/counter-source",
			`{op: replace, path: /spec/template/spec/containers/0/securityContext/runAsUser, value: 0}`, "runAsUser is 0",
		},
		"root in a function": {
			"local", "Service/counter-small",
			`{op: replace, path: /spec/template/spec/containers/0/securityContext/runAsNonRoot, value: false}`, "runAsNonRoot",
		},
		"root in a first container": {
			"local", "Job/sample",
			`{op: remove, path: /spec/template/spec/initContainers/1/securityContext}`, "container blocks: runAsNonRoot",
		},
		"file system that can be written": {
			"local", "StatefulSet/redis",
			`{op: replace, path: /spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem, value: false}`, "readOnlyRootFilesystem",
		},
		"more privileges": {
			"local", "StatefulSet/postgres",
			`{op: remove, path: /spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation}`, "allowPrivilegeEscalation",
		},
		"all privileges": {
			"local", "StatefulSet/postgres",
			`{op: add, path: /spec/template/spec/containers/0/securityContext/privileged, value: true}`, "privileged is true",
		},
		"a capability": {
			"local", "Job/migrate",
			`{op: add, path: /spec/template/spec/containers/0/securityContext/capabilities/add, value: [NET_RAW]}`, "capabilities",
		},
		"all capabilities": {
			"local", "Job/migrate",
			`{op: remove, path: /spec/template/spec/containers/0/securityContext/capabilities}`, "capabilities",
		},
		"all system calls": {
			"local", "Job/migrate",
			`{op: replace, path: /spec/template/spec/containers/0/securityContext/seccompProfile/type, value: Unconfined}`, "seccompProfile",
		},
		"no limit of memory": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/spec/containers/0/resources/limits/memory}`, "no limits of memory",
		},
		"no request of memory": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/spec/containers/0/resources/requests/memory}`, "no requests of memory",
		},
		"no limit of cpu": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/spec/containers/0/resources/limits/cpu}`, "no limits of cpu",
		},
		"no request of cpu": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/spec/containers/0/resources/requests/cpu}`, "no requests of cpu",
		},
		"network of the node": {
			"local", "Deployment/counter-source",
			`{op: add, path: /spec/template/spec/hostNetwork, value: true}`, "a namespace of the node",
		},
		"folder of the node": {
			"local", "StatefulSet/postgres",
			`{op: add, path: /spec/template/spec/volumes/-, value: {name: host, hostPath: {path: /}}}`, "a folder of the node",
		},
		"variables of Services": {
			"local", "Job/migrate",
			`{op: remove, path: /spec/template/spec/enableServiceLinks}`, "enableServiceLinks is not false",
		},
		"token of the API": {
			"local", "ServiceAccount/chainmetrics",
			`{op: remove, path: /automountServiceAccountToken}`, "a token of the Kubernetes API",
		},
	},
	"authorised": {
		"everything": {
			"local", "Role/planner", `{op: replace, path: /rules/1/verbs, value: ["*"]}`, `a rule is about ["*"]`,
		},
		"secrets": {
			"local", "Role/planner", `{op: add, path: /rules/1/resources/-, value: secrets}`, "about Secrets",
		},
		"role that is not there": {
			"local", "RoleBinding/planner", `{op: replace, path: /roleRef/name, value: admin}`, "Role admin is not there",
		},
		"role of the cluster": {
			"local", "RoleBinding/planner", `{op: replace, path: /roleRef/kind, value: ClusterRole}`, "ClusterRole planner is not there",
		},
		"another's account": {
			"local", "RoleBinding/planner", `{op: replace, path: /subjects/0/namespace, value: default}`, "ServiceAccount default/planner is not there",
		},
		"role of all": {
			"local", "RoleBinding/planner", `{op: replace, path: /subjects/0/name, value: chainmetrics}`, "ServiceAccount/chainmetrics: it has",
		},
		"token of a second workload": {
			"local", "Service/scheduler", `{op: replace, path: /spec/template/spec/serviceAccountName, value: planner}`, "2 workloads have its token",
		},
		"planner without a token": {
			"local", "ServiceAccount/planner", `{op: replace, path: /automountServiceAccountToken, value: false}`, "ServiceAccount/planner: it has",
		},
	},
	"probed": {
		"function without readiness": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/spec/containers/0/readinessProbe}`, "no readinessProbe",
		},
		"source without liveness": {
			"local", "Deployment/counter-source",
			`{op: remove, path: /spec/template/spec/containers/0/livenessProbe}`, "no livenessProbe",
		},
	},
	"labelled": {
		"another namespace": {
			"local", "Broker/metrics",
			`{op: replace, path: /metadata/namespace, value: default}`, `namespace "default"`,
		},
		"another Namespace": {
			"local", "Namespace/" + namespace,
			`{op: replace, path: /metadata/name, value: metrics}`, "want the name " + namespace,
		},
		"object without label": {
			"local", "ConfigMap/example-metrics",
			`{op: remove, path: /metadata/labels}`, "no label app.kubernetes.io/part-of",
		},
		"pods without label": {
			"production", "Service/counter",
			`{op: remove, path: /spec/template/metadata/labels/app.kubernetes.io~1part-of}`, "on its pods",
		},
		"no metric type": {
			"local", "SinkBinding/counter-source",
			`{op: remove, path: /metadata/labels/metric-type}`, "no label metric-type",
		},
		"label of another bucket size": {
			"local", "PingSource/metric-counter-small-hourly",
			`{op: replace, path: /metadata/labels/bucket, value: daily}`, `label bucket="daily"`,
		},
	},
	"served": {
		"stream function in two pods": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale, value: "2"}`, "max-scale 2",
		},
		"stream function in any number of pods": {
			"local", "Service/counter",
			`{op: remove, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale}`, "Service/counter: max-scale ",
		},
		"stream function with a queue": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/containerConcurrency, value: 1}`, "containerConcurrency 1",
		},
		"run function with runs side by side": {
			"local", "Service/counter-small",
			`{op: remove, path: /spec/template/spec/containerConcurrency}`, "containerConcurrency -1",
		},
		"run function that is cut off": {
			"local", "Service/counter-small",
			`{op: replace, path: /spec/template/spec/timeoutSeconds, value: 300}`, "timeoutSeconds 300",
		},
		"function that the world can call": {
			"local", "Service/counter-small",
			`{op: remove, path: /metadata/labels/networking.knative.dev~1visibility}`, "from outside the cluster",
		},
		"function that nothing calls": {
			"local", "Trigger/scheduler",
			`{op: replace, path: /spec/subscriber/ref/name, value: counter-large}`, "Service/scheduler: it is neither",
		},
		"two sweeps at once": {
			"local", "Service/scheduler",
			`{op: replace, path: /spec/template/spec/containerConcurrency, value: 0}`, "Service/scheduler: max-scale 1, containerConcurrency 0",
		},
		"notices that wait for each other": {
			"local", "Service/notify",
			`{op: replace, path: /spec/template/spec/containerConcurrency, value: 1}`, "Service/notify: max-scale 1, containerConcurrency 1",
		},
		"many pods of large work": {
			"local", "Service/counter-large",
			`{op: replace, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale, value: "10"}`, "max-scale 10",
		},
		"function that both call": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/subscriber/ref/name, value: counter}`, "or both",
		},
		"broker that does not wait": {
			"local", "Trigger/counter-small",
			`{op: replace, path: /spec/delivery/timeout, value: PT30S}`, "want delivery.timeout PT330S",
		},
	},
	"told": {
		"notify that dead-letters to itself": {
			"local", "Trigger/notify-run-failed",
			`{op: add, path: /spec/delivery/deadLetterSink, value: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: notify}}}`,
			"Trigger/notify-run-failed: what notify does not take",
		},
		"notify's tick that dead-letters to itself": {
			"production", "Trigger/notify",
			`{op: add, path: /spec/delivery/deadLetterSink, value: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: notify}}}`,
			"Trigger/notify: what notify does not take",
		},
		"broker that dead-letters for all": {
			"local", "Broker/metrics",
			`{op: add, path: /spec/delivery/deadLetterSink, value: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: notify}}}`,
			"Triggers would inherit",
		},
		"dead letters that are lost": {
			"local", "Trigger/counter-small", `{op: remove, path: /spec/delivery/deadLetterSink}`, "Trigger/counter-small: nobody is told",
		},
		"dead letters among events": {
			"local", "Trigger/counter-small", `{op: remove, path: /spec/delivery/deadLetterSink/uri}`, "want delivery.deadLetterSink.uri /dead-letters",
		},
		"dead letters to another": {
			"local", "Trigger/scheduler",
			`{op: replace, path: /spec/delivery/deadLetterSink/ref/name, value: archive}`, "Trigger/scheduler: nobody is told",
		},
		"type that is not told": {
			"local", "Trigger/notify-run-late",
			`{op: replace, path: /spec/filter/attributes/type, value: dev.chainmetrics.bucket.revised.v1}`, "0 Triggers give it dev.chainmetrics.run.late.v1",
		},
		"type that is told twice": {
			"local", "Trigger/notify-run-late",
			`{op: replace, path: /spec/filter/attributes/type, value: dev.chainmetrics.run.failed.v1}`, "2 Triggers give it dev.chainmetrics.run.failed.v1",
		},
		"few retries": {"local", "Trigger/notify-run-late", `{op: replace, path: /spec/delivery/retry, value: 1}`, "at least 5 retries"},
		"no teller":   {"local", "Service/notify", `{op: replace, path: /metadata/name, value: notifier}`, "0 of them, want 1"},
	},
	"documented": {
		"variable that nobody reads": {
			"local", "Job/sample",
			`{op: replace, path: /spec/template/spec/containers/0/env/0/name, value: CHAINS}`, "variable CHAINS",
		},
		"secret that nobody reads": {
			"local", "Secret/postgres",
			`{op: move, from: /stringData/POSTGRES_USER, path: /stringData/POSTGRES_USERNAME}`, "variable POSTGRES_USERNAME",
		},
		"encoded secret that nobody reads": {
			"local", "Secret/redis",
			`{op: add, path: /data, value: {REDIS: cmVkaXM=}}`, "variable REDIS is",
		},
	},
	"provided": {
		"source that has the database": {
			"local", "Deployment/counter-source",
			`{op: add, path: /spec/template/spec/containers/0/envFrom/-, value: {secretRef: {name: postgres}}}`, `needs ["redis"]`,
		},
		"function that has no database": {
			"local", "Service/counter-small",
			`{op: remove, path: /spec/template/spec/containers/0/envFrom}`, `needs ["metrics-connections" "postgres"]`,
		},
		"stream that connects elsewhere": {
			"local", "Service/counter",
			`{op: add, path: /spec/template/spec/containers/0/envFrom/-, value: {secretRef: {name: metrics-connections, optional: true}}}`,
			`needs ["postgres"]`,
		},
		"runs that need other databases": {
			"local", "Service/gauge-large",
			`{op: remove, path: /spec/template/spec/containers/0/envFrom/1/secretRef/optional}`,
			"the Secret metrics-connections is optional: false",
		},
		"notify that needs channels": {
			"local", "Service/notify",
			`{op: remove, path: /spec/template/spec/containers/0/envFrom/1/secretRef/optional}`, "the Secret notify is optional: false",
		},
		"database that is left out": {
			"local", "Service/scheduler",
			`{op: add, path: /spec/template/spec/containers/0/envFrom/0/secretRef/optional, value: true}`, "the Secret postgres is optional: true",
		},
		"program that is new": {
			"local", "Job/migrate",
			`{op: replace, path: /spec/template/spec/containers/0/image, value: ko://github.com/chainmetrics/chainmetrics/functions/summary}`, "no entry in needs",
		},
	},
	"local": {
		"large request": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 500m}`, "it requests 500m",
		},
		"request that is too small": {
			"local", "Service/counter",
			`{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 1m}`, "it requests 1m",
		},
		"function that never sleeps": {
			"local", "Service/counter",
			`{op: add, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1min-scale, value: "1"}`, "it never sleeps",
		},
		"volume that is left behind": {
			"local", "StatefulSet/redis",
			`{op: add, path: /spec/volumeClaimTemplates, value: [{metadata: {name: aof}}]}`, "it claims a volume",
		},
		"many servers": {"local", "StatefulSet/redis", `{op: replace, path: /spec/replicas, value: 3}`, "want 1 replica"},
	},
	"production": {
		"stream function that sleeps": {
			"production", "Service/counter",
			`{op: remove, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1min-scale}`, "want min-scale 1",
		},
		"scheduler that sleeps": {
			"production", "Service/scheduler",
			`{op: remove, path: /spec/template/metadata/annotations/autoscaling.knative.dev~1min-scale}`, "tells Prometheus",
		},
		"one source": {"production", "Deployment/counter-source", `{op: replace, path: /spec/replicas, value: 1}`, "want 2 replicas"},
		"source without authorities": {
			"production", "Deployment/counter-source",
			`{op: remove, path: /spec/template/spec/containers/0/volumeMounts/0}`, "cannot be given the certificates",
		},
		"function that needs a secret more": {
			"production", "Service/counter",
			`{op: replace, path: /spec/template/spec/volumes/0/secret/optional, value: false}`, "cannot be given the certificates",
		},
		"sources on one node": {
			"production", "Deployment/counter-source",
			`{op: remove, path: /spec/template/spec/topologySpreadConstraints}`, "may share a node",
		},
		"budget of others": {
			"production", "PodDisruptionBudget/counter-source",
			`{op: replace, path: /spec/selector, value: {matchLabels: {app: source}}}`, "no PodDisruptionBudget",
		},
		"open network": {
			"production", "NetworkPolicy/deny-ingress",
			`{op: add, path: /spec/ingress, value: [{}]}`, "none refuses",
		},
		"activator that is kept out": {
			"production", "NetworkPolicy/knative-to-functions",
			`{op: remove, path: /spec/ingress/0/from/0}`, "Service/counter: no NetworkPolicy admits Knative Serving",
		},
		"ingress that is kept out": {
			"production", "NetworkPolicy/knative-to-functions",
			`{op: remove, path: /spec/ingress/0/from/1}`, "Service/counter-small: no NetworkPolicy admits the ingress",
		},
		"functions that are kept apart": {
			"production", "NetworkPolicy/knative-to-functions",
			`{op: replace, path: /spec/podSelector, value: {matchLabels: {serving.knative.dev/service: counter}}}`,
			"Service/counter-small: no NetworkPolicy admits Knative Serving",
		},
		"ports that are Knative's": {
			"production", "NetworkPolicy/knative-to-functions",
			`{op: add, path: /spec/ingress/0/ports, value: [{port: 8080}]}`, "Service/counter: no NetworkPolicy admits the ingress",
		},
		"password": {
			"production", "ServiceAccount/chainmetrics",
			"---\napiVersion: v1\nkind: Secret\nmetadata: {name: postgres}\nstringData: {POSTGRES_PASSWORD: x}\n", "it holds data",
		},
		"server whose data ends with its pod": {
			"production", "Job/migrate",
			`[{op: replace, path: /spec/template/spec/containers/0/image, value: "postgres:17"},
			  {op: add, path: /spec/template/spec/containers/0/volumeMounts, value: [{name: data, mountPath: /data}]},
			  {op: add, path: /spec/template/spec/volumes, value: [{name: data, emptyDir: {}}]}]`, "ends with the pod",
		},
	},
	"durable": {
		"redis that forgets":     {"local", "", "appendonly yes→appendonly no", `no line "appendonly yes"`},
		"redis that evicts":      {redisBase, "", "noeviction→allkeys-lru", "maxmemory-policy noeviction"},
		"redis without settings": {redisBase, "", "redis.conf: |→valkey.conf: |", "0 ConfigMaps have it"},
	},
	"replicated": {
		"two servers": {redisBase, "StatefulSet/redis", `{op: replace, path: /spec/replicas, value: 2}`, "want 3 replicas"},
		"data that ends with the pod": {
			redisBase, "StatefulSet/redis",
			`[{op: remove, path: /spec/volumeClaimTemplates},
			  {op: add, path: /spec/template/spec/volumes/-, value: {name: data, emptyDir: {}}}]`, "what it writes to /data ends",
		},
		"small volume": {
			redisBase, "StatefulSet/redis",
			`{op: replace, path: /spec/volumeClaimTemplates/0/spec/resources/requests/storage, value: 1Gi}`, "want a claim of 10Gi",
		},
		"no sentinel":              {redisBase, "StatefulSet/redis", `{op: remove, path: /spec/template/spec/containers/1}`, "want a Sentinel"},
		"another kind of workload": {redisBase, "StatefulSet/redis", `{op: replace, path: /kind, value: ConfigMap}`, "0 of them, want 1"},
		"password": {
			redisBase, "Service/redis",
			"---\napiVersion: v1\nkind: Secret\nmetadata: {name: redis}\nstringData: {REDIS_PASSWORD: x}\n", "it holds data",
		},
	},
}

// TestEveryMistakeIsCaught proves the checks: each finds each of its mistakes, and does not find it where it is not made.
func TestEveryMistakeIsCaught(t *testing.T) {
	t.Parallel()
	all := checks(t)
	all[decoded] = check{}
	for name := range all {
		if len(mutants[name]) == 0 {
			t.Errorf("no mutant proves the check %s", name)
		}
	}
	manifests := map[string][]byte{}
	for _, name := range renderings() {
		manifests[name] = rendered(t, name)
	}
	for name, of := range mutants {
		checked, ok := all[name]
		if !ok {
			t.Errorf("mutants of %s, which is no check", name)
			continue
		}
		run := func(manifests []byte) string {
			objects, errs := decode(manifests)
			if name != decoded {
				errs = checked.run(objects)
			}
			return fmt.Sprint(errs)
		}
		clean := map[string]string{}
		for mistake, m := range of {
			if _, ok := clean[m.in]; !ok {
				clean[m.in] = run(manifests[m.in])
			}
			t.Run(name+"/"+mistake, func(t *testing.T) {
				t.Parallel()
				mutated, err := m.made(manifests[m.in])
				if err != nil {
					t.Fatal(err)
				}
				if found := run(mutated); !strings.Contains(found, m.says) {
					t.Errorf("it is not caught: got %s, want %q", found, m.says)
				}
				if found := clean[m.in]; strings.Contains(found, m.says) {
					t.Errorf("it is found where it is not made: %s", found)
				}
			})
		}
	}
}

// made gives the manifests with the mistake.
func (m mutant) made(manifests []byte) ([]byte, error) {
	if before, after, ok := strings.Cut(m.edit, "→"); ok {
		if !bytes.Contains(manifests, []byte(before)) {
			return nil, fmt.Errorf("replace %q: it is not there", before)
		}
		return bytes.ReplaceAll(manifests, []byte(before), []byte(after)), nil
	}
	var mutated bytes.Buffer
	found := false
	reader := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		objects, errs := decode(document)
		if len(errs) > 0 {
			return nil, errors.Join(errs...)
		}
		if m.means(objects[0]) {
			found = true
			if document, err = m.edited(document); err != nil {
				return nil, err
			}
		}
		mutated.WriteString("---\n")
		mutated.Write(document)
	}
	if !found {
		return nil, fmt.Errorf("no %s in %s", m.of, m.in)
	}
	return mutated.Bytes(), nil
}

// means tells whether the mistake is to be made in this object. Names of generated ConfigMaps end with a hash.
func (m mutant) means(o object) bool {
	return title(o) == m.of || strings.HasPrefix(m.of, "ConfigMap/") && strings.HasPrefix(title(o), m.of+"-")
}

// edited gives a document with the mistake; it fails where the edit changes nothing.
func (m mutant) edited(document []byte) ([]byte, error) {
	operations := m.edit
	switch operations[0] {
	case '{':
		operations = "[" + operations + "]"
	case '[':
	default:
		return append(document, m.edit...), nil
	}
	operationsJSON, err := yaml.YAMLToJSON([]byte(operations))
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(operationsJSON)
	if err != nil {
		return nil, err
	}
	before, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, fmt.Errorf("patch %s: %w", m.edit, err)
	}
	if jsonpatch.Equal(before, after) {
		return nil, fmt.Errorf("patch %s: it changes nothing", m.edit)
	}
	return yaml.JSONToYAML(after)
}
