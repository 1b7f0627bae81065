# Shared by the scripts of this folder; sourced, never run.

# sudo forgets the caller's PATH: find the cargo of the person who typed the command.
find_cargo() {
  command -v cargo >/dev/null && return
  local home
  for home in "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)" /root; do
    if [ -x "$home/.cargo/bin/cargo" ]; then
      export PATH="$home/.cargo/bin:$PATH" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
      return
    fi
  done
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds or the time is over.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      printf 'waited too long for %s\n' "$what" >&2
      return 1
    fi
    sleep 0.2
  done
}
