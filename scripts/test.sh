#!/usr/bin/env bash
# Runs every test with the race detector. Arguments replace the package list: scripts/test.sh ./ring ./storage/...
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
	set -- ./...
fi
go vet "$@"
go test -race -timeout "${TEST_TIMEOUT:-15m}" "$@"
