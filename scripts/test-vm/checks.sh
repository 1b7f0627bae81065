#!/usr/bin/env bash
# Runs in the virtual machine of scripts/test-vm.sh at every boot and prints a line for each check: `ok WHAT`, or
# `FAIL WHAT` with what was said. Never on a machine that anybody needs: it installs, kills, reboots and uninstalls.
set -uo pipefail
cd "$(dirname "$0")" || exit
groups=/sys/fs/cgroup/orch

# check WHAT COMMAND...
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    printf 'ok %s\n' "$what"
  else
    printf 'FAIL %s\n' "$what"
    tail -n 30 <<<"$said" | sed 's/^/  | /'
  fi
}

# soon COMMAND...: within a minute, or five where the machine is emulated.
soon() {
  local said deadline=$((SECONDS + 300))
  until said=$("$@" 2>&1); do
    if [ $SECONDS -ge $deadline ]; then
      printf 'waited too long: %s\n' "$said"
      return 1
    fi
    sleep 0.5
  done
}

# same WANTED FOUND
same() { [ "$1" = "$2" ] || { printf 'wanted: %s\nfound:  %s\n' "$1" "$2"; return 1; }; }

kubectl() { orch kubectl "$@"; }
field() { kubectl get "$1" -o "jsonpath=$2"; }
main_pid() { systemctl show -p MainPID --value orch-server; }
containerd_pid() { pgrep -f 'containerd --config /var/lib/orch'; }
# The group of a pod's only container.
group_of() { echo "$groups"/*/"pod$(field "pod/$1" '{.metadata.uid}')"/*/; }
containers() { field pods '{.items[*].status.containerStatuses[*].containerID}' | xargs -n 1 | sort; }
answers() { curl -sf -m 5 "http://$(cat /srv/hello-ip)/" >/dev/null; }
pods_answer() {
  local address
  for address in $(field pods '{.items[*].status.podIP}'); do curl -sf -m 5 "http://$address:8080/" || return 1; done
}
node_ready() { kubectl wait --for=condition=Ready node/vm --timeout=5s; }
in_file() { same "$1" "$(cat "$2")"; }

# pod NAME RESOURCES COMMAND [RESTART-POLICY]; without a command it sleeps, but hears that the machine goes down.
pod() {
  kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: ${4:-Always}
  containers:
  - {name: main, image: "busybox:latest", imagePullPolicy: Never, resources: $2, command: [sh, -c, "${3:-trap exit TERM; sleep 10000 & wait}"]}
YAML
}

installed() {
  check 'the hierarchy is unified' test -e /sys/fs/cgroup/cgroup.controllers
  check 'the doctor finds nothing broken' ./orch doctor
  check 'install.sh ends when the server is ready' ./install.sh
  check 'the unit is active' same active "$(systemctl is-active orch-server)"
  check 'the node is Ready' soon node_ready
  printf '# %s\n' "$(field node/vm '{.status.nodeInfo.containerRuntimeVersion} kernel {.status.nodeInfo.kernelVersion} {.status.nodeInfo.osImage}')"
  check 'the demo is rolled out' kubectl apply -f hello.yaml
  check 'the demo is ready' kubectl rollout status deployment/hello --timeout=300s
  field service/hello '{.spec.clusterIP}' >/srv/hello-ip
  check 'each of its pods answers' pods_answer
  check 'its Service answers' soon answers
  check 'its NodePort answers' curl -sf -m 5 "http://$(field node/vm '{.status.addresses[0].address}'):30080/"
}

