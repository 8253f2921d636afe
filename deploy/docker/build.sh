#!/usr/bin/env bash
# build.sh BINARY FOLDER: lays out in FOLDER, which must be empty or absent, the files of the image: the binary without debug
# information, the libraries it loads, certificates, and what tells glibc how to look names up. Runs without Docker.
set -euo pipefail
binary=$1 folder=$2
[ ! -e "$folder" ] || [ -z "$(ls -A "$folder")" ] || { echo "$folder is not empty" >&2; exit 1; }

install -d -m 755 "$folder"/{bin,etc/ssl/certs}
install -m 755 "$binary" "$folder/bin/sabre"
strip --strip-debug "$folder/bin/sabre"
ln -s sabre "$folder/bin/thanos"

# Each library where the loader looks for it, under its own name, not that of a link.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$(readlink -f "$library")" "$folder$library"
done
certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || { echo "no certificates at $certificates: install ca-certificates" >&2; exit 1; }
install -m 644 "$certificates" "$folder$certificates"
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
chmod 644 "$folder/etc/nsswitch.conf"
