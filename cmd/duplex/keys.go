package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/token"
)

// A keyRing is the settings that say who may come in. Keys are in files or in the
// environment: a command line can be read by everybody on the machine.
type keyRing struct {
	apiKeyFile   string
	tokenKeyFile string
	jwksURL      string
	audience     []string
	issuer       string
	claim        string
	leeway       time.Duration
	reloads      reloads // of the files that were read
}

// The environment variables, in which flags that are not given are looked for.
const (
	envAPIKey       = "DUPLEX_API_KEY"
	envAPIKeyFile   = "DUPLEX_API_KEY_FILE"
	envTokenKey     = "DUPLEX_TOKEN_KEY"
	envTokenKeyFile = "DUPLEX_TOKEN_KEY_FILE"
	envJWKSURL      = "DUPLEX_JWKS_URL"
	envAudience     = "DUPLEX_AUDIENCE"
	envIssuer       = "DUPLEX_ISSUER"

	// envToken is for clients: what pub and sub present as their bearer token, a
	// token or an API key.
	envToken = "DUPLEX_TOKEN"
)

// flags adds the flags of a server.
func (k *keyRing) flags(cmd *cobra.Command) {
	k.leeway = 30 * time.Second
	f := cmd.Flags()
	f.StringVar(&k.apiKeyFile, "api-key-file", "", "`FILE` of keys that may do everything, one a line")
	k.tokenKeyFlag(cmd)
	f.StringVar(&k.jwksURL, "jwks-url", "", "`URL` of an issuer's JWK Set, to verify tokens with")
	f.StringSliceVar(&k.audience, "audience", nil, "`NAME` of this server in the tokens' aud; may be repeated")
	f.StringVar(&k.issuer, "issuer", "", "`NAME` that the tokens' iss must be")
	f.StringVar(&k.claim, "token-claim", "duplex", "`NAME` of the claim that holds the channel patterns")
	f.DurationVar(&k.leeway, "token-leeway", k.leeway, "`TIME` by which the clocks of issuers may differ")
}

// tokenKeyFlag adds the one flag that the maker of tokens has as well.
func (k *keyRing) tokenKeyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.tokenKeyFile, "token-key-file", "", "`FILE` of keys for tokens: a secret, PEM, JWK or JWK Set")
}

// authorizer returns what lets clients in, nil if no key is set. It reads the keys.
func (k *keyRing) authorizer(cmd *cobra.Command, log *slog.Logger) (push.Authorizer, error) {
	if k.leeway < 0 {
		return nil, wrongUse("--token-leeway must be zero or more, as in 30s")
	}
	if err := k.given(cmd); err != nil {
		return nil, err
	}
	apiKeys, err := k.apiKeys(log)
	if err != nil {
		return nil, err
	}
	verifier, err := k.verifier(cmd, log)
	if err != nil || apiKeys == nil && verifier == nil {
		return nil, err
	}
	return token.Authorizer(verifier, apiKeys), nil
}

// given refuses flags that were given without a value: most often that of a variable
// which was meant to hold one. They must not count as no keys.
func (k *keyRing) given(cmd *cobra.Command) error {
	for _, name := range []string{"api-key-file", "token-key-file", "jwks-url", "audience", "issuer", "token-claim"} {
		f := cmd.Flags().Lookup(name)
		if f != nil && f.Changed && (f.Value.String() == "" || f.Value.String() == "[]") {
			return wrongUse("--%s is empty: give it a value, or leave it away", name)
		}
	}
	return nil
}

// apiKeys reads the API keys, nil if there are none.
func (k *keyRing) apiKeys(log *slog.Logger) (*token.APIKeys, error) {
	path := k.apiKeyFile
	if path == "" {
		name, value, err := oneOf(envAPIKey, envAPIKeyFile)
		if err != nil || name == "" {
			return nil, err
		}
		if name == envAPIKey {
			keys, err := token.ParseAPIKeys([]byte(value))
			return keys, inVariable(name, err)
		}
		path = value
	}
	keys, err := token.OpenAPIKeys(path, log)
	if err != nil {
		return nil, inFile("API keys", path, err)
	}
	k.reloads.add(keys.Reload)
	return keys, nil
}

