#!/bin/bash
# Trains on a PBS cluster, and submits itself again if it was stopped after a checkpoint.
#
#   WRN_FLAGS="--steps 100000" qsub -V [options of qsub] launch/pbs.sh
#
# Run launch/setup once before. `qsig -s USR1 JOB`, or TERM when the time is up, asks for a
# checkpoint; wrn-dist then exits with 75, and this script submits the run again with the same
# output folder (runs/pbs-RUN), where it continues. Variables:
#
#   WRN_FLAGS      flags of wrn-dist train, separated by blanks
#   WRN_RUN        the run's name (default: the number of its first job)
#   WRN_INTERFACE  the network between hosts, as 10.0.0.0/16 or eth0
#   WRN_ROOT       the repository, if you submit from outside it
#
#PBS -N wrn-dist
#PBS -l select=2:ncpus=8:mpiprocs=2
#PBS -l walltime=24:00:00
#PBS -r y
#PBS -j oe
set -euo pipefail

case ${1:-} in -h | --help) sed -n '2,${/^#PBS/q;/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac

# PBS runs a copy of this file, so its own path may say nothing about the repository.
find_root() {
  local place
  for place in "${WRN_ROOT:-}" "$(dirname -- "${BASH_SOURCE[0]}")/.." \
    "${PBS_O_WORKDIR:-}" "${PBS_O_WORKDIR:-}/.." "$PWD"; do
    if [ -n "$place" ] && [ -r "$place/launch/common.sh" ]; then
      (cd -- "$place" && pwd)
      return
    fi
  done
  echo "pbs.sh: the repository is not found: submit from within it or set WRN_ROOT." >&2
  exit 69
}
root=$(find_root)
# shellcheck source=launch/common.sh
source "$root/launch/common.sh"

: "${PBS_JOBID:?is not set: submit this script with qsub}"
: "${PBS_NODEFILE:?is not set: submit this script with qsub}"
export WRN_RUN=${WRN_RUN:-${PBS_JOBID%%.*}}
say "Job $PBS_JOBID, run $WRN_RUN"

# PBS names a host once for every slot. Open MPI would take a host named once as one slot a core,
# so the slots are written down.
hostfile="$root/runs/pbs-$WRN_RUN.hosts"
mkdir -p -- "$root/runs"
awk 'NF { if (!slots[$1]++) order[++n] = $1 }
     END { for (i = 1; i <= n; i++) print order[i], "slots=" slots[order[i]] }' \
  "$PBS_NODEFILE" >"$hostfile"
options=(--hostfile "$hostfile")
if [ -n "${NCPUS:-}" ]; then options+=(--cores "$NCPUS"); fi
if [ -n "${WRN_INTERFACE:-}" ]; then options+=(--interface "$WRN_INTERFACE"); fi
read -r -a flags <<<"${WRN_FLAGS:-}"

"$root/launch/train" "${options[@]}" -- \
  --output-dir "$root/runs/pbs-$WRN_RUN" --resume auto "${flags[@]}" &
job=$!

# Both signals mean "checkpoint".
trap 'interrupted=yes; say "asking for a checkpoint"; kill -USR1 "$job" || true' USR1 TERM
status=0
wait_for "$job" || status=$?
trap '' USR1 TERM

say "wrn-dist exited with $status"
if [ "$status" -eq "$EXIT_REQUEUE" ]; then
  say "Submitting run $WRN_RUN again"
  qsub -V "$root/launch/pbs.sh"
fi
exit "$status"
