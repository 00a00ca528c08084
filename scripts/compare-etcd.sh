#!/usr/bin/env bash
# Usage: scripts/compare-etcd.sh [--rounds N] [--seconds N] [--cache DIR]
#
# Compares ringkv to etcd on this machine (Linux). In each round (default 2) it starts three nodes of either in turn on
# loopback, loads them with 64 clients, 256-byte values and 100,000 keys for some seconds a workload (default 5), and
# accounts the CPU of the servers: etcd under its own benchmark tool, ringkv under "ringkv bench". Prints the means
# beside the design's targets, scaled by what etcd takes here, so that figures of different machines can be compared.
#
# The first time it builds etcd, through the Go module proxy, and keeps the binaries in DIR (default: ringkv-compare in
# $XDG_CACHE_HOME or ~/.cache). Data is in a temporary directory, in $TMPDIR if that is set, and goes at the end.
set -euo pipefail
called_in=$PWD
cd "$(dirname "$0")/.."
export LC_ALL=C
unset "${!ETCD_@}" "${!RINGKV_@}" # both as they are by default

readonly server_version=v3.7.3
readonly benchmark_version=v3.6.8 # of etcd's root module, which has the tool; no newer one was to be had
readonly clients=64 value_bytes=256 keys=100000
readonly warmup=10000 # requests, which also tell how many fill the time

# What etcd took on the design's machine, and what ringkv is to take there: operations/s, CPU us of the servers.
readonly design='etcd put 7600 184
etcd get 17600 80
ringkv put 12000 110
ringkv get 20000 50
ringkv txn-add 6000 230
ringkv txn2 4000 350'

rounds=2
seconds=5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringkv-compare
work=''      # the temporary directory
port=0       # the last that free_port found
endpoints='' # of the etcd that runs
servers=()   # its processes
child=''     # what await runs

