#!/usr/bin/env bash
# image.sh BINARY: lays out the image's files in an empty folder and runs them there as a user that no file knows, with nothing
# else in sight and nowhere to write but the data folder. Needs root, for chroot.
set -euo pipefail
binary=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
# As in the image: any user may look in.
chmod 755 "$folder"
"$here/../../deploy/docker/build.sh" "$binary" "$folder/image"
root=$folder/image
run() { chroot --userspec=54321:54321 "$root" "$@"; }

for name in sh bash busybox; do
    [ -z "$(find "$root" -name "$name")" ] || { echo "there is a $name"; exit 1; }
done
[ -z "$(find "$root" -perm /6000 -o ! -type l -perm /002)" ] || { echo "files with too many rights"; exit 1; }
for name in /bin/sabre /bin/thanos; do
    for command in "sidecar" "store" "compact" "query" "tools bucket ls" "es-retention run"; do
        # Words are to be split.
        # shellcheck disable=SC2086
        run $name $command --help >/dev/null
    done
done

# A store that serves: threads, sockets and its data folder are all it needs.
install -d -m 755 "$root/data/bucket"
install -d -o 54321 -g 54321 "$root/data/store"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
http=$(free_port) grpc=$(free_port)
chroot --userspec=54321:54321 "$root" /bin/thanos store --data-dir=/data/store --http-address="127.0.0.1:$http" --grpc-address="127.0.0.1:$grpc" \
    --objstore.config='{type: FILESYSTEM, config: {directory: /data/bucket}}' 2>"$folder/log" &
pid=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$http/-/ready" >/dev/null && break
    kill -0 $pid 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.1
done
curl -sf "http://127.0.0.1:$http/-/ready" >/dev/null || { cat "$folder/log"; exit 1; }
kill -TERM $pid
wait $pid || { cat "$folder/log"; echo "the store did not end well"; exit 1; }
pid=
du -sh "$root" | cut -f1
echo "image: ok"
