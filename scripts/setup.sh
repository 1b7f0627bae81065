#!/usr/bin/env bash
# Installs from the distribution what building and running orch needs and this machine lacks.
# With --test also what only the tests need. Safe to run again; changes nothing that is there.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "must run as root: sudo $0"
command -v apt-get >/dev/null || die "knows only apt-get; install containerd, runc, nftables, iproute2, conntrack, protobuf-compiler and a C compiler by hand"

# program package. nft is only for looking at rules: orch programs the kernel itself.
needed='containerd containerd
runc runc
nft nftables
ip iproute2
conntrack conntrack
protoc protobuf-compiler
cc gcc
curl curl
ps procps
modprobe kmod
nsenter util-linux'
if [ "${1:-}" = --test ]; then
  needed+='
docker-registry docker-registry
ping iputils-ping
shellcheck shellcheck
busybox busybox-static
kubectl kubernetes-client'
fi

missing=()
while read -r program package; do
  command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needed"
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # policy-rc.d keeps the packages from starting services of their own: orch runs its own containerd.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get install -y -qq --no-install-recommends libc6-dev "${missing[@]}" >/dev/null
fi

# sudo forgets the caller's PATH, and rustup installs into a home folder.
if ! command -v cargo >/dev/null; then
  for home in "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)" /root; do
    [ -x "$home/.cargo/bin/cargo" ] && say "found Rust in $home/.cargo/bin" && exit 0
  done
  die "Rust is missing; install it from https://rustup.rs (1.95 or newer) and run this again"
fi
say "everything is there"
