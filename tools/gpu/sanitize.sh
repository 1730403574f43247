#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compute-sanitizer over kernels and over whole small models, many processes at once on one GPU; one line an item at the end.
# Usage: tools/gpu/sanitize.sh FOLDER [ITEM...]       FOLDER has checkcuda, tenon and libtenon_cuda.so, as built or as pack.sh packed them
#   ITEM: run:EXPORT:TYPE      `tenon run` of tests/fixtures/EXPORT in fp16, bf16, tf32 or fp32
#         generate:EXPORT:TYPE `tenon bench` of a generator: two lines, four tokens
#         op:NAME[:N]          checkcuda on every N-th case (default 29) of an operator
#         kernel:PART[:N]      the same, of the kernels whose name contains PART
# Logs: $OUT/sanitize, else FOLDER/sanitize. TOOLS: which checkers (all four). JOBS: processes at once (12). LIMIT: seconds an item may take
# (150). TOTAL: seconds for everything (520); what has not started then is listed. The status is 1 when an item has errors or did not run.
set -u
if [ "${1:-}" = --one ]; then # a worker: tool item
    tool=$2 item=$3
    kind=${item%%:*} rest=${item#*:}
    name=${rest%%:*} more=""
    [ "$name" = "$rest" ] || more=${rest#*:}
    log=$LOGS/$tool.$(echo "$item" | tr ':' '_').log
    left=$((END - $(date +%s)))
    [ "$left" -lt "$LIMIT" ] || left=$LIMIT
    if [ "$left" -lt 5 ]; then
        printf '%-10s %-48s %s\n' "$tool" "$item" "not run: no time was left" >"$log.line"
        exit 0
    fi
    more_args=""
    [ "$tool" = initcheck ] && more_args="--no-poison"
    case $kind in
        op) set -- "$FOLDER/checkcuda" --op "$name" --every "${more:-29}" --codes 2 --separate ${more_args:+"$more_args"} ;;
        kernel) set -- "$FOLDER/checkcuda" --kernel "$name" --every "${more:-29}" --codes 2 --separate ${more_args:+"$more_args"} ;;
        run) set -- "$FOLDER/tenon" run "$PLANS/$name.$more.plan" -i "$FIXTURES/$name/inputs.0.npz" -o "$PLANS/$tool.$name.$more.npz" -q ;;
        generate) set -- "$FOLDER/tenon" bench "$PLANS/$name.$more.plan" --batch 2 --tokens 4 -n 1 -w 1 --device-io -q ;;
        *) set -- false ;;
    esac
    start=$(date +%s)
    timeout -s KILL "$left" compute-sanitizer --tool "$tool" --error-exitcode 99 --print-limit 30 "$@" >"$log" 2>&1
    status=$?
    errors=$(sed -n 's/.*SUMMARY: \([0-9][0-9]*\) \(error\|hazard\).*/\1/p' "$log" | tail -n 1)
    case $status in
        124 | 137) word="timed out" ;;
        127) word="no compute-sanitizer" ;;
        *)
            if [ -z "$errors" ]; then
                word="failed, status $status: $(grep -E '^(tenon|FAIL|=.*[Ee]rror)' "$log" | head -n 1 | cut -c1-100)"
            elif [ "$errors" -gt 0 ] || [ "$status" -eq 99 ]; then
                word="errors $errors"
            elif [ "$status" -ne 0 ]; then
                word="failed, status $status: $(grep -E '^(tenon|FAIL)' "$log" | head -n 1 | cut -c1-100)"
            else
                word=OK
            fi
            ;;
    esac
    printf '%-10s %-48s %s (%s s)\n' "$tool" "$item" "$word" "$(($(date +%s) - start))" | tee "$log.line"
    exit 0
fi

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: sanitize.sh FOLDER [ITEM...]}
shift
# shellcheck source=tools/gpu/env.sh
. "$here/env.sh"
if [ $# -eq 0 ]; then
    for type in fp16 fp32; do
        for export in layoutlmv3_ts17_dynamic trocr_combined_ts17_dynamic uniformer_ts17_dynamic vilbert_ts17_dynamic_heads; do
            set -- "$@" "run:$export:$type"
        done
        set -- "$@" "generate:hf_trocr_vit_same_width_fp32:$type"
    done
    set -- "$@" op:attention:97 op:gemm:197 op:layer_norm op:add_layer_norm op:softmax op:conv:97 op:pointwise op:attention_step op:transpose
fi
export END=$(($(date +%s) + ${TOTAL:-520}))
export LIMIT="${LIMIT:-150}" FOLDER="$folder" FIXTURES="$here/../../tests/fixtures"
export LOGS="${OUT:-$folder}/sanitize"
export PLANS="$LOGS/plans"
export TENON_DEVICE_TIMEOUT=0 # a checked kernel may take longer than any watchdog
rm -rf "$LOGS"
mkdir -p "$PLANS"
command -v compute-sanitizer && compute-sanitizer --version | tail -n 1

# Plans are built without the checker: their kernels are verified at every build.
# shellcheck disable=SC2016
for item in "$@"; do
    case $item in
        run:* | generate:*) echo "${item#*:}" ;;
    esac
done | sort -u | xargs -P "${JOBS:-12}" -I '{}' sh -c '
    name=${1%%:*} type=${1#*:}
    model=$FIXTURES/$name/model.onnx
    [ -e "$model" ] || model=$FIXTURES/$name
    timeout -s KILL 60 "$FOLDER/tenon" build "$model" -o "$PLANS/$name.$type.plan" --device cuda "--$type" >"$LOGS/build.$name.$type.log" 2>&1 ||
        echo "build of $name, $type: $(tail -n 1 "$LOGS/build.$name.$type.log" | cut -c1-160)"' build '{}'

# Whole models first, with every tool; then kernels.
for tool in ${TOOLS:-memcheck racecheck initcheck synccheck}; do
    for item in "$@"; do
        case $item in run:* | generate:*) echo "$tool $item" ;; esac
    done
done >"$LOGS/queue"
for tool in ${TOOLS:-memcheck racecheck initcheck synccheck}; do
    for item in "$@"; do
        case $item in run:* | generate:*) ;; *) echo "$tool $item" ;; esac
    done
done >>"$LOGS/queue"
xargs -P "${JOBS:-12}" -L 1 sh "$0" --one <"$LOGS/queue"
rm -rf "$PLANS"
echo "== sanitizers"
cat "$LOGS"/*.line | sort
good=$(cat "$LOGS"/*.line | grep -c ' OK (')
all=$(wc -l <"$LOGS/queue")
echo "$good of $all items are clean"
[ "$good" -eq "$all" ]
