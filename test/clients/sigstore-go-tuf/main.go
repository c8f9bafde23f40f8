// Verifies a Sigstore bundle with sigstore-go, which gets its trust from a TUF repository through go-tuf v2:
//
//	sigstore-go-tuf MIRROR ROOT CACHE KEY BUNDLE
//
// ROOT is used the first time only; then the cache is followed. Prints the version of the root that is trusted.
package main

import (
	"crypto"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

func run(mirror, rootFile, cache, keyFile, bundleFile string) error {
	rootJSON, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	opts := tuf.DefaultOptions().WithRoot(rootJSON).WithRepositoryBaseURL(mirror).WithCachePath(cache)
	client, err := tuf.New(opts)
	if err != nil {
		return err
	}
	if err := client.Refresh(); err != nil {
		return err
	}
	text, err := client.GetTarget("trusted_root.json")
	if err != nil {
		return err
	}
	if _, err := client.GetTarget("signing_config.v0.2.json"); err != nil {
		return err
	}
	logs, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return err
	}
	key := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	keys := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return key, nil })
	judge, err := verify.NewVerifier(
		root.TrustedMaterialCollection{logs, keys}, verify.WithTransparencyLog(1), verify.WithIntegratedTimestamps(1))
	if err != nil {
		return err
	}
	entity, err := bundle.LoadJSONFromPath(bundleFile)
	if err != nil {
		return err
	}
	if _, err := judge.Verify(entity, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithKey())); err != nil {
		return err
	}
	return printRoot(cache)
}

func printRoot(cache string) error {
	found, err := filepath.Glob(filepath.Join(cache, "*", "root.json"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d roots in the cache", len(found))
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	var file struct {
		Signed struct {
			Version int `json:"version"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return err
	}
	fmt.Println(file.Signed.Version)
	return nil
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: sigstore-go-tuf MIRROR ROOT CACHE KEY BUNDLE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
