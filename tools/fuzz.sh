#!/bin/sh
# usage: fuzz.sh BUILD_DIR SECONDS: runs every fuzz target on its seeds for that long, two at a time; findings stay in BUILD_DIR/findings.
set -eu
cd "$(dirname "$0")/.."
build=$1 seconds=$2
mkdir -p "$build/findings"
run() {
    name=$(basename "$1")
    mkdir -p "$build/corpus/$name"
    seeds=fuzz/seeds/${name#fuzz_} dict=fuzz/${name#fuzz_}.dict
    "$1" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2560 -artifact_prefix="$build/findings/$name-" $([ -f "$dict" ] && echo "-dict=$dict") "$build/corpus/$name" \
        $([ -d "$seeds" ] && echo "$seeds") > "$build/findings/$name.log" 2>&1 || { tail -40 "$build/findings/$name.log"; return 1; }
    printf '%-20s %s\n' "$name" "$(grep -o 'Done [0-9]* runs.*' "$build/findings/$name.log" | tail -1)"
}
pids=
for target in "$build"/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    run "$target" &
    pids="$pids $!"
    set -- $pids
    if [ $# -ge 2 ]; then
        wait "$1"
        shift
        pids="$*"
    fi
done
for p in $pids; do wait "$p"; done