die() {
	printf '%s\n' "compare-etcd: $*" >&2
	exit 1
}
say() { printf '%4ds  %s\n' "$SECONDS" "$*" >&2; }

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/${0##*/}"; }

parse_flags() {
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help) usage && exit ;;
		--rounds | --seconds | --cache) [ $# -ge 2 ] || die "$1 wants a value" ;;
		*) die "unknown argument $1; see --help" ;;
		esac
		case $1 in
		--rounds) rounds=$2 ;;
		--seconds) seconds=$2 ;;
		--cache) [[ $2 == /* ]] && cache=$2 || cache=$called_in/$2 ;;
		esac
		shift 2
	done
	[[ $rounds =~ ^[1-9][0-9]?$ ]] || die "--rounds $rounds: want 1 to 99"
	[[ $seconds =~ ^[1-9][0-9]?$ ]] || die "--seconds $seconds: want 1 to 99"
}

require() {
	[ "$(uname)" = Linux ] || die "processes can be accounted on Linux only"
	local tool
	for tool in go curl timeout; do
		command -v "$tool" >/dev/null || die "$tool is not installed"
	done
}

clean_up() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	stop_etcd
	rm -rf "$work"
	exit "$status"
}

# await SECONDS NAME COMMAND...: runs COMMAND, whose output goes to $work/NAME.out and .log. In the background, so that
# a signal to this script need not wait for its end; timeout hands the signal on.
await() {
	local limit=$1 name=$2 status=0
	shift 2
	timeout -k 10 "$limit" "$@" >"$work/$name.out" 2>"$work/$name.log" &
	child=$!
	wait "$child" || status=$?
	child=''
	case $status in
	0) ;;
	124 | 137) die "$name took longer than $limit s: $(tail -5 "$work/$name.log")" ;;
	*) die "$name: exit status $status: $(tail -20 "$work/$name.log")" ;;
	esac
}

# build_from VERSION PACKAGE NAME puts the program into $bin. It is built in a module of its own, because go install refuses
# etcd's replace directives, and by the Go that builds ringkv.
build_from() {
	local dir=$work/module-$3
	mkdir "$dir"
	printf 'module compare\n' >"$dir/go.mod"
	await 600 "get-$3" env GOWORK=off GOFLAGS=-mod=mod GOTOOLCHAIN="$(go env GOVERSION)" go -C "$dir" get "$2@$1"
	await 900 "build-$3" env GOWORK=off GOFLAGS=-mod=mod GOTOOLCHAIN="$(go env GOVERSION)" go -C "$dir" build -o "$work/$3" "$2"
	mkdir -p "$bin"
	mv "$work/$3" "$bin/$3.new" # perhaps onto another disk, so not at once
	mv "$bin/$3.new" "$bin/$3"
}

# build_etcd sets $bin to the directory of etcd and benchmark. There is one for each Go, so that ringkv has the same.
build_etcd() {
	bin=$cache/etcd-$server_version-benchmark-$benchmark_version-$(go env GOVERSION)
	if [ -x "$bin/etcd" ] && [ -x "$bin/benchmark" ]; then
		return 0
	fi
	say "build etcd $server_version, and its benchmark tool of $benchmark_version: this takes a while"
	build_from "$server_version" go.etcd.io/etcd/server/v3 etcd
	build_from "$benchmark_version" go.etcd.io/etcd/v3/tools/benchmark benchmark
}

# free_port sets $port to the next where nobody listens, below those that the kernel hands out itself.
free_port() {
	local last=$((port + 1000))
	while [ "$port" -lt "$last" ]; do
		port=$((port + 1))
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
	done
	die "no free port from $((last - 999)) to $last"
}

# etcd_http PATH [BODY]: asks the first node.
etcd_http() { curl -q -sf --noproxy '*' -m 5 ${2:+-d "$2"} "http://${endpoints%%,*}$1"; }

start_etcd() {
	local i cluster='' peer=() client=()
	for i in 1 2 3; do
		free_port
		peer[i]=127.0.0.1:$port
		free_port
		client[i]=127.0.0.1:$port
		cluster+=${cluster:+,}n$i=http://${peer[i]}
	done
	endpoints=${client[1]},${client[2]},${client[3]}
	for i in 1 2 3; do
		"$bin/etcd" --name "n$i" --data-dir "$work/etcd/n$i" --log-level warn \
			--listen-client-urls "http://${client[i]}" --advertise-client-urls "http://${client[i]}" \
			--listen-peer-urls "http://${peer[i]}" --initial-advertise-peer-urls "http://${peer[i]}" \
			--initial-cluster "$cluster" >"$work/etcd-n$i.log" 2>&1 &
		servers+=($!)
	done
	local end=$((SECONDS + 60))
	until etcd_http /health >/dev/null; do
		check_etcd
		[ "$SECONDS" -lt "$end" ] || die "etcd elects no leader: $(tail -5 "$work"/etcd-n*.log)"
		sleep 0.2
	done
}

# check_etcd tells early, and why, that a node has ended: its port may have been taken meanwhile.
check_etcd() {
	local i
	for i in 1 2 3; do
		kill -0 "${servers[i - 1]}" 2>/dev/null || die "etcd's node n$i ended: $(tail -5 "$work/etcd-n$i.log")"
	done
}

# stop_etcd kills: nobody wants the data any more, and a leader that is asked to stop seeks a successor for seconds.
stop_etcd() {
	if [ "${#servers[@]}" -gt 0 ]; then
		kill -KILL "${servers[@]}" 2>/dev/null || true
		wait "${servers[@]}" 2>/dev/null || true
	fi
	servers=()
	rm -rf "$work/etcd"
}

# etcd_ticks sets $ticks to what etcd's nodes have used so far, user and system, in clock ticks.
etcd_ticks() {
	local pid stat fields
	check_etcd
	ticks=0
	for pid in "${servers[@]}"; do
		stat=$(<"/proc/$pid/stat")
		read -ra fields <<<"${stat##*) }" # the name before may hold blanks; what follows is field 3, see proc(5)
		ticks=$((ticks + fields[14 - 3] + fields[15 - 3]))
	done
}

# etcd_load TOTAL ARGS...: sets $per_second, and $us to the servers' CPU time for each request.
etcd_load() {
	local total=$1 before failed
	shift
	etcd_ticks
	before=$ticks
	await $((120 + 5 * seconds)) benchmark "$bin/benchmark" --endpoints "$endpoints" \
		--clients "$clients" --conns "$clients" "$@" --total "$total"
	etcd_ticks
	per_second=$(awk '$1 == "Requests/sec:" { print $2 }' "$work/benchmark.out")
	failed=$(awk -F'[][]' '/^Error distribution/ { e = 1 } e { n += $2 } END { print n + 0 }' "$work/benchmark.out")
	if [ -z "$per_second" ] || [ "$failed" -ge "$total" ]; then
		die "etcd's benchmark $1: no result: $(tail -5 "$work/benchmark.out")"
	fi
	[ "$failed" = 0 ] || say "etcd $1: $failed of $total requests failed and do not count"
	us=$(awk "BEGIN { print ($ticks - $before) / $(getconf CLK_TCK) * 1e6 / ($total - $failed) }")
}

# etcd_workload NAME ARGS...: warms up, which tells how many requests fill the time, and measures.
etcd_workload() {
	local name=$1
	shift
	etcd_load "$warmup" "$@"
	etcd_load "$(awk "BEGIN { print int($per_second * $seconds) + 1 }")" "$@"
	note etcd "$name" "$per_second" "$us"
}

# note WHOSE WORKLOAD OPERATIONS/S US
note() {
	printf '%s %s %s %s\n' "$@" >>"$work/results"
	say "$(printf '%-6s  %-7s  %6.0f operations/s  %6.1f us' "$@")"
}

# etcd's tool gets one key again and again; it is written through the HTTP gateway, which wants base64.
measure_etcd() {
	local key=compare/some-key value
	start_etcd
	etcd_workload put put --key-size "${#key}" --val-size "$value_bytes" --key-space-size "$keys"
	value=$(head -c "$value_bytes" /dev/urandom | base64 -w0)
	etcd_http /v3/kv/put "{\"key\":\"$(printf %s "$key" | base64)\",\"value\":\"$value\"}" >/dev/null ||
		die "etcd does not take the key to be read"
	etcd_workload get range "$key" --consistency l
	stop_etcd
}

measure_ringkv() {
	local result=$work/ringkv-bench.out fields
	mkdir "$work/ringkv"
	await $((600 + 5 * seconds)) ringkv-bench "$work/ringkv-bin" bench put get txn1 txn-add txn2 --local --json \
		--dir "$work/ringkv" --idle 0s --duration "${seconds}s" \
		--clients "$clients" --value-size "$value_bytes" --keys "$keys"
	rm -rf "$work/ringkv"
	! grep -o '"errors":{[^}]*}' "$result" >&2 || say "of ringkv's requests these failed and do not count"
	grep -oE '"(workload|operations_per_second|server_cpu_us_per_operation)":[^,}]*' "$result" | awk -F'[":]+' '
	$2 == "workload" { name = $3 }
	$2 == "operations_per_second" { rate = $3 }
	$2 == "server_cpu_us_per_operation" { print "ringkv", name, rate, $3 }' >"$work/ringkv-results"
	[ "$(wc -l <"$work/ringkv-results")" = 5 ] || die "cannot read what ringkv bench printed: $(cat "$result")"
	while read -ra fields; do
		note "${fields[@]}"
	done <"$work/ringkv-results"
}

# print_table prints the means. The base of a target is etcd's put, of get's etcd's get.
print_table() {
	cat <<-END

		Operations/s, and CPU us of the three servers together for each: means, rounds: $rounds. A target is the design's,
		times what etcd's put (get's: etcd's get) does here, over what it did there. The ratio is to that one's CPU.

		              etcd                     ringkv                  ringkv's CPU
		            ops/s  CPU us      ops/s  target  CPU us  target    ratio  target
	END
	awk '
	function mean(sum, whose, w) { return n[whose, w] ? sum[whose, w] / n[whose, w] : 0 }
	function show(v, format) { return v ? sprintf(format, v) : "-" }
	NR == FNR { goal_ops[$1, $2] = $3; goal_us[$1, $2] = $4; next }
	{ n[$1, $2]++; ops[$1, $2] += $3; us[$1, $2] += $4 }
	END {
		split("put get txn1 txn-add txn2", names, " ")
		for (i = 1; i in names; i++) {
			w = names[i]
			base = w == "get" ? "get" : "put"
			speed = mean(ops, "etcd", base) / goal_ops["etcd", base]
			cost = mean(us, "etcd", base) / goal_us["etcd", base]
			printf "%-8s  %7s %7s    %7s %7s %7s %7s  %7s %7s\n", w,
				show(mean(ops, "etcd", w), "%.0f"), show(mean(us, "etcd", w), "%.1f"),
				show(mean(ops, "ringkv", w), "%.0f"), show(goal_ops["ringkv", w] * speed, "%.0f"),
				show(mean(us, "ringkv", w), "%.1f"), show(goal_us["ringkv", w] * cost, "%.1f"),
				show(mean(us, "ringkv", w) / mean(us, "etcd", base), "%.2f"),
				show(goal_us["ringkv", w] / goal_us["etcd", base], "%.2f")
		}
	}' <(printf '%s\n' "$design") "$work/results"
}

parse_flags "$@"
require
work=$(mktemp -d "${TMPDIR:-/tmp}/ringkv-compare-XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
port=$((20000 + RANDOM % 10000))

build_etcd
await 600 'build ringkv' go build -o "$work/ringkv-bin" ./cmd/ringkv
say "etcd $server_version and ringkv, $(go env GOVERSION), $(nproc) processors, data on $(stat -f -c %T "$work")"
for ((round = 1; round <= rounds; round++)); do
	say "round $round of $rounds"
	measure_etcd
	measure_ringkv
done
print_table
