// Judges one image as Podman, CRI-O and skopeo do: by policy.json and registries.d.
package main

import (
	"context"
	"fmt"
	"os"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: containers-policy POLICY.JSON REGISTRIES.D HOST/REPOSITORY@DIGEST")
		os.Exit(2)
	}
	if err := judge(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}

func judge(policyFile, registriesDirectory, name string) error {
	ctx := context.Background()
	policy, err := signature.NewPolicyFromFile(policyFile)
	if err != nil {
		return err
	}
	judges, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer judges.Destroy()
	reference, err := docker.ParseReference("//" + name)
	if err != nil {
		return err
	}
	source, err := reference.NewImageSource(ctx, &types.SystemContext{
		RegistriesDirPath:           registriesDirectory,
		SystemRegistriesConfPath:    "/dev/null",
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
	})
	if err != nil {
		return err
	}
	defer source.Close()
	allowed, err := judges.IsRunningImageAllowed(ctx, image.UnparsedInstance(source, nil))
	if err == nil && !allowed {
		err = fmt.Errorf("no reason given")
	}
	return err
}
