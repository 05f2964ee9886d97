// Package environment reads the configuration of a process.
package environment

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/kelseyhightower/envconfig"
)

// Validator is a configuration that knows what is wrong with itself.
type Validator interface {
	Validate() error
}

// Read fills config, a pointer to a struct of configurations, from the environment variables that their envconfig tags
// name, then validates each. Its error names every wrong variable at once, and no value.
func Read(config any) error {
	var wrong []error
	structure := reflect.ValueOf(config).Elem()
	for _, field := range structure.Fields() {
		part := field.Addr().Interface()
		wrong = append(wrong, parse(part)...)
		if v, ok := part.(Validator); ok {
			wrong = append(wrong, v.Validate())
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("read configuration:\n%w", err)
	}
	return nil
}

// parse takes a variable that cannot be read out of the environment and goes on, since envconfig stops at the first. One
// that is set to nothing is such a variable where a number is wanted.
func parse(part any) (wrong []error) {
	for {
		err := envconfig.Process("", part)
		if err == nil {
			return wrong
		}
		var unread *envconfig.ParseError
		if !errors.As(err, &unread) {
			return append(wrong, err)
		}
		value, set := os.LookupEnv(unread.KeyName)
		if !set || os.Unsetenv(unread.KeyName) != nil {
			return append(wrong, err)
		}
		if value == "" {
			wrong = append(wrong, fmt.Errorf("%s is set to nothing: want a value, or unset it", unread.KeyName))
			continue
		}
		wrong = append(wrong, fmt.Errorf("%s is no %s", unread.KeyName, unread.TypeName))
	}
}
