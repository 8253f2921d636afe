#!/usr/bin/env bash
# page.sh BINARY [MODULES]: the querier's page in a real browser, over the data of the demo. MODULES is a folder with
# playwright-core in its node_modules; the browser is CHROMIUM or chromium in the PATH. With SABRE_SHOTS=FOLDER pictures
# are left there.
set -euo pipefail
binary=$1
modules=${2:-.}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
log=$(mktemp)
"$binary" demo --days=1 </dev/null >"$log" 2>&1 &
pid=$!
trap 'kill -9 $pid 2>/dev/null || true; rm -f "$log"' EXIT

for _ in $(seq 600); do
    grep -q 'Ctrl-C' "$log" && break
    kill -0 $pid 2>/dev/null || { cat "$log"; echo "the demo ended by itself"; exit 1; }
    sleep 0.2
done
url=$(grep -o 'http://127.0.0.1:[0-9]*/graph' "$log" | head -1)
[ -n "$url" ] || { cat "$log"; echo "the demo names no page"; exit 1; }

CHROMIUM=${CHROMIUM:-$(command -v chromium)} SABRE_MODULES=$(cd "$modules" && pwd) \
    node "$here/page.mjs" "${url%/graph}"

kill -INT $pid
wait $pid || { cat "$log"; echo "the demo ended with an error"; exit 1; }
echo "page: ok"
