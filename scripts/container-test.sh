#!/usr/bin/env bash
# Brings docker-compose.yml up for real and does to it what happens to clusters: puts on one node, reads on another,
# stops a node, kills another, takes a third off the network and back, restarts all, and recreates all on their volumes.
# Every value that was acknowledged must be read back, byte for byte, at every step. Leaves nothing behind.
#
# A read may be refused while leaders change (it is tried again until a deadline); a wrong or missing value is never
# tolerated, not once.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly deadline=${RINGKV_TEST_DEADLINE:-90} # seconds that the cluster may take to recover from anything
readonly project=ringkv-test-$$
readonly stage=$project-build
export COMPOSE_PROJECT_NAME=$project RINGKV_IMAGE=$project
export RINGKV_PORT1='' RINGKV_PORT2='' RINGKV_PORT3='' # docker chooses: the usual ones may be in use

made_base=''
declare -A at # node: the address that docker publishes it on; it changes whenever the container starts
base=$(awk '$1 == "FROM" { print $2; exit }' Dockerfile)

step() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
die() {
	printf '%4ds  FAIL: %s\n' "$SECONDS" "$*" >&2
	exit 1
}

compose() {
	if docker compose version >/dev/null 2>&1; then
		docker compose "$@"
	else
		docker-compose "$@"
	fi
}

require_docker() {
	command -v docker >/dev/null || die "docker is not installed"
	docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
		die "neither 'docker compose' nor 'docker-compose' is installed"
	if ! docker info >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
		service docker start >/dev/null 2>&1 || true
		wait_for 30 "docker's daemon" docker info
	fi
	docker info >/dev/null 2>&1 || die "docker's daemon does not answer: $(docker info 2>&1 | tail -1)"
}

# check_go_version: the stand-in has this machine's Go; what users pull has the tag's, which go.mod must allow.
check_go_version() {
	local want have=${base#golang:}
	want=$(go list -m -f '{{.GoVersion}}')
	printf '%s\n' "$want" "${have%%-*}" | sort -VC || die "Dockerfile builds with Go ${have%%-*}, go.mod wants $want"
}

clean_up() {
	local status=$?
	trap - EXIT
	if [ "$status" -ne 0 ]; then
		compose logs --tail 40 2>&1 || true
	fi
	compose down --volumes --timeout 5 >/dev/null 2>&1 || true
	docker rmi -f "$RINGKV_IMAGE" "$stage" >/dev/null 2>&1 || true
	if [ -n "$made_base" ]; then
		docker rmi -f "$base" >/dev/null 2>&1 || true
	fi
	rm -rf "$work"
	exit "$status"
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds.
wait_for() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || die "waited in vain for $what"
		sleep 0.3
	done
}

container() {
	docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

locate() { at[$1]=$(docker port "$(container "$1")" 8080/tcp | head -1); }

# request NODE PATH CURL-ARGS...: the body goes to $work/body, the status to stdout; 000 if there was no answer.
request() {
	local node=$1 path=$2
	shift 2
	: >"$work/body"
	curl -s -m 10 -o "$work/body" -w '%{http_code}' "$@" "http://${at[$node]}/$path" || true
}

# put NODE KEY VALUE: until it is acknowledged. Nobody else writes KEY, so that sending it again is harmless.
put() {
	local end=$((SECONDS + deadline)) status
	while :; do
		status=$(request "$1" "v1/kv/$2" -X PUT --data-binary "$3")
		case $status in
		200 | 201) break ;;
		000 | 503 | 504) [ "$SECONDS" -lt "$end" ] || die "put $2 on $1: still $status: $(cat "$work/body")" ;;
		*) die "put $2 on $1: $status: $(cat "$work/body")" ;;
		esac
		sleep 0.2
	done
	echo "$2 $3" >>"$written"
}

# read_back NODE KEY VALUE
read_back() {
	local end=$((SECONDS + deadline)) status
	while :; do
		status=$(request "$1" "v1/kv/$2")
		case $status in
		200) break ;;
		000 | 503 | 504) [ "$SECONDS" -lt "$end" ] || die "get $2 on $1: still $status: $(cat "$work/body")" ;;
		*) die "get $2 on $1: $status instead of the value: $(cat "$work/body")" ;;
		esac
		sleep 0.2
	done
	[ "$(cat "$work/body")" = "$3" ] || die "get $2 on $1: '$(cat "$work/body")' instead of '$3'"
}

# put_some PREFIX NODE...: 12 new keys through each node.
put_some() {
	local prefix=$1 node i
	shift
	for node in "$@"; do
		for i in {1..12}; do
			put "$node" "$prefix/$node/$i" "$prefix-$RANDOM-$i"
		done
	done
}

