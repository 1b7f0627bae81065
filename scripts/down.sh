#!/usr/bin/env bash
# Stops orch and its pods. Data stays; `orch uninstall` removes it.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "down: must run as root: sudo $0" >&2; exit 1; }
exec orch stop --all
