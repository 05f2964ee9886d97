package main

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

// ownVariables are those that up or the manifests set for children, and that must not reach them from outside.
var ownVariables = []string{
	"LISTEN_HOST", "PORT", "METRICS_PORT", "FUNCTION", "CHAIN", "STREAM", "STREAMS", "FOLLOW", "BLOCK_FILES", "LOG_FORMAT",
	"K_SERVICE", "K_REVISION", "K_CONFIGURATION", "K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS",
}

// serverVariables are the variables of servers by the Secrets that hold them in a cluster. Here they are this process's
// own, in which useURL or usePrivate has put the URLs that are to be used.
var serverVariables = map[string]variables{wiring.Postgres: postgresVariables, wiring.Redis: redisVariables}

// environ gives a child's environment: this process's, with servers only as its manifest names their Secrets; what the
// manifest sets; what up decides.
func environ(p wiring.Process, variables ...string) []string {
	withheld := slices.Clone(ownVariables)
	for secret, of := range serverVariables {
		if !slices.Contains(p.Secrets, secret) {
			withheld = append(withheld, of.all()...)
		}
	}
	inherited := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(withheld, name)
	})
	return slices.Concat(inherited, p.Environ, []string{"LISTEN_HOST=" + loopback, "LOG_FORMAT=json"}, variables)
}

// functionEnviron is what Knative Serving gives a function.
func functionEnviron(f wiring.Function, port int) []string {
	return environ(f.Process,
		"PORT="+strconv.Itoa(port),
		"K_SERVICE="+f.Name,
		"K_CONFIGURATION="+f.Name,
		"K_REVISION="+f.Name+"-00001",
	)
}

// sourceEnviron is what Knative's SinkBinding gives a source.
func sourceEnviron(source wiring.Source, sink string, port int) []string {
	overrides := ""
	if len(source.Extensions) > 0 {
		extensions, _ := json.Marshal(source.Extensions) // strings always have a form
		overrides = `{"extensions":` + string(extensions) + `}`
	}
	return environ(source.Process,
		"K_SINK="+sink,
		"K_CE_OVERRIDES="+overrides,
		"METRICS_PORT="+strconv.Itoa(port),
	)
}

// feedEnviron gives a feed its block files.
func feedEnviron(feed wiring.Process, files string, follow bool, port int) []string {
	return environ(feed,
		"BLOCK_FILES="+files,
		"FOLLOW="+strconv.FormatBool(follow),
		"METRICS_PORT="+strconv.Itoa(port),
	)
}
