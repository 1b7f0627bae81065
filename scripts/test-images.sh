#!/bin/sh
# Builds small images out of Debian's busybox-static, so that tests need no network.
#
#   scripts/test-images.sh DIR            writes DIR/busybox-docker.tar and DIR/busybox-oci.tar
#   scripts/test-images.sh DIR [USER:PASSWORD@]HOST:PORT
#                                         pushes test/busybox:latest to a plain-HTTP registry there, too
#
# The docker archive holds docker.io/library/busybox:latest, the OCI archive localhost/test/oci:v1. Both have
# an /etc/passwd with the user "app" (1000:1000, also in group "staff", 50).
set -eu

out=${1:?usage: $0 DIR [[USER:PASSWORD@]HOST:PORT]}
registry=${2:-}
busybox=$(command -v busybox || echo /bin/busybox)
[ -x "$busybox" ] || { echo "busybox is missing: apt-get install busybox-static" >&2; exit 1; }

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
armv7l) arch=arm ;;
*) arch=$(uname -m) ;;
esac

pack() { # pack DIR TAR: the same tar from the same files, always
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .
}
digest() { sha256sum "$1" | cut -d' ' -f1; }
size() { stat -c %s "$1"; }

# The base layer.
root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/home/app"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\napp:x:1000:\nstaff:x:50:app\n' >"$root/etc/group"
pack "$root" "$work/base.tar"

# A second layer: one file more, one removed.
top=$work/top
mkdir -p "$top/etc" "$top/home"
echo second >"$top/etc/layer"
: >"$top/home/.wh.app"
pack "$top" "$work/top.tar"

# A docker archive: what "docker save" writes.
docker=$work/docker
mkdir -p "$docker/1"
cp "$work/base.tar" "$docker/1/layer.tar"
cat >"$docker/config.json" <<JSON
{"architecture":"$arch","os":"linux","config":{"Cmd":["sh"],"Entrypoint":null,"Env":["PATH=/bin","FROM_IMAGE=yes"]},
"rootfs":{"type":"layers","diff_ids":["sha256:$(digest "$work/base.tar")"]},"history":[]}
JSON
echo '[{"Config":"config.json","RepoTags":["busybox:latest"],"Layers":["1/layer.tar"]}]' >"$docker/manifest.json"
tar -C "$docker" -cf "$out/busybox-docker.tar" 1/layer.tar config.json manifest.json

# An OCI archive: two layers, the first compressed, behind an index with a foreign platform.
oci=$work/oci
blobs=$oci/blobs/sha256
mkdir -p "$blobs"
put() { # put FILE: stores a blob and prints its digest
    name=$(digest "$1")
    cp "$1" "$blobs/$name"
    echo "$name"
}
gzip -nc "$work/base.tar" >"$work/base.tar.gz"
base=$(put "$work/base.tar.gz")
layer=$(put "$work/top.tar")
cat >"$work/config" <<JSON
{"architecture":"$arch","os":"linux","config":{"Entrypoint":["/bin/sh","-c"],"Cmd":["cat /etc/layer"],"User":"app",
"Env":["PATH=/bin"],"WorkingDir":"/tmp","StopSignal":"SIGINT"},
"rootfs":{"type":"layers","diff_ids":["sha256:$(digest "$work/base.tar")","sha256:$(digest "$work/top.tar")"]}}
JSON
config=$(put "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size "$work/config")},
"layers":[
{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:$base","size":$(size "$work/base.tar.gz")},
{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(size "$work/top.tar")}]}
JSON
manifest=$(put "$work/manifest")
foreign=$(printf nothing | sha256sum | cut -d' ' -f1)
cat >"$work/index" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$foreign","size":7,
"platform":{"architecture":"s390x","os":"linux"}},
{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$work/manifest"),
"platform":{"architecture":"$arch","os":"linux"}}]}
JSON
index=$(put "$work/index")
cat >"$oci/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:$index",
"size":$(size "$work/index"),"annotations":{"io.containerd.image.name":"localhost/test/oci:v1"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$oci/oci-layout"
tar -C "$oci" -cf "$out/busybox-oci.tar" oci-layout index.json blobs

[ -n "$registry" ] || exit 0
api=http://$registry/v2/test/busybox
for file in base.tar.gz top.tar config; do
    place=$(curl -fsS -X POST -D - -o /dev/null "$api/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    # An absolute location lacks the password.
    case $place in http://*) place=/${place#http://*/} ;; esac
    curl -fsS -X PUT -o /dev/null -H 'Content-Type: application/octet-stream' --data-binary "@$work/$file" \
        "http://$registry$place&digest=sha256:$(digest "$work/$file")"
done
curl -fsS -X PUT -o /dev/null -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    --data-binary "@$work/manifest" "$api/manifests/latest"
