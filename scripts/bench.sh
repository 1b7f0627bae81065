#!/usr/bin/env bash
# Prints every budget of the design beside what this machine measures. Asserts nothing. Runs in a network
# namespace and folders of its own; takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ "$(id -u)" = 0 ] || { echo "bench: must run as root: sudo $0" >&2; exit 1; }
scripts/setup.sh
find_cargo
# All at once: by itself the executable would be built a second time, without the features that tests add to tokio.
cargo build --release --quiet --bins --bench cluster --bench authorization --bench services --bench dns --bench overlay --bench nodes
newest() { find target -path "$1" -type f -executable -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2; }
orch=$PWD/$(newest '*/release/orch')
bench=$PWD/$(newest '*/release/deps/cluster-*')
authorization=$PWD/$(newest '*/release/deps/authorization-*')
services=$PWD/$(newest '*/release/deps/services-*')
dns=$PWD/$(newest '*/release/deps/dns-*')
overlay=$PWD/$(newest '*/release/deps/overlay-*')
nodes=$PWD/$(newest '*/release/deps/nodes-*')

name=orch-bench-$$
dir=$(mktemp -d "/tmp/$name.XXXX")
flags=(--data-dir="$dir/data" --run-dir="/run/$name" --pod-log-dir="$dir/logs" --cgroup-root="$name" --write-kubeconfig="$dir/kubeconfig")
inside() { nsenter --net="/run/netns/$name" -- "$@"; }
# Another machine on the server's network.
other=$name-other
other_flags=(--data-dir="$dir/other" --run-dir="/run/$other" --pod-log-dir="$dir/other-logs" --cgroup-root="$other")
on_other() { nsenter --net="/run/netns/$other" -- "$@"; }
pid=
clean() {
  on_other "$orch" uninstall --yes "${other_flags[@]}" >/dev/null || true
  ip netns delete "$other" || true
  inside "$orch" uninstall --yes "${flags[@]}" >/dev/null || true
  ip netns delete "$name" || true
  rm -rf "$dir" "/run/$name-bare"
}
ip netns add "$name"
trap clean EXIT
ip -n "$name" link set lo up
ip -n "$name" link add uplink type veth peer name outside
ip -n "$name" link set outside up
ip -n "$name" addr add 10.99.0.1/24 dev uplink
ip -n "$name" link set uplink up
ip -n "$name" route add default via 10.99.0.254
ip netns add "$other"
ip -n "$other" link set lo up
ip -n "$other" link add uplink type veth peer name lan netns "$name"
ip -n "$name" addr add 10.98.0.1/24 dev lan
ip -n "$name" link set lan up
ip -n "$other" addr add 10.98.0.2/24 dev uplink
ip -n "$other" link set uplink up
ip -n "$other" route add default via 10.98.0.1

row() { printf '%-44s %22s %34s\n' "$1" "$2" "$3"; }
now() { date +%s%N; }
ms() { echo "$((($2 - $1) / 1000000)) ms"; }
kubectl() { inside "$orch" kubectl --kubeconfig "$dir/kubeconfig" "$@"; }
start() {
  begun=$(now)
  # Not through the function: its process would be the one that is stopped and measured.
  nsenter --net="/run/netns/$name" -- "$orch" server "${flags[@]}" --node-name=bench --log=warn 2>>"$dir/log" &
  pid=$!
  # As fast as the machine asks: curl's own retries begin with a second's pause.
  until [ "$(inside curl -sk -m 1 https://127.0.0.1:6443/readyz)" = ok ]; do
    [ $(($(now) - begun)) -lt 30000000000 ] || { cat "$dir/log" >&2; exit 1; }
  done
  ready=$(now)
}
stop() { kill "$pid"; wait "$pid" || true; }