// verifier returns what verifies tokens, nil if there are no keys for them.
func (k *keyRing) verifier(cmd *cobra.Command, log *slog.Logger) (*token.Verifier, error) {
	source, err := k.source(cmd, log)
	if err != nil {
		return nil, err
	}
	audience, err := flagOr(strings.Join(k.audience, ","), envAudience)
	if err != nil {
		return nil, err
	}
	issuer, err := flagOr(k.issuer, envIssuer)
	if err != nil {
		return nil, err
	}
	if source == nil {
		if audience != "" || issuer != "" {
			return nil, wrongUse("an audience or issuer is set, and no key for tokens: add --token-key-file, --jwks-url or %s", envTokenKey)
		}
		return nil, nil
	}
	v := &token.Verifier{Keys: source, Issuer: issuer, Claim: k.claim, Leeway: k.leeway}
	if audience != "" {
		v.Audience = strings.Split(audience, ",")
	}
	if k.leeway == 0 {
		v.Leeway = -1
	}
	return v, nil
}

// source returns the keys for tokens, nil if there are none. A flag counts more than
// the environment.
func (k *keyRing) source(cmd *cobra.Command, log *slog.Logger) (token.Source, error) {
	name, value := envTokenKeyFile, k.tokenKeyFile
	switch {
	case k.tokenKeyFile != "" && k.jwksURL != "":
		return nil, wrongUse("--token-key-file and --jwks-url are two sources of keys for tokens: give one, and put the keys of both into a file if it must be")
	case k.jwksURL != "":
		name, value = envJWKSURL, k.jwksURL
	case k.tokenKeyFile == "":
		var err error
		if name, value, err = oneOf(envTokenKey, envTokenKeyFile, envJWKSURL); err != nil || name == "" {
			return nil, err
		}
	}
	switch name {
	case envTokenKey:
		keys, err := token.ParseKeys([]byte(value))
		return keys, inVariable(name, err)
	case envTokenKeyFile:
		keys, err := token.OpenKeyFile(value, log)
		if err != nil {
			return nil, inFile("keys for tokens", value, err)
		}
		k.reloads.add(keys.Reload)
		return keys, nil
	}
	set := &token.JWKS{URL: value, Log: log}
	if err := set.Check(); err != nil {
		return nil, wrongUse("--jwks-url %q: %v", value, err)
	}
	// A URL that is wrong should be in the log now, and not when somebody comes.
	go set.Keys(cmd.Context(), "")
	return set, nil
}

// oneOf returns the one of some environment variables that is set, and its value; ""
// if none is.
func oneOf(names ...string) (name, value string, err error) {
	for _, n := range names {
		v, ok := os.LookupEnv(n)
		switch {
		case !ok:
			continue
		case strings.TrimSpace(v) == "": // a secret that was not mounted
			return "", "", wrongUse("the environment variable %s is empty: set it, or unset it", n)
		case name != "":
			return "", "", wrongUse("the environment variables %s and %s are both set: unset one", name, n)
		}
		name, value = n, v
	}
	return name, value, nil
}

// flagOr returns the value of a flag, or that of an environment variable.
func flagOr(value, env string) (string, error) {
	if value != "" {
		return value, nil
	}
	_, value, err := oneOf(env)
	return value, err
}

// inVariable and inFile say where keys are wrong. The errors of package token hold
// nothing of the keys.
func inVariable(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the environment variable %s: %w", name, err)
}

func inFile(what, path string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot read the %s in %s: %w", what, path, pathError.Err)
	}
	return err
}

// secretKeys returns the keys that tokens are made with.
func (k *keyRing) secretKeys() (token.Keys, error) {
	name, value := envTokenKeyFile, k.tokenKeyFile
	if value == "" {
		var err error
		if name, value, err = oneOf(envTokenKey, envTokenKeyFile); err != nil {
			return token.Keys{}, err
		}
	}
	switch name {
	case envTokenKey:
		keys, err := token.ParseKeys([]byte(value))
		return keys, inVariable(name, err)
	case envTokenKeyFile:
		file, err := token.OpenKeyFile(value, nil)
		if err != nil {
			return token.Keys{}, inFile("keys for tokens", value, err)
		}
		return file.Keys(context.Background(), "")
	}
	return token.Keys{}, wrongUse("a secret to sign with is missing: use --token-key-file, or set %s", envTokenKey)
}
