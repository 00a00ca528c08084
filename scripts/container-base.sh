#!/usr/bin/env bash
# Usage: scripts/container-base.sh IMAGE
#
# Makes sure that the Dockerfile's base image is there. Where it is neither present nor to be had from a registry, it
# imports a stand-in under the same name, made of this machine's own files: the Go toolchain, a shell, and the modules
# that go.mod names, so that the build needs no network. Prints "made" if it did, for whoever has to remove it.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1

# A stand-in that a killed run left is made again: go.mod may have changed since.
label=$(docker image inspect -f '{{index .Config.Labels "ringkv.stand-in"}}' "$image" 2>/dev/null) || label=none
case $label in
none) ;;
true) docker rmi -f "$image" >/dev/null ;;
*) exit 0 ;;
esac
if timeout 300 docker pull -q "$image" >/dev/null 2>&1; then
	exit 0
fi
echo "$image cannot be pulled: making a stand-in from this machine's files" >&2

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,etc,go,root,usr/local/go}
mkdir -m 1777 "$root/tmp"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"

# What RUN needs, and the shared libraries that these need.
for tool in sh mkdir; do
	path=$(command -v "$tool")
	cp -L "$path" "$root/bin/$tool"
	# A static tool has none: then ldd fails and grep finds nothing.
	{ ldd "$path" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r lib; do
		cp -L --parents "$lib" "$root"
	done
done

# The toolchain, without its tests and its own source. Every file counts: a classic builder walks all of them for each
# step of the Dockerfile.
tar -C "$(go env GOROOT)" --exclude=./{api,doc,misc,test,src/cmd} --exclude='*_test.go' --exclude=testdata -c . |
	tar -x -C "$root/usr/local/go"

# Only the modules of go.mod: from this machine's cache, and what it lacks from the usual proxy.
GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" \
	GOMODCACHE="$root/go/pkg/mod" GOFLAGS=-modcacherw go mod download
rm -rf "$root/go/pkg/mod/cache/download/sumdb"
find "$root/go/pkg/mod" \( -name '*_test.go' -o -name testdata \) -prune -exec rm -rf {} +

tar -C "$root" --owner=0 --group=0 --numeric-owner -c . | docker import \
	--change 'ENV PATH=/usr/local/go/bin:/bin' \
	--change 'ENV GOPATH=/go' \
	--change 'ENV GOTOOLCHAIN=local' \
	--change 'ENV GOPROXY=off' \
	--change 'LABEL ringkv.stand-in=true' \
	- "$image" >/dev/null
echo made
