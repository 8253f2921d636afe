#!/usr/bin/env bash
# start.sh OUT HOME PORT [NAME=VALUE | secure:NAME=VALUE]...: becomes the node that build.sh made in OUT. Secure: OpenSearch only.
set -euo pipefail
out=$1
shift
# The S3 client would look for a machine of Amazon's.
export AWS_EC2_METADATA_DISABLED=true
# Small and quick to start: serial collection, and the first compiler only.
exec "$(cat "$out/java")" -Xms192m -Xmx"${SABRE_TEST_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j2.configurationFile="$out/log4j2.properties" -cp "$out/classes:$out/lib/*" SearchNode "$@"
