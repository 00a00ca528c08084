package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// conditions are the flags of every conditional write.
type conditions struct {
	ifMatch  []string
	ifExists bool
}

func (c *conditions) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.ifMatch, "if-match", nil, "only if the key has this version, or one of these")
	cmd.Flags().BoolVar(&c.ifExists, "if-exists", false, "only if the key exists")
}

// option returns the condition that the flags state, nil for none.
func (c *conditions) option() (*client.Condition, error) {
	switch {
	case len(c.ifMatch) > 0 && c.ifExists:
		return nil, errors.New("--if-exists excludes --if-match")
	case c.ifExists:
		condition := client.IfExists()
		return &condition, nil
	case len(c.ifMatch) == 0:
		return nil, nil //nolint:nilnil // no condition is no error
	}
	versions := make([]api.Version, len(c.ifMatch))
	for i, s := range c.ifMatch {
		v, ok := api.ParseOpaqueTag(s)
		if !ok {
			return nil, fmt.Errorf("--if-match %q is no version: want a positive integer", s)
		}
		versions[i] = v
	}
	condition := client.IfMatch(versions...)
	return &condition, nil
}
