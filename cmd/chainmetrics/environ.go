package main

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// ownVariables are those that up or the manifests set for children, and that must not reach them from outside.
var ownVariables = []string{
	"LISTEN_HOST", "PORT", "METRICS_PORT", "FUNCTION", "CHAIN", "STREAM", "STREAMS", "FOLLOW", "BLOCK_FILES", "LOG_FORMAT",
	"K_SERVICE", "K_REVISION", "K_CONFIGURATION", "K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS",
}

// notifyVariables are those of the channels by which people are told.
var notifyVariables = []string{
	"SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_PASSWORD", "SMTP_FROM", "SMTP_TO", "SMTP_TLS", "SMTP_CA_FILE",
	"WEBHOOK_URL", "WEBHOOK_SECRET", "WEBHOOK_TEMPLATE_FILE", "NOTIFY_GROUP_INTERVAL",
}

// secretVariables are variables by the Secrets that hold them in a cluster. Here they are this process's own: of servers those in
// which useURL or usePrivate has put the URLs that are to be used.
var secretVariables = map[string][]string{
	wiring.Postgres: postgresVariables.all(), wiring.Redis: redisVariables.all(), wiring.Notify: notifyVariables,
}

// connectionPrefix begins the variables of other databases, which [wiring.Connections] holds in a cluster.
var connectionPrefix = postgres.ConnectionVariable("")

// environ gives a child's environment: this process's, but of what Secrets hold only what its manifest names; what the
// manifest sets; what up decides.
func environ(p wiring.Process, variables ...string) []string {
	withheld := slices.Clone(ownVariables)
	for secret, of := range secretVariables {
		if !slices.Contains(p.Secrets, secret) {
			withheld = append(withheld, of...)
		}
	}
	connects := slices.Contains(p.Secrets, wiring.Connections)
	inherited := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(withheld, name) || !connects && strings.HasPrefix(name, connectionPrefix)
	})
	return slices.Concat(inherited, p.Environ, []string{"LISTEN_HOST=" + loopback, "LOG_FORMAT=json"}, variables)
}

// functionEnviron is what Knative Serving gives a function, with what a SinkBinding gives one that sends to a Broker.
func functionEnviron(f wiring.Function, broker string, port int) []string {
	variables := []string{
		"PORT=" + strconv.Itoa(port),
		"K_SERVICE=" + f.Name,
		"K_CONFIGURATION=" + f.Name,
		"K_REVISION=" + f.Name + "-00001",
	}
	if f.Broker != "" {
		variables = append(variables, bindingEnviron(broker, f.Extensions)...)
	}
	return environ(f.Process, variables...)
}

// sourceEnviron is what Knative's SinkBinding gives a source.
func sourceEnviron(source wiring.Source, sink string, port int) []string {
	return environ(source.Process, append(bindingEnviron(sink, source.Extensions), "METRICS_PORT="+strconv.Itoa(port))...)
}

func bindingEnviron(sink string, extensions map[string]string) []string {
	overrides := ""
	if len(extensions) > 0 {
		text, _ := json.Marshal(extensions) // strings always have a form
		overrides = `{"extensions":` + string(text) + `}`
	}
	return []string{"K_SINK=" + sink, "K_CE_OVERRIDES=" + overrides}
}

// feedEnviron gives a feed its block files.
func feedEnviron(feed wiring.Process, files string, follow bool, port int) []string {
	return environ(feed,
		"BLOCK_FILES="+files,
		"FOLLOW="+strconv.FormatBool(follow),
		"METRICS_PORT="+strconv.Itoa(port),
	)
}
