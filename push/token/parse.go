package token

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// ParseKeys reads keys as files have them:
//
//   - public keys in PEM, "PUBLIC KEY", "RSA PUBLIC KEY" or "CERTIFICATE", of which
//     only the key counts;
//   - a JWK or a set of them (RFC 7517), if the text begins with {;
//   - otherwise a secret of at least 32 bytes: all bytes count, except one line
//     break at the end, which editors and commands add.
//
// One key that cannot be used is an error. What is a public key in a form other than
// these is refused, and not taken for a secret that everybody knows.
func ParseKeys(text []byte) (Keys, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	var keys Keys
	var err error
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		keys, err = parsePEM(text)
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")):
		keys, err = parseJWK(text)
	default:
		keys, err = parseSecret(text)
	}
	switch {
	case err != nil:
		return Keys{}, err
	case len(keys.list) > maxKeys:
		return Keys{}, fmt.Errorf("there are %d keys, more than %d", len(keys.list), maxKeys)
	}
	return keys, nil
}

func parsePEM(text []byte) (Keys, error) {
	var keys Keys
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		material, err := parseBlock(block)
		if err != nil {
			return Keys{}, fmt.Errorf("key %d (%s): %w", len(keys.list)+1, block.Type, err)
		}
		k, err := newKey("", material)
		if err != nil {
			return Keys{}, fmt.Errorf("key %d: %w", len(keys.list)+1, err)
		}
		keys.list = append(keys.list, k)
	}
	if len(keys.list) == 0 || bytes.Contains(text, []byte("-----BEGIN")) {
		return Keys{}, errors.New("the PEM is broken")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return nil, errPrivate
	}
	return nil, errors.New("it is no public key")
}

// parseJWK reads a JWK or a set from a file, all of whose keys must be usable.
func parseJWK(text []byte) (Keys, error) {
	members, set, err := jwkMembers(text)
	if err != nil {
		return Keys{}, err
	}
	var keys Keys
	for i, member := range members {
		k, err := parseMember(member)
		if err != nil && set {
			return Keys{}, fmt.Errorf("key %d of the JWK Set: %w", i+1, err)
		} else if err != nil {
			return Keys{}, err
		}
		keys.list = append(keys.list, k)
	}
	if len(keys.list) == 0 {
		return Keys{}, errors.New("the JWK Set is empty")
	}
	return keys, nil
}

// jwkMembers takes a set apart. A single JWK is a set of one.
func jwkMembers(text []byte) (members []json.RawMessage, set bool, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return nil, false, errors.New("it is not a JSON object, as a JWK or a JWK Set is one (RFC 7517)")
	}
	list, ok := object["keys"]
	if !ok {
		return []json.RawMessage{text}, false, nil
	}
	if json.Unmarshal(list, &members) != nil {
		return nil, true, errors.New("keys is not an array, as in a JWK Set (RFC 7517, 5)")
	}
	return members, true, nil
}

// parseMember reads a JWK. What it says about its use must allow what is done here.
// RFC 7517, 4.2 to 4.4.
func parseMember(text []byte) (key, error) {
	var use struct {
		Operations []string `json:"key_ops"`
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(text, &jwk); errors.Is(err, jose.ErrUnsupportedKeyType) {
		return key{}, errors.New("keys are of kty oct, RSA, EC or OKP with Ed25519")
	} else if err != nil || json.Unmarshal(text, &use) != nil {
		return key{}, errors.New("it is not a JWK (RFC 7517)") // err may quote the key
	}
	k, err := newKey(jwk.KeyID, jwk.Key)
	switch {
	case err != nil:
		return key{}, err
	case jwk.Use != "" && jwk.Use != "sig":
		return key{}, errors.New("its use is not sig")
	case use.Operations != nil && !slices.Contains(use.Operations, "verify"):
		return key{}, errors.New("its key_ops do not have verify")
	case jwk.Algorithm != "" && jwk.Algorithm != string(k.algorithm):
		return key{}, fmt.Errorf("its alg is not %s, the one for keys of its kind", k.algorithm)
	}
	return k, nil
}

func parseSecret(text []byte) (Keys, error) {
	secret := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(bytes.TrimSpace(secret)) == 0 {
		return Keys{}, errors.New("it is empty")
	}
	if isPublic(secret) {
		return Keys{}, errors.New("it is a public key, but not in PEM: as a secret it would let everybody in who knows it")
	}
	k, err := newKey("", bytes.Clone(secret))
	if err != nil {
		return Keys{}, err
	}
	return Keys{[]key{k}}, nil
}

// isPublic reports whether bytes are a public key in DER, in base64 of it (PEM
// without its first and last line), or as OpenSSH has it.
func isPublic(text []byte) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN"} {
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte(prefix)) {
			return true
		}
	}
	der := text
	if decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text))); err == nil {
		der = decoded
	}
	_, pkix := x509.ParsePKIXPublicKey(der)
	_, pkcs1 := x509.ParsePKCS1PublicKey(der)
	_, certificate := x509.ParseCertificate(der)
	return pkix == nil || pkcs1 == nil || certificate == nil
}