limits() {
  pod limited '{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 250m, memory: 64Mi}}' '' >/dev/null
  check 'a pod of an image beside install.sh runs' kubectl wait --for=condition=Ready pod/limited --timeout=300s
  local group
  group=$(group_of limited)
  check 'memory.max' in_file 67108864 "$group/memory.max"
  check 'memory.oom.group' in_file 1 "$group/memory.oom.group"
  check 'cpu.max' in_file '25000 100000' "$group/cpu.max"
  check 'memory.max of the pod' in_file 67108864 "$group/../memory.max"
  check 'cpu.max of the pod' in_file '25000 100000' "$group/../cpu.max"
  check 'pids.current' in_file 2 "$group/pids.current"
  check 'the container sees its own group only' same 0::/ "$(kubectl exec limited -- cat /proc/1/cgroup)"
  check 'the container reads its limit' same 67108864 "$(kubectl exec limited -- cat /sys/fs/cgroup/memory.max)"
  check 'it is resized' kubectl patch pod limited --subresource resize -p \
    '{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"100m","memory":"32Mi"},"limits":{"cpu":"500m","memory":"96Mi"}}}]}}'
  check 'memory.max follows' soon in_file 100663296 "$group/memory.max"
  check 'cpu.max follows' soon in_file '50000 100000' "$group/cpu.max"
  check 'memory.max of the pod follows' soon in_file 100663296 "$group/../memory.max"
  pod hungry '{limits: {memory: 32Mi}}' 'tail /dev/zero; echo survived' Never >/dev/null
  check 'a hungry container ends' kubectl wait --for=jsonpath='{.status.phase}'=Failed pod/hungry --timeout=300s
  check 'it is OOMKilled' same 'OOMKilled 137' \
    "$(field pod/hungry '{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}')"
  check 'the statistics know the memory' soon uses_memory
  check 'no pod is in the service'"'"'s group' outside
}
uses_memory() {
  kubectl get --raw /api/v1/nodes/vm/proxy/stats/summary | tr -d ' \n' | grep -qE '"workingSetBytes":[1-9]'
}
outside() {
  local inside
  inside=$(find "/sys/fs/cgroup$(systemctl show -p ControlGroup --value orch-server)" -name cgroup.procs -exec cat {} +)
  same 'containerd containerd-shim orch' "$(ps -o comm= -p "$(xargs <<<"$inside" | tr ' ' ,)" | sort -u | xargs)"
}

# unmoved WHAT COMMAND...: no pod notices.
unmoved() {
  local what=$1 before
  before=$(containers)
  shift
  check "$what" "$@"
  check '- the node is Ready' soon node_ready
  check '- the Service answers' soon answers
  check '- no container was restarted' same "$before" "$(containers)"
}
killed() {
  local pid
  pid=$("$1")
  kill -9 "$pid" && soon other_than "$pid" "$1"
}
other_than() { local now; now=$("$2") && [ "$now" != 0 ] && [ "$now" != "$1" ]; }
reloaded() { local pid; pid=$(main_pid) && systemctl reload orch-server && same "$pid" "$(main_pid)"; }
stopped() { systemctl stop orch-server && answers && systemctl start orch-server; }

restarts() {
  unmoved 'systemctl restart' systemctl restart orch-server
  unmoved 'systemctl reload' reloaded
  unmoved 'systemctl daemon-reload' systemctl daemon-reload
  check '- controllers stay' in_file 100663296 "$(group_of limited)/memory.max"
  unmoved 'orch is killed, and systemd starts it' killed main_pid
  unmoved 'containerd is killed, and orch starts it' killed containerd_pid
  unmoved 'systemctl stop, while the Service answers, and start' stopped
  unmoved 'install.sh once more' ./install.sh
  check 'a pod can be made after all that' made
}
made() { pod late '{}' '' && kubectl wait --for=condition=Ready pod/late --timeout=300s && kubectl exec late -- true; }

rebooted() {
  local restarts='{.status.containerStatuses[0].restartCount}'
  check 'after the reboot the unit is active' soon systemctl is-active orch-server
  check 'the node is Ready' soon node_ready
  check 'the demo is ready' kubectl rollout status deployment/hello --timeout=300s
  check 'its Service answers' soon answers
  check 'the pods are Running' kubectl wait --for=condition=Ready pod/limited pod/late --timeout=300s
  check 'they were restarted once' same '1 1' "$(field pod/limited "$restarts") $(field pod/late "$restarts")"
  check 'memory.max is as before' in_file 100663296 "$(group_of limited)/memory.max"
  check 'the hungry pod is still OOMKilled' same OOMKilled "$(field pod/hungry '{.status.containerStatuses[0].state.terminated.reason}')"
}

traces() {
  find /etc/orch /run/orch /var/lib/orch /usr/local/bin/orch /etc/systemd/system/orch* /var/log/pods/* "$groups" -maxdepth 0 2>/dev/null
  grep orch /proc/self/mountinfo
  ip -br link | grep ^orch
  nft list tables | grep orch
  pgrep -fl '/var/lib/orch|/run/orch'
  systemctl list-units --all --no-legend 'orch*'
}
uninstalled() {
  check 'install.sh --uninstall' ./install.sh --uninstall --yes
  check 'nothing is left' same '' "$(traces)"
  check "Debian's own containerd was left alone" same active "$(systemctl is-active containerd)"
}

main() {
  if [ ! -e /srv/booted ]; then
    touch /srv/booted
    installed
    limits
    restarts
    sync
    systemctl reboot
  else
    rebooted
    uninstalled
    echo end
    systemctl poweroff
  fi
}
main
