package main

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// plainWord is text that a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuote writes a word so that a POSIX shell reads it as it is.
func shellQuote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	if strings.Contains(word, "'") && !strings.ContainsAny(word, "\"$`\\!") {
		return `"` + word + `"`
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// command gives a command line of this program, as it was called itself, that uses the same servers. A URL with a password
// is named by the variable that should hold it.
func (a *app) command(args ...string) string {
	words := append([]string{os.Args[0]}, args...)
	if a.dataDir != defaultDataDir {
		words = append(words, "--data-dir", a.dataDir)
	}
	for i, word := range words {
		words[i] = shellQuote(word)
	}
	for _, server := range []struct{ flag, url, variable string }{
		{"--postgres-url", a.postgresURL, postgresVariables.url},
		{"--redis-url", a.redisURL, redisVariables.url},
	} {
		switch {
		case server.url == "":
		case hasPassword(server.url):
			words = append(words, server.flag, `"$`+server.variable+`"`)
		default:
			words = append(words, server.flag, shellQuote(server.url))
		}
	}
	return strings.Join(words, " ")
}

// secrets are the parameters of a URL that nobody may see.
var secrets = []string{"password", "sslpassword"}

// hasPassword tells whether a URL holds a password, or may hold one since it cannot be read.
func hasPassword(text string) bool {
	location, err := url.Parse(text)
	if err != nil || location.Scheme == "" {
		return true
	}
	if _, has := location.User.Password(); has {
		return true
	}
	values := location.Query()
	return slices.ContainsFunc(secrets, values.Has)
}

// withoutPassword takes the password from a URL.
func withoutPassword(text string) string {
	location, err := url.Parse(text)
	if err != nil {
		return "postgres://…"
	}
	if location.User != nil {
		location.User = url.User(location.User.Username())
	}
	values := location.Query()
	for _, secret := range secrets {
		values.Del(secret)
	}
	location.RawQuery = values.Encode()
	return location.String()
}
