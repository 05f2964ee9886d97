// Package wiring reads from manifests which programs a system runs, and who sends CloudEvents to whom.
//
// It knows as much of the objects as one machine can carry out. Whatever else an object asks for is an error: what is
// not carried out there must not be believed in here.
package wiring

import (
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/robfig/cron/v3"
)

// Names of the Secrets that hold the variables of a server, of what tells people, or of other databases.
const (
	Postgres    = "postgres"
	Redis       = "redis"
	Notify      = "notify"
	Connections = "metrics-connections"
)

// secrets are the Secrets whose variables there are here.
var secrets = []string{Postgres, Redis, Notify, Connections}

// Wiring is what runs, in the order of the manifests.
type Wiring struct {
	Functions []Function
	Sources   []Source
	Schedules []Schedule
	Brokers   []string
	Triggers  []Trigger
	Feed      Process // the container feed of the Job sample
}

// Process is a container that runs a program of this project.
type Process struct {
	Name    string   // of its object; names of processes are unique
	Program string   // the last element of its import path
	Environ []string // name=value
	Secrets []string // whose variables it has as well: some of the above
}

// Variable gives a variable that the manifest sets, empty where it does not.
func (p Process) Variable(name string) string {
	for _, variable := range p.Environ {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// Function is a Knative Service.
type Function struct {
	Process
	Concurrency int               // requests at a time; 0: any number
	Timeout     time.Duration     // of a request
	Broker      string            // that a SinkBinding has it send to; empty: it sends nothing
	Extensions  map[string]string // that it sets on every CloudEvent
}

// Source is a Deployment that a SinkBinding has as its subject.
type Source struct {
	Process
	Sink       string            // the function that it sends to
	Extensions map[string]string // that it sets on every CloudEvent
}

// Schedule is a PingSource.
type Schedule struct {
	Name   string
	When   cron.Schedule
	Event  event.Event // without id and time
	Broker string
}

// Trigger hands events of a Broker to a function.
type Trigger struct {
	Name       string
	Broker     string
	Attributes map[string]string
	Function   string
	Delivery   Delivery
}

// Takes tells whether an event passes the filter: every attribute has the value that is asked for or, where that is
// empty, any value.
func (t Trigger) Takes(e event.Event) bool {
	for name, want := range t.Attributes {
		if got := attribute(e, name); got == "" || want != "" && got != want {
			return false
		}
	}
	return true
}

func attribute(e event.Event, name string) string {
	switch name {
	case "specversion":
		return e.SpecVersion()
	case "type":
		return e.Type()
	case "source":
		return e.Source()
	case "subject":
		return e.Subject()
	case "id":
		return e.ID()
	case "dataschema":
		return e.DataSchema()
	case "datacontenttype":
		return e.DataContentType()
	default:
		value, _ := e.Extensions()[name].(string) // all extensions of a PingSource are strings
		return value
	}
}

// Delivery is how often and how long delivering an event is tried, and what becomes of it then.
type Delivery struct {
	Retries    int           // after the first attempt
	Delay      time.Duration // of the first retry
	Linear     bool          // pauses grow by Delay; otherwise each is twice the one before
	Timeout    time.Duration // of an attempt; 0: the function's
	DeadLetter string        // the function that is given what cannot be delivered, in the same way; empty: it is lost
	Path       string        // of that function's URL
}

// Pause gives the time before a retry, which are counted from 0, as Knative does.
func (d Delivery) Pause(retry int) time.Duration {
	if d.Linear {
		return d.Delay * time.Duration(retry)
	}
	return d.Delay << min(retry, 20)
}
