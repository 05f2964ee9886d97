package redisstream

import "strings"

// redact gives err, or an error without the secrets where its text holds one: old servers and proxies repeat the
// arguments of a command that they do not know.
func redact(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	if text == err.Error() {
		return err
	}
	return redactedError{text: text, err: err}
}

// redactedError is an error whose text held a secret.
type redactedError struct {
	text string
	err  error
}

func (e redactedError) Error() string { return e.text }

func (e redactedError) Unwrap() error { return e.err }