# read_all NODE...: everything acknowledged so far, through each node.
read_all() {
	local node key value
	for node in "$@"; do
		while read -r key value; do
			read_back "$node" "$key" "$value"
		done <"$written"
	done
}

# full: the ring of every node shows three replicas for every partition.
full() {
	local node all three
	for node in n1 n2 n3; do
		[ "$(request "$node" v1/ring)" = 200 ] || return 1
		all=$(grep -o '"replicas":' "$work/body" | wc -l)
		three=$(grep -oE '"replicas":\["n[123]","n[123]","n[123]"\]' "$work/body" | wc -l)
		[ "$all" -gt 0 ] && [ "$all" = "$three" ] || return 1
	done
}

ready() { locate "$1" && [ "$(request "$1" readyz)" = 200 ]; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]; }

# wait_nodes NODE...
wait_nodes() {
	local node
	for node in "$@"; do
		wait_for "$deadline" "$node to be ready" ready "$node"
		wait_for "$deadline" "$node to be healthy" healthy "$node"
	done
}

# inside NODE ARGS...: runs the binary in the node's container, against that node.
inside() {
	local node=$1
	shift
	timeout 30 docker exec -e RINGKV_NODES=127.0.0.1:8080 "$(container "$node")" /ringkv "$@"
}

check_confinement() {
	local node got
	for node in n1 n2 n3; do
		got=$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' \
			"$(container "$node")")
		[ "$got" = '65532:65532 true [ALL]' ] || die "$node runs with: $got"
		got=$(docker port "$(container "$node")" | grep -v ' -> 127\.0\.0\.1:' || true)
		[ -z "$got" ] || die "$node publishes beyond loopback: $got"
	done
}

test_disconnect() {
	local net=${project}_ringkv
	docker network disconnect "$net" "$(container n3)"
	put_some cut n1 n2
	read_all n1 n2
	# Cut off, n3 can know nothing for certain: it must neither answer a read nor acknowledge a write.
	! inside n3 get cut/n1/1 >"$work/body" 2>&1 || die "n3 answered a read while cut off: $(cat "$work/body")"
	! inside n3 put cut/n3 lost >"$work/body" 2>&1 || die "n3 acknowledged a write while cut off"
	docker network connect --alias n3 "$net" "$(container n3)"
	wait_nodes n3
	read_all n3
	put_some healed n3
}

require_docker
check_go_version
exec 9<Dockerfile
flock 9 # one run at a time: runs share the stand-in for the base image
work=$(mktemp -d)
written=$work/written # a line for each acknowledged put: key value
trap clean_up EXIT
trap 'exit 130' INT TERM

step "base image $base"
made_base=$(scripts/container-base.sh "$base")
step "build"
# The tag on the build stage lets clean_up find all that a classic builder leaves.
docker build -q --target build -t "$stage" . >/dev/null
compose build >"$work/build.log" 2>&1 || die "compose build: $(tail -20 "$work/build.log")"
step "image: $(docker image inspect -f '{{.Size}}' "$RINGKV_IMAGE") bytes"

compose up -d --no-build >"$work/up.log" 2>&1 || die "compose up: $(cat "$work/up.log")"
wait_nodes n1 n2 n3
check_confinement
wait_for "$deadline" "three replicas of every partition" full
step "three nodes are up, confined, and hold three replicas of every partition"

put_some first n1 n2 n3
read_all n1 n2 n3
step "put on each node, read on every other"

docker stop "$(container n2)" >/dev/null
put_some stopped n1 n3
read_all n1 n3
docker start "$(container n2)" >/dev/null
wait_nodes n2
read_all n2
step "n2 stopped: reads and writes went on; started: it has everything"

docker kill "$(container n1)" >/dev/null
put_some killed n2 n3
read_all n2 n3
docker start "$(container n1)" >/dev/null
wait_nodes n1
read_all n1
step "n1, the first node, killed with SIGKILL: likewise"

test_disconnect
step "n3 off the network: the others went on, it answered nothing; reconnected: it has everything"

for node in n1 n2 n3; do docker kill "$(container "$node")" >/dev/null; done
for node in n3 n2 n1; do docker start "$(container "$node")" >/dev/null; done
wait_nodes n1 n2 n3
read_all n1 n2 n3
step "all killed, started the other way round: everything is there"

compose down --timeout 20 >/dev/null 2>&1
compose up -d --no-build >"$work/up.log" 2>&1 || die "compose up: $(cat "$work/up.log")"
wait_nodes n1 n2 n3
read_all n1 n2 n3
put_some last n1 n2 n3
step "containers recreated on their volumes, with new addresses: everything is there"

step "PASS: $(wc -l <"$written") acknowledged writes, all read back"
