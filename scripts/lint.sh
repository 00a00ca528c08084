#!/usr/bin/env bash
# Runs golangci-lint, of the version that scripts/tools/go.mod pins, over the whole tree with .golangci.yml; then the
# shell scripts through shellcheck, where that is installed. Arguments go to golangci-lint, for example:
#   scripts/lint.sh --fix ./ring/...
set -euo pipefail
cd "$(dirname "$0")/.."

lint=$(go -C scripts/tools tool -n golangci-lint)
if [ $# -eq 0 ]; then
	set -- ./...
fi
"$lint" run --allow-serial-runners "$@" # two checkouts share a cache

if command -v shellcheck >/dev/null; then
	shellcheck .ci/run scripts/*.sh
fi
