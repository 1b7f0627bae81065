#!/usr/bin/env bash
# Every check and every test, on a fresh machine too. What CI runs is this.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ "$(id -u)" = 0 ] || { echo "test: must run as root (the tests make hosts of their own): sudo $0" >&2; exit 1; }
scripts/setup.sh --test
find_cargo

step() { printf '\n== %s (%ds)\n' "$*" "$SECONDS"; }

step "format"
cargo fmt --check
step "lints"
cargo clippy --all-targets --quiet -- -D warnings
step "licences, bans and sources of dependencies"
cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny
cargo deny --log-level error check licenses bans sources
step "test images"
scripts/test-images.sh target/test-images
step "build"
cargo test --no-run --quiet
step "tests"
used=$(df --output=pcent "${TMPDIR:-/tmp}" | tr -dc 0-9)
if [ "$used" -gt 85 ]; then
  echo "test: the disk of ${TMPDIR:-/tmp} is $used % full: from 85 % on nodes remove images, from 90 % on they take no pods" >&2
  exit 1
fi
log=target/test.log
set +e
# Hosts are made and removed by the tests themselves; two at once are what two cores carry.
ORCH_TEST_IMAGES=$PWD/target/test-images cargo test --no-fail-fast -- --test-threads=2 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
set -e

step "count"
sum() { sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$log" | awk '{sum += $1} END {print sum + 0}'; }
passed=$(sum passed) failed=$(sum failed) ignored=$(sum ignored)
# The promises: the tests that need root, containerd and kubectl did run, and none was skipped.
real=$(grep -c '^test .*_needs_root .*\.\.\. ok' "$log" || true)
promised=$(grep -rhoE --include='*.rs' 'fn [a-z0-9_]+_needs_root\b' src tests | wc -l)
if [ "$status" = 0 ] && { [ "$real" -lt "$promised" ] || [ "$ignored" != 0 ]; }; then
  echo "test: only $real of $promised tests on the real kernel and containerd ran, $ignored were ignored" >&2
  status=1
fi
echo "$passed passed, $failed failed"
exit "$status"
