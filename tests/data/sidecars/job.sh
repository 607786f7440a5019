#!/bin/bash
# Pod jupyter/jupyter-alice, uid 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0; written by interlink-sidecar.
job='/state dir/jobs/0f1e'
grace=25
init=(fetch)
main=(notebook proxy)

# --- the same for every job from here on ------------------------------------------
# Runs the init containers in order, then the containers all at once, each in a
# process group of its own. What happened is told by files below status/:
#   NAME.started  seconds since 1970        NAME.exit  exit code, seconds since 1970
#   stopped       why (cancelled, timeout), seconds since 1970
#   exit          the job's exit code, seconds since 1970; written last
# TERM ends the job, USR1 says that its walltime is over; both give grace seconds.

set -m
mask=$(umask)
umask 077
cd -- "$job" || exit 1

now() { printf '%(%s)T' -1; }

mark() { printf '%s\n' "$2" >"status/.$1" && mv -f "status/.$1" "status/$1"; }

# A pod runs once. Should it ever be submitted twice, the second job ends here.
if ! mkdir status/claim 2>/dev/null; then
  echo "interlink: another job runs this pod or ran it" >&2
  exit 1 # the scheduler must not tell this as the pod's success
fi

groups=()
killer=
stopped=

signal() {
  local group
  for group in "${groups[@]}"; do kill "-$1" -- "-$group" 2>/dev/null; done
}

stop() {
  if [[ -z $stopped ]]; then
    stopped=$1
    mark stopped "$1 $(now)"
  fi
  signal TERM
  [[ -n $killer ]] || { { sleep "$grace" && signal KILL; } & killer=$!; }
}
trap 'stop cancelled' TERM INT
trap 'stop timeout' USR1

# One container to its end. The trap is not inherited by the container: the signal
# that reaches the whole group is for it, and its exit code is written here.
run() {
  trap : TERM INT USR1
  mark "$1.started" "$(now)"
  (umask "$mask" && exec bash "run/$1.sh") >"logs/$1.log" 2>&1 </dev/null
  mark "$1.exit" "$? $(now)"
}

launch() {
  run "$1" &
  groups+=($!)
  [[ -z $stopped ]] || signal TERM # it came between the two lines above
}

# Waiting is interrupted by our own traps, so it is repeated. What a container
# leaves behind ends with it, as it would in a pod.
await() {
  while kill -0 "$2" 2>/dev/null; do wait "$2"; done
  kill -KILL -- "-$2" 2>/dev/null
  [[ -e status/$1.exit ]] || mark "$1.exit" "137 $(now)"
  local code
  read -r code _ <"status/$1.exit"
  ((code > worst)) && worst=$code
  return "$code"
}

worst=0
for name in "${init[@]}"; do
  [[ -z $stopped && $worst == 0 ]] || break
  launch "$name"
  await "$name" "${groups[-1]}"
done
if [[ -z $stopped && $worst == 0 ]]; then
  first=${#groups[@]}
  for name in "${main[@]}"; do launch "$name"; done
  for name in "${main[@]}"; do await "$name" "${groups[first++]}"; done
fi

[[ -z $killer ]] || kill -KILL -- "-$killer" 2>/dev/null
case $stopped in
  timeout) worst=124 ;;
  cancelled) ((worst > 0)) || worst=143 ;;
esac
mark exit "$worst $(now)"
exit "$worst"
