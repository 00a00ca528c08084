package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	// envPrefix begins the name of every environment variable; --data-dir is RINGKV_DATA_DIR.
	envPrefix = "RINGKV_"
	// configFlag names the file itself, which therefore cannot stand in the file.
	configFlag = "config"
)

// fillFlags gives every flag of fs that the command line left alone its value from the environment or else from the
// YAML file path. path may itself come from the environment. Values are parsed by the flags, so that all three ways
// take the same spellings. Errors name the variable or the file and key.
func fillFlags(fs *pflag.FlagSet, path string, environ []string) error {
	vars, err := loadEnv(fs, environ)
	if err != nil {
		return err
	}
	if path == "" {
		path = vars.String(configFlag)
	}
	vars.Delete(configFlag)
	all, err := loadFile(fs, path)
	if err != nil {
		return err
	}
	if err := all.Merge(vars); err != nil {
		return err
	}
	for _, name := range all.Keys() {
		if fs.Changed(name) || all.Get(name) == nil {
			continue
		}
		if err := fs.Set(name, flagText(all, name)); err != nil {
			return fmt.Errorf("%s: %w", origin(vars, path, name), err)
		}
	}
	return nil
}

// origin says where the value of a flag came from.
func origin(vars *koanf.Koanf, path, name string) string {
	if vars.Exists(name) {
		return variable(name)
	}
	return path + ": " + name
}

// variable is the environment variable of a flag.
func variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// flagText is the value of name as one would write it on the command line.
func flagText(k *koanf.Koanf, name string) string {
	if list := k.Strings(name); len(list) > 0 {
		return strings.Join(list, ",")
	}
	return k.String(name)
}

// loadEnv reads the variables of fs's flags; others that begin alike are left to warnUnknownVariables, and empty ones are
// as if they were not set.
func loadEnv(fs *pflag.FlagSet, environ []string) (*koanf.Koanf, error) {
	names := make(map[string]string)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			names[variable(f.Name)] = f.Name
		}
	})
	k := koanf.New(".")
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" {
				return "", nil
			}
			return names[name], value
		},
	})
	return k, k.Load(provider, nil)
}

// loadFile reads the YAML file at path, none if that is empty, and refuses keys that are no flag of fs.
func loadFile(fs *pflag.FlagSet, path string) (*koanf.Koanf, error) {
	k := koanf.New(".")
	if path == "" {
		return k, nil
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	for _, key := range k.Keys() {
		if key == configFlag || key == "help" || fs.Lookup(key) == nil {
			return nil, fmt.Errorf("config file %s: unknown key %q; known are %s", path, key, known(fs))
		}
	}
	return k, nil
}

func known(fs *pflag.FlagSet) string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" {
			names = append(names, f.Name)
		}
	})
	slices.Sort(names)
	return strings.Join(names, ", ")
}