row "what" "budget" "measured"
# The first start makes keys and imports the built-in image; the second is what a machine does every day.
start
kubectl wait --for=create node/bench --timeout=30s >/dev/null
kubectl wait --for=condition=Ready node/bench --timeout=30s >/dev/null
row "first start ever: node Ready" "" "$(ms "$begun" "$(now)")"
has_image() { inside "$orch" image ls "${flags[@]}" | grep -q whoami; }
wait_for 60 "the built-in image" has_image
stop
start
row "exec to /readyz ok" "200 ms" "$(ms "$begun" "$ready")"
kubectl wait --for=condition=Ready node/bench --timeout=30s >/dev/null
row "exec to node Ready" "1000 ms" "$(ms "$begun" "$(now)")"
kubectl apply -f - >/dev/null <<'POD'
apiVersion: v1
kind: Pod
metadata: {name: first, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "orch.local/whoami:latest", imagePullPolicy: Never}]
POD
kubectl wait '--for=jsonpath={.status.phase}=Running' pod/first -n default --timeout=30s >/dev/null
row "exec to first pod Running" "2000 ms" "$(ms "$begun" "$(now)")"

ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; }
written() { awk '/^write_bytes/ {print $2}' "/proc/$pid/io"; }
resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
kubectl delete pod first -n default >/dev/null
idle=${IDLE_SECONDS:-60}
sleep 5
t0=$(ticks) w0=$(written)
sleep "$idle"
t1=$(ticks) w1=$(written)
row "resident memory, server and agent, idle" "48 MiB" "$(($(resident "$pid") / 1024)) MiB"
containerd=$(pgrep -f "containerd --config $dir" | head -1 || true)
[ -z "$containerd" ] || row "  containerd beside it" "" "$(($(resident "$containerd") / 1024)) MiB"
row "idle CPU" "0.3 % of a core" "$(awk "BEGIN {printf \"%.2f %%\", ($t1 - $t0) / $(getconf CLK_TCK) / $idle * 100}")"
# Heartbeats are flushed every half hour, which no window here would show: with one write they are flushed now, and
# that is what a flush costs.
kubectl apply -f - >/dev/null <<'NOTE'
apiVersion: v1
kind: ConfigMap
metadata: {name: note, namespace: default}
NOTE
w2=$(written)
daily="($w1 - $w0) / $idle * 86400 + ($w2 - $w1) * 48"
row "idle disk writes, with a flush each half hour" "5 MB a day" "$(awk "BEGIN {printf \"%.1f MB a day\", ($daily) / 1e6}")"

# A machine that was never here joins, and leaves.
join() {
  token=$(inside "$orch" token create "${flags[@]}")
  begun=$(now)
  nsenter --net="/run/netns/$other" -- "$orch" agent --join=https://10.99.0.1:6443 --token="$token" "${other_flags[@]}" \
    --node-name=other --log=warn 2>>"$dir/log" &
  other_pid=$!
  kubectl wait --for=create node/other --timeout=30s >/dev/null
  kubectl wait --for=condition=Ready node/other --timeout=30s >/dev/null
}
leave() {
  kill "$other_pid" && wait "$other_pid" || true
  kubectl delete node other >/dev/null
}
join
row "orch agent to node Ready, joining" "1000 ms" "$(ms "$begun" "$(now)")"
row "  resident memory of that agent" "" "$(($(resident "$other_pid") / 1024)) MiB"
leave

inside "$bench" "$dir/kubeconfig" "$pid"
"$authorization"
"$services"
join
inside "$nodes" "$dir/kubeconfig" 10.99.0.1 "$pid" "$other_pid"
leave
"$overlay"
# In a namespace of its own: it holds the address on which the server above answers.
unshare --net sh -c "ip link set lo up && exec '$dns'"
row "resident memory after all that" "" "$(($(resident "$pid") / 1024)) MiB"

# The same image, a hundred times, by a containerd that nothing else uses: what no orchestrator can be faster than.
inside ctr -a "/run/$name/containerd/containerd.sock" -n k8s.io images export "$dir/whoami.tar" orch.local/whoami:latest
stop
bare=$dir/bare
mkdir -p "$bare"
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$bare/config.toml"
nsenter --net="/run/netns/$name" -- containerd --config "$bare/config.toml" --root "$bare/root" --state "/run/$name-bare" \
  --address "$bare/containerd.sock" --log-level error >>"$dir/log" 2>&1 &
bare_pid=$!
ctr=(ctr -a "$bare/containerd.sock")
wait_for 30 "containerd" inside "${ctr[@]}" version
inside "${ctr[@]}" images import "$dir/whoami.tar" >/dev/null
begun=$(now)
seq 100 | xargs -P 8 -I{} nsenter "--net=/run/netns/$name" -- "${ctr[@]}" run -d orch.local/whoami:latest "bare-{}"
row "  100 containers by bare containerd and ctr" "" "$(ms "$begun" "$(now)")"
inside "${ctr[@]}" tasks ls -q | xargs -P 8 -n 1 nsenter "--net=/run/netns/$name" -- "${ctr[@]}" tasks rm -f >/dev/null 2>&1
kill "$bare_pid" && wait "$bare_pid" || true
