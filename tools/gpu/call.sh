#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One visit to a machine with a GPU: does one thing within a time limit and leaves all logs in one archive.
# Usage: tools/gpu/call.sh check|bench|peers|precisions|sanitize [ARGUMENT...]
#   check       every kernel against the reference, operators side by side; ARGUMENTs: operators, or operator+part-of-a-kernel's-name
#   bench       Tenon and PyTorch (eager, CUDA graph, compiled) on all models in fp16; ARGUMENTs of bench/gpu/compare.py
#   peers       PyTorch alone, with max-autotune; ARGUMENTs of bench/gpu/peers.py
#   precisions  error and speed in fp32, TF32, fp16 and bf16; ARGUMENTs of bench/gpu/compare.py
#   sanitize    compute-sanitizer; ARGUMENTs: items of sanitize.sh
# PACK: the folder of pack.sh, or a build folder (build-gpu). LIMIT: seconds for everything (550). OUT: where logs.tgz goes ($PACK). It is
# written anew every half minute, so that it exists also when the machine goes away. The last lines printed are a short table.
set -u
what=${1:?usage: call.sh check|bench|peers|precisions|sanitize [ARGUMENT...]}
shift
if [ "$what" = --check-one ]; then # a worker of "check": an operator, or operator+kernel
    op=${1%%+*} part=""
    [ "$op" = "$1" ] || part=${1#*+}
    begin=$(date +%s)
    timeout -s KILL "${ITEM_LIMIT:-100}" "$FOLDER/checkcuda" --op "$op" ${part:+--kernel "$part"} >"$LOGS/check_$1.txt" 2>&1
    status=$?
    word=$(tail -n 1 "$LOGS/check_$1.txt" | cut -c1-90)
    [ "$status" -eq 137 ] && word="TIMEOUT; $word"
    printf '%-32s status %-3s %4s s  %s\n' "$1" "$status" "$(($(date +%s) - begin))" "$word"
    exit 0
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${PACK:-$root/build-gpu}
# shellcheck source=tools/gpu/env.sh
. "$here/env.sh"
out=${OUT:-$folder}
work=$(mktemp -d)
logs=$work/logs
mkdir -p "$logs"
start=$(date +%s)
limit=${LIMIT:-550}
export PYTHONUNBUFFERED=1

left() { echo $((limit - $(date +%s) + start)); }
pack_logs() { # whole or not at all: the machine may go away meanwhile
    tar -C "$work" -czf "$work/logs.tgz" logs 2>/dev/null
    cp "$work/logs.tgz" "$out/logs.tgz.part" && mv "$out/logs.tgz.part" "$out/logs.tgz"
}
finish() {
    kill "$keeper" 2>/dev/null
    pack_logs
    rm -rf "$work"
}
(while sleep 30; do pack_logs; done) &
keeper=$!
trap finish EXIT
trap 'exit 143' INT TERM

{
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,temperature.gpu --format=csv,noheader
    date -u '+%Y-%m-%d %H:%M UTC'
    command -v python3 nvcc compute-sanitizer gcc # torch.compile needs a C compiler and Python's headers
    python3 -c 'import os, sysconfig; p = sysconfig.get_path("include") + "/Python.h"; print(p, os.path.exists(p))'
    "$folder/tenon" --version
    git -C "$root" rev-parse --short HEAD
} >"$logs/machine.txt" 2>&1
head -n 2 "$logs/machine.txt"

step() { # name seconds command...
    name=$1 seconds=$2
    shift 2
    timeout -s KILL "$seconds" "$@" >"$logs/$name.txt" 2>&1
    status=$?
    [ "$status" -eq 0 ] || echo "$name: status $status after $(($(date +%s) - start)) s"
    return "$status"
}
compare() { # name argument...
    name=$1
    shift
    mkdir -p "$logs/$name"
    step "$name" "$(($(left) - 5))" python3 "$root/bench/gpu/compare.py" --tenon "$folder/tenon" --out "$work/$name" --limit "$(($(left) - 25))" \
        --per-batch --seconds 0.5 --uniformer "$folder/ref/UniFormer" --vilbert "$folder/ref/vilbert" "$@"
    for file in "$work/$name"/*.json "$work/$name"/*.md "$work/$name"/*.txt; do
        [ -e "$file" ] && cp "$file" "$logs/$name/"
    done
    grep -v '^|\|^$' "$logs/$name.txt" | grep -i 'error\|ended\|status\|not measured\|no time\|not ready' | cut -c1-200 | head -n 30
    cat "$work/$name/accuracy.md" "$work/$name/performance.md" 2>/dev/null | sed '/^| plan | timings/,$d'
}
case $what in
    check)
        if [ $# -eq 0 ]; then
            # Operators with many kernels are split by type; the long ones start first.
            # shellcheck disable=SC2046
            set -- $("$folder/checkcuda" --list | awk '$1 != "FAIL" { split($2, a, "_"); n[$1]++; part[$1 " " a[1] "_" a[2]]++ }
                END { for (p in part) { split(p, b, " "); if (n[b[1]] > 12) print part[p], b[1] "+" b[2] "_" }
                      for (o in n) if (n[o] <= 12) print n[o], o }' | sort -rn | cut -d' ' -f2)
        fi
        [ $# -gt 0 ] || { echo "checkcuda lists no kernels" && "$folder/checkcuda" --list; }
        timeout -s KILL 60 "$folder/checkcuda" --functions >"$logs/functions.txt" 2>&1 || echo "functions: FAILED"
        timeout -s KILL 60 "$folder/checkcuda" --broken >"$logs/broken.txt" 2>&1 || echo "broken: FAILED"
        export FOLDER="$folder" LOGS="$logs"
        for item in "$@"; do
            echo "$item"
        done | timeout -s KILL "$(($(left) - 5))" xargs -P "${JOBS:-12}" -L 1 sh "$0" --check-one >"$logs/table.txt" 2>&1
        grep -h '^FAIL' "$logs"/check_*.txt | cut -c1-260 | head -n 40
        grep -v 'status 0 ' "$logs/table.txt"
        echo "$(grep -c 'status 0 ' "$logs/table.txt") of $# items passed, $(($(date +%s) - start)) s"
        ;;
    bench) compare bench --profile "$@" ;;
    peers)
        step peers "$(($(left) - 5))" python3 "$root/bench/gpu/peers.py" --modes eager graph compile max-autotune --generate --seconds 0.5 \
            --json "$logs/peers.json" --logs "$logs/peers" --limit "$(($(left) - 20))" \
            --uniformer "$folder/ref/UniFormer" --vilbert "$folder/ref/vilbert" "$@"
        cut -c1-170 "$logs/peers.txt"
        ;;
    precisions) compare precisions --dtypes fp32 tf32 bf16 fp16 --middle --models layoutlmv3 trocr uniformer vilbert "$@" -- --modes eager graph ;;
    sanitize) OUT=$logs TOTAL=$(($(left) - 20)) sh "$here/sanitize.sh" "$folder" "$@" >"$logs/sanitize.txt" 2>&1
        sed -n '/^build of/p; /^== sanitizers/,$p' "$logs/sanitize.txt" ;;
    *) echo "call.sh: unknown step '$what'" && exit 2 ;;
esac
