package environment_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/environment"
)

type server struct {
	Port    int           `envconfig:"TEST_PORT" default:"8080"`
	Timeout time.Duration `envconfig:"TEST_TIMEOUT" default:"5s"`
}

type database struct {
	Host     string `envconfig:"TEST_HOST"`
	Password string `envconfig:"TEST_PASSWORD"`
}

func (d *database) Validate() error {
	if d.Host == "" {
		return errors.New("TEST_HOST is not set")
	}
	return nil
}

type program struct {
	Server   server
	Database database
}

func TestReadGivesDefaultsAndValues(t *testing.T) {
	t.Setenv("TEST_HOST", "db")
	t.Setenv("TEST_TIMEOUT", "7s")
	var got program
	if err := environment.Read(&got); err != nil {
		t.Fatal(err)
	}
	want := program{Server: server{Port: 8080, Timeout: 7 * time.Second}, Database: database{Host: "db"}}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReadNamesEveryWrongVariableAndNoValue(t *testing.T) {
	t.Setenv("TEST_PORT", "s3cret")
	t.Setenv("TEST_TIMEOUT", "s3cret")
	t.Setenv("TEST_PASSWORD", "s3cret")
	err := environment.Read(&program{})
	if err == nil {
		t.Fatal("read succeeded")
	}
	for _, name := range []string{"TEST_PORT", "TEST_TIMEOUT", "TEST_HOST"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%q shows a value", err)
	}
}

func TestReadOfAVariableThatIsSetToNothing(t *testing.T) {
	t.Setenv("TEST_PORT", "")
	t.Setenv("TEST_TIMEOUT", "soon")
	t.Setenv("TEST_HOST", "db")
	err := environment.Read(&program{})
	want := "read configuration:\nTEST_PORT is set to nothing: want a value, or unset it\nTEST_TIMEOUT is no time.Duration"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
