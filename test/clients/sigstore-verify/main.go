// Judges Sigstore bundles with sigstore-go, many in one process: one JSON question a line on stdin, one JSON answer a line on stdout.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

type question struct {
	// Text of the bundle.
	Bundle string `json:"bundle"`
	// Path of the trusted root.
	TrustedRoot string `json:"trustedRoot"`
	// SHA-256 of the artifact, hex.
	Digest string `json:"digest"`
	// Path of the artifact; empty: only its digest is known.
	Artifact string `json:"artifact"`
	Identity string `json:"identity"`
	Issuer   string `json:"issuer"`
}

type answer struct {
	Verified bool   `json:"verified"`
	Error    string `json:"error"`
}

var roots = map[string]*root.TrustedRoot{}

func judge(q question) (err error) {
	defer func() {
		if crash := recover(); crash != nil {
			err = fmt.Errorf("crash: %v", crash)
		}
	}()
	trusted, known := roots[q.TrustedRoot]
	if !known {
		if trusted, err = root.NewTrustedRootFromPath(q.TrustedRoot); err != nil {
			return err
		}
		roots[q.TrustedRoot] = trusted
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON([]byte(q.Bundle)); err != nil {
		return err
	}
	verifier, err := verify.NewVerifier(trusted,
		verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	if err != nil {
		return err
	}
	identity, err := verify.NewShortCertificateIdentity(q.Issuer, "", q.Identity, "")
	if err != nil {
		return err
	}
	artifact, err := artifactOf(q)
	if err != nil {
		return err
	}
	_, err = verifier.Verify(&b, verify.NewPolicy(artifact, verify.WithCertificateIdentity(identity)))
	return err
}

func artifactOf(q question) (verify.ArtifactPolicyOption, error) {
	if q.Artifact != "" {
		content, err := os.ReadFile(q.Artifact)
		return verify.WithArtifact(bytes.NewReader(content)), err
	}
	digest, err := hex.DecodeString(q.Digest)
	return verify.WithArtifactDigest("sha256", digest), err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 256<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		a := answer{Verified: true}
		if err := judge(q); err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			os.Exit(2)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
