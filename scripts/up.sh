#!/usr/bin/env bash
# From a checkout to a running one-node Kubernetes with a demo that answers. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ "$(id -u)" = 0 ] || { echo "up: must run as root: sudo $0" >&2; exit 1; }
scripts/setup.sh
find_cargo
echo "up: building (the first time takes some minutes)"
cargo build --release --quiet
orch=$(find target -path '*/release/orch' -type f -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2)
install -D -m 755 "$orch" /usr/local/bin/orch

log=/var/log/orch.log
if orch kubectl get --raw /readyz >/dev/null 2>&1; then
  echo "up: orch is running already"
else
  echo "up: starting orch; its log is $log"
  setsid -f orch server >>"$log" 2>&1 </dev/null
fi
trap 'echo "up: that did not work; the end of $log:" >&2; tail -20 "$log" >&2' ERR
wait_for 60 "the API" orch kubectl get --raw /readyz
# An empty list is an answer too: right after the start no Node may be registered yet.
registered() { orch kubectl get nodes -o name | grep -q .; }
wait_for 60 "a Node" registered
orch kubectl wait --for=condition=Ready nodes --all --timeout=60s
orch kubectl apply -f manifests/examples/hello.yaml
orch kubectl rollout status deployment/hello --timeout=120s
echo
orch kubectl get pods,services -o wide
echo
address=$(orch kubectl get service hello -o 'jsonpath={.spec.clusterIP}')
wait_for 30 "the Service to answer" curl -sf -m 2 "http://$address/"
echo "up: six requests to the Service at http://$address/"
for _ in 1 2 3 4 5 6; do curl -sf -m 2 "http://$address/"; done
echo
echo "up: it runs. Try:  sudo orch kubectl get pods -A     (or kubectl with KUBECONFIG=/etc/orch/orch.yaml)"
echo "up: stop it with:  sudo scripts/down.sh              remove everything with: sudo orch uninstall"
