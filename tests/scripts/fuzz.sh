#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET...]: builds the fuzz targets and runs each of them, or those named, for SECONDS, from the seeds
# in fuzz/corpus. An input that fails is left in fuzz/artifacts and shown.
#
# The flags are those that cargo-fuzz gives with `--sanitizer none`, so its commands work in fuzz/ as well; this script
# does without it. Builds go to CARGO_TARGET_DIR/fuzz: everything is compiled anew, as all of it is instrumented.
set -euo pipefail
seconds=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../../fuzz"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz CARGO_INCREMENTAL=0
host=$(rustc -vV | sed -n 's/^host: //p')

flags=(-Cpasses=sancov-module -Cdebug-assertions -Ccodegen-units=16 --cfg fuzzing)
for option in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
flags+=(-Cllvm-args=-simplifycfg-branch-fold-threshold=0)

# What is fuzzed is what ships: the versions are those of the workspace.
cp ../Cargo.lock Cargo.lock
RUSTFLAGS="${flags[*]}" cargo build --release --target "$host" --bins

run() {
    local target=$1 seconds=$2 work
    work=$(mktemp -d)
    mkdir -p "$work/new" artifacts
    local seeds=()
    [ -d "corpus/$target" ] && seeds=("corpus/$target")
    # New inputs go to the first folder.
    if "$CARGO_TARGET_DIR/$host/release/$target" "$work/new" "${seeds[@]}" -max_total_time="$seconds" -max_len=8192 \
        -rss_limit_mb=1024 -timeout=10 -artifact_prefix="artifacts/$target-" -print_final_stats=1 >"$work/log" 2>&1; then
        printf '%-32s %9s runs, %s new inputs\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")" "$(find "$work/new" -type f | wc -l)"
        rm -rf "$work"
    else
        printf '%s failed:\n' "$target"
        grep -vE '^(INFO|#[0-9]|\tNEW)' "$work/log" | tail -40
        rm -rf "$work"
        return 1
    fi
}
export -f run
export host

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*_.*\)"/\1/p' Cargo.toml)
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run {} '"$seconds"
