#!/usr/bin/env bash
# demo.sh BINARY: the demo as a user runs it, with standard input closed: it does the main job, stays up, answers on the
# ports it prints, and cleans up after Ctrl-C.
set -euo pipefail
binary=$1
log=$(mktemp)
"$binary" demo </dev/null >"$log" 2>&1 &
pid=$!
trap 'kill -9 $pid 2>/dev/null || true; rm -f "$log"' EXIT

for _ in $(seq 600); do
    grep -q 'Ctrl-C' "$log" && break
    kill -0 $pid 2>/dev/null || { cat "$log"; echo "the demo ended by itself"; exit 1; }
    sleep 0.2
done
cat "$log"
grep -q 'Ctrl-C' "$log" || { echo "the demo did not get to its end"; exit 1; }

directory=$(grep -o 'everything is in [^ ]*' "$log" | head -1 | cut -d' ' -f4)
[ -d "$directory" ] || { echo "no working directory named"; exit 1; }
ports=$(grep -o 'http://127.0.0.1:[0-9]*/-/ready' "$log" | sort -u)
[ -n "$ports" ] || { echo "no ports named"; exit 1; }
for url in $ports; do
    [ "$(curl -sf "$url")" = OK ] || { echo "$url is not ready"; exit 1; }
done

# A query through the querier, on Prometheus' path: both replicas are one.
querier=$(grep -o 'http://127.0.0.1:[0-9]*/graph' "$log" | head -1)
[ -n "$querier" ] || { echo "no querier named"; exit 1; }
answer=$(curl -sf "${querier%/graph}/api/v1/query" --data-urlencode 'query=count(up) == count(max without (replica) (up))')
case $answer in
*'"status":"success"'*'"value":'*) ;;
*) echo "the querier answered $answer"; exit 1 ;;
esac
grep -qE '5m +┆ after ' "$log" || { echo "nothing was downsampled"; exit 1; }
grep -q '█' "$log" || { echo "no graph was drawn"; exit 1; }
# Not `grep -q` behind a pipe: it goes at the first match, and who writes on fails.
case $(curl -sf "$querier") in
*'<title>'*) ;;
*) echo "no page at $querier"; exit 1 ;;
esac
"$(dirname "$0")/bad_queries.py" "${querier%/graph}" $pid

kill -INT $pid
wait $pid || { cat "$log"; echo "the demo ended with an error"; exit 1; }
[ ! -e "$directory" ] || { echo "the demo left $directory behind"; exit 1; }
echo "demo: ok"
