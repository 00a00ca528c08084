#!/usr/bin/env bash
# Runs every test with the race detector. Arguments replace the package list: scripts/test.sh ./ring ./storage/...
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
	set -- ./...
fi
go vet "$@"
# No cached results: the system tests build the binary that they run, which the cache does not know.
go test -race -count=1 -timeout "${TEST_TIMEOUT:-25m}" "$@"
