#!/usr/bin/env bash
# What a container cannot show: orch under systemd and the unified cgroup hierarchy. Boots Debian in a virtual machine
# without a network, where scripts/test-vm/checks.sh installs orch as a person would and looks at everything. Without KVM
# it is emulated: that takes about ten minutes.
#
#   scripts/test-vm.sh [SUITE]        trixie where not said (containerd 1.7); bookworm has 1.6
#
# Everything is kept in target/vm; the machine is made once, its disk is thrown away after each run.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-trixie}
dir=target/vm/$suite
say() { printf 'test-vm: %s\n' "$*"; }
die() { printf 'test-vm: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "must run as root (debootstrap): sudo $0"
[ "$(uname -m)" = x86_64 ] || die "knows only x86_64"

# program package
missing=()
while read -r program package; do
  command -v "$program" >/dev/null || missing+=("$package")
done <<'PROGRAMS'
qemu-system-x86_64 qemu-system-x86
debootstrap debootstrap
mke2fs e2fsprogs
PROGRAMS
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Debian with what orch needs, and a unit that runs whatever the second disk holds, at every boot.
make_machine() {
  local root=$dir/root packages
  packages=systemd-sysv,udev,dbus,kmod,procps,iproute2,curl,containerd,runc,nftables,linux-image-cloud-amd64,initramfs-tools
  rm -rf "$dir" && mkdir -p "$dir"
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" >"$dir/debootstrap.log" ||
    die "debootstrap failed: $dir/debootstrap.log"
  echo vm >"$root/etc/hostname"
  printf '127.0.0.1 localhost vm\n' >"$root/etc/hosts"
  printf '[Match]\nType=ether\nKind=!*\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/wired.network"
  cat >"$root/etc/systemd/system/checks.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
# The results go to the second serial line, undisturbed by the kernel's words on the first.
ExecStart=sh -c 'mkdir -p /srv/kit && tar -xf /dev/vdb -C /srv/kit && exec bash /srv/kit/checks.sh >/dev/ttyS1 2>&1'
[Install]
WantedBy=multi-user.target
UNIT
  systemctl --root="$root" --quiet enable systemd-networkd.service checks.service
  systemctl --root="$root" --quiet mask serial-getty@ttyS0.service
  cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
  cp "$root"/boot/initrd.img-* "$dir/initrd"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  mke2fs -q -t ext4 -d "$root" "$dir/new.ext4" 4G
  rm -rf "$root"
  mv "$dir/new.ext4" "$dir/root.ext4"
}

# What a person carries to a machine without a network.
make_kit() {
  local kit=$dir/kit orch=${ORCH_TEST_BINARY:-}
  [ -n "$orch" ] || orch=$(find target -path '*/release/orch' -type f -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2)
  [ -n "$orch" ] || die "there is no orch; first: cargo build --release"
  rm -rf "$kit" && mkdir -p "$kit"
  cp "$orch" "$kit/orch"
  cp scripts/install.sh scripts/test-vm/* manifests/examples/hello.yaml "$kit"
  scripts/test-images.sh "$kit"
  tar -C "$kit" -cf "$dir/kit.tar" .
  rm -rf "$kit"
}

if [ ! -e "$dir/root.ext4" ]; then
  say "making a machine of Debian $suite"
  make_machine
fi
make_kit
accelerate=(-accel tcg -cpu max) limit=90m
if [ -w /dev/kvm ] && grep -qE 'vmx|svm' /proc/cpuinfo; then accelerate=(-accel kvm -cpu host) limit=20m; fi
say "starting it (${accelerate[1]}); its console is $dir/console.log, what is checked is in $dir/results.log"
# A network card without a network: an address and a default route by DHCP, and nobody behind it.
timeout --foreground "$limit" qemu-system-x86_64 "${accelerate[@]}" -smp 2 -m 2048 -display none -monitor none \
  -kernel "$dir/vmlinuz" -initrd "$dir/initrd" -append 'root=/dev/vda rw console=ttyS0 quiet no_timer_check' \
  -drive "file=$dir/root.ext4,if=virtio,format=raw,snapshot=on" -drive "file=$dir/kit.tar,if=virtio,format=raw,readonly=on" \
  -nic user,model=virtio,restrict=on -serial "file:$dir/console.log" -serial stdio </dev/null | tee "$dir/results.log" ||
  die "the machine did not end by itself"

count() { grep -c "^$1" "$dir/results.log" || true; }
say "$(count 'ok ') passed, $(count 'FAIL ') failed"
grep -q '^end' "$dir/results.log" || die "the checks did not come to their end"
[ "$(count 'FAIL ')" = 0 ]
