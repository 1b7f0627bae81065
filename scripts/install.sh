#!/usr/bin/env bash
# Makes this machine a server or a node of a cluster, under systemd. Needs no network: the binary and image archives
# lie beside this script, or the binary in the checkout. Safe to run again: it updates what it installed and keeps the
# configuration.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: install.sh [server]                       a server that is a node, too
       install.sh agent --join URL --token TOKEN a node; the token is of `orch token create` on the server
       install.sh --uninstall [--yes]            stops everything and removes it, with all data

--data-dir DIR   keep all state there (written to a new /etc/orch/config.yaml, as are --join and --token)
DESTDIR          environment: install below this folder and start nothing
TEXT
}
die() { printf 'install: %s\n' "$*" >&2; exit 1; }
say() { printf 'install: %s\n' "$*"; }

role='' uninstall='' yes='' join=${ORCH_JOIN:-} token=${ORCH_TOKEN:-} data_dir=''
while [ $# -gt 0 ]; do
  case $1 in
    server | agent) [ -z "$role" ] || die "one of server and agent"; role=$1 ;;
    --join | --token | --data-dir)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in --join) join=$2 ;; --token) token=$2 ;; *) data_dir=$2 ;; esac
      shift
      ;;
    --uninstall) uninstall=1 ;;
    --yes | -y) yes=1 ;;
    --help | -h) usage; exit ;;
    *) usage >&2; die "unknown: $1" ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
binary=$root/usr/local/bin/orch
config=$root/etc/orch/config.yaml
units=$root/etc/systemd/system
[ "$(id -u)" = 0 ] || die "must run as root: sudo $0 $role"

# systemctl of the running system, where that is what is installed to.
systemd() {
  [ -n "$root" ] || systemctl "$@"
}

remove() {
  if [ -z "$yes" ]; then
    [ -t 0 ] || die "this removes all data; say --yes to do it without a terminal"
    printf 'This removes orch, its pods and all its data from this machine. Go on? [y/N] '
    read -r answer
    case $answer in y | Y | yes) ;; *) die "nothing was removed" ;; esac
  fi
  local role
  for role in server agent; do
    [ -e "$units/orch-$role.service" ] || continue
    systemd disable --now "orch-$role.service"
    rm -f "$units/orch-$role.service"
  done
  systemd daemon-reload
  # What it made is found by its configuration, so that goes last.
  if [ -x "$binary" ]; then
    if [ -e "$config" ]; then "$binary" uninstall --yes --config "$config"; else "$binary" uninstall --yes; fi
  fi
  rm -f "$config" "$binary"
  rmdir "$(dirname "$config")" 2>/dev/null || true
}

find_binary() {
  local found=$here/orch
  [ -f "$found" ] || found=$(find "$here/../target" -path '*/release/orch' -type f -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -1 | cut -d' ' -f2)
  [ -n "$found" ] || die "there is no orch beside this script; put it into $here"
  "$found" version >/dev/null || die "$found does not run on this machine"
  echo "$found"
}

write_config() {
  [ ! -e "$config" ] || { say "keeping $config"; return; }
  mkdir -p "$(dirname "$config")"
  # It may hold a token.
  (
    umask 077
    {
      echo "# Options of orch $role: the keys are the flags that \`orch $role --help\` lists."
      [ -z "$data_dir" ] || echo "data-dir: $data_dir"
      [ "$role" = server ] || printf 'join: %s\ntoken: %s\n' "$join" "$token"
    } >"$config"
  )
}

write_unit() {
  mkdir -p "$units"
  cat >"$units/orch-$role.service" <<UNIT
[Unit]
Description=orch $role
Wants=network-online.target
After=network-online.target
# It is started again however often it ends.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/orch $role
ExecReload=/bin/kill -HUP \$MAINPID
Restart=always
RestartSec=5
# Pods and containerd go on while orch is stopped or replaced.
KillMode=process
Delegate=yes
# An agent waits for its server.
TimeoutStartSec=infinity
LimitNOFILE=1048576
LimitNPROC=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
UNIT
}

copy_images() {
  local images image
  data_dir=$(sed -n 's/^data-dir: *//p' "$config")
  images=${root}${data_dir:-/var/lib/orch}/agent/images
  for image in "$here"/*.tar "$here"/*.tar.gz "$here"/*.tgz; do
    [ -f "$image" ] || continue
    install -D -m 644 "$image" "$images/$(basename "$image")"
    say "$(basename "$image") will be imported"
  done
}

if [ -n "$uninstall" ]; then
  remove
  exit
fi
role=${role:-server}
other=$([ "$role" = server ] && echo agent || echo server)
[ ! -e "$units/orch-$other.service" ] || die "this machine runs an orch $other; first: $0 --uninstall"
if [ "$role" = agent ] && [ ! -e "$config" ]; then
  [ -n "$join" ] || die "an agent needs --join https://SERVER:6443"
  [ -n "$token" ] || die "an agent needs --token; make one on the server: orch token create"
fi
if [ -z "$root" ]; then
  command -v systemctl >/dev/null || die "systemd does not run here; start it yourself: orch $role"
  for program in containerd runc; do
    command -v "$program" >/dev/null || die "$program is missing; install your distribution's package $program"
  done
fi
orch=$(find_binary)
# Replaced, not overwritten: the old one may run.
install -D -m 755 "$orch" "$binary.new"
mv -f "$binary.new" "$binary"
write_config
copy_images
write_unit
systemd daemon-reload
systemd enable --quiet "orch-$role.service"
[ -n "$root" ] || say "starting orch-$role; its log: journalctl -u orch-$role"
systemd restart "orch-$role.service"
say "done"
