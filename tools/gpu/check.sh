#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The checks of the GPU backend, on a machine with a GPU: FOLDER has checkcuda and libtenon_cuda.so, as built, or as pack.sh packed them.
# Usage: tools/gpu/check.sh FOLDER [PART...]
#   PART: functions broken rows time memcheck racecheck initcheck synccheck; without any: all but time
# Logs go to $OUT, else to FOLDER. EVERY is the share of cases that the sanitizers run (default 29: every 29th), LIMIT the seconds a part
# may take (default 280), ARGS are further arguments of checkcuda. The last lines are a short table; the status is 1 when a part failed.
set -u
folder=${1:?usage: check.sh FOLDER [PART...]}
shift
[ $# -gt 0 ] || set -- functions broken rows memcheck racecheck initcheck synccheck
out=${OUT:-$folder}
every=${EVERY:-29}
limit=${LIMIT:-280}
args=${ARGS:-}
# shellcheck source=tools/gpu/env.sh
. "$(dirname "$0")/env.sh"
check=$folder/checkcuda
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv,noheader || true

failed=0
table=""
note() { # part status seconds words
    table="$table$(printf '%-12s %-8s %5s s  %s' "$1" "$2" "$3" "$4")
"
}
part() { # name command...
    name=$1
    shift
    log=$out/$name.log
    start=$(date +%s)
    timeout -s KILL "$limit" "$@" >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    case $status in
        0) word=passed ;;
        77) word=skipped ;;
        124 | 137) word=TIMEOUT; failed=1 ;;
        *) word=FAILED; failed=1 ;;
    esac
    grep -v '^ok ' "$log" | head -n "${LINES_SHOWN:-60}"
    note "$name" "$word" "$seconds" "$(tail -n 1 "$log" | cut -c1-100)"
}
sanitize() { # tool arguments...
    tool=$1
    shift
    # shellcheck disable=SC2086
    part "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20 "$check" --every "$every" --codes 2 "$@" $args
}
for name in "$@"; do
    echo "== $name"
    # shellcheck disable=SC2086
    case $name in
        functions) part functions "$check" --functions ;;
        broken) part broken "$check" --broken ;;
        rows) part rows "$check" $args ;;
        time) LINES_SHOWN=1000 part time "$check" --time $args ;;
        memcheck) sanitize memcheck --separate ;;
        racecheck) sanitize racecheck ;;
        initcheck) sanitize initcheck --separate --no-poison ;;
        synccheck) sanitize synccheck ;;
        *) echo "unknown part '$name'" && failed=1 ;;
    esac
done
echo "== summary"
printf '%s' "$table"
exit $failed
