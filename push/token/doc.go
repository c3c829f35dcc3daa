// Package token says who may do what on a push server: it verifies JSON Web Tokens
// (RFC 7519), and compares API keys.
//
// A backend, or an identity provider, signs a token for a user and says in it what
// the user may do:
//
//	{
//	  "sub": "42",
//	  "exp": 1924992000,
//	  "duplex": {
//	    "subscribe": ["news", "room:*", "user:{user}"],
//	    "publish":   ["room:*"],
//	    "presence":  ["room:*"]
//	  }
//	}
//
//	sub     who it is, 1 to 255 bytes of UTF-8 without control characters. A token
//	        without it is for somebody without a name.
//	exp     when it ends, in seconds since 1970. A token must have it, unless
//	        Verifier.Eternal is set.
//	nbf     before when it does not count, if it has it
//	aud     for which server it is; see Verifier.Audience
//	iss     who has signed it; see Verifier.Issuer
//	duplex  the channels, as patterns, that the user may subscribe to (which is also
//	        the right to read their history), publish to, and ask who else is on.
//	        Without a list, or without the claim, there are none of that kind.
//
// Other claims are ignored, as are other members of the claim duplex.
//
// # Patterns
//
// A pattern is the name of a channel, in which
//
//   - stands for any run of characters, also none, also ones with : and /
//     {user}  stands for sub, taken literally; a token without sub cannot have it
//     \       takes the character after it literally: \* \{ \\
//
// and all else for itself; letter case counts. A { that does not begin {user} is
// refused, not guessed at. Whoever puts names that users chose into patterns must
// escape these three characters in them: else a user who calls a room * gets all
// rooms.
//
// # Algorithms
//
// A key has one algorithm, whatever a token's header says: HS256 for a secret, RS256
// for an RSA key of 2,048 to 8,192 bits, ES256 for one on P-256, EdDSA for Ed25519
// (RFC 7518, 3.1; RFC 8037, 3.1). So nobody can have a public key taken for a
// secret, and "none" is no algorithm.
package token
