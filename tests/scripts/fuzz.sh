#!/usr/bin/env bash
# fuzz.sh TOOLS SECONDS: builds the fuzz targets and runs each for SECONDS, starting from the committed corpus.
set -euo pipefail
tools=$1 seconds=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../../fuzz"
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
    cargo install cargo-fuzz --locked --quiet --root "$tools"
fi
export PATH=$tools/bin:$PATH
# The sanitizer flags are unstable; this lets the stable compiler take them.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz
cargo fuzz build --sanitizer none
for target in $(cargo fuzz list); do
    echo "--- $target"
    work=$(mktemp -d)
    seeds=corpus/$target
    [ -d "$seeds" ] || seeds=
    cargo fuzz run --sanitizer none "$target" "$work" $seeds -- -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=1024 -timeout=10 -verbosity=0 -print_final_stats=1 2>&1 | grep -E 'stat::number_of_executed|ERROR|panicked|SUMMARY' || { echo "$target failed"; exit 1; }
    rm -rf "$work"
done
