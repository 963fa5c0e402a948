#!/bin/bash
# Trains on a PBS cluster, and submits the job again after a stop on request.
#
#   WRN_FLAGS="--steps 100000" qsub -v WRN_FLAGS [options of qsub] launch/pbs.sh
#
# Run launch/setup once before. wrn-dist stops by itself before the time limit, when a checkpoint still fits.
# `qsig -s USR1 JOB`, or TERM at the time limit, requests a stop after a checkpoint as well; wrn-dist
# then exits with 75, and this script submits the run again with the same resources, queue, name and
# output directory (runs/pbs-RUN), where it resumes. It does not if three starts in a row have made no
# progress. Variables, which qsub -v must name:
#
#   WRN_FLAGS      flags of wrn-dist train, separated by blanks
#   WRN_RUN        the run's name (default: the number of its first job)
#   WRN_INTERFACE  the network between hosts, as 10.0.0.0/16 or eth0
#   WRN_ROOT       the repository, if the job is submitted from outside it
#   WRN_RESTARTS   starts after failures within the job, without progress (default: 10)
#   CIFAR10_DIR, WRN_ISA, OPENBLAS_CORETYPE, WRN_LEARNING_RATE, …   as for wrn-dist
#
#PBS -N wrn-dist
#PBS -l select=2:ncpus=8:mpiprocs=2
#PBS -l walltime=24:00:00
#PBS -r y
#PBS -j oe
set -euo pipefail

case ${1:-} in -h | --help) sed -n '2,${/^#PBS/q;/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac

# PBS runs a copy of this file, so its path may not be inside the repository.
find_root() {
  local candidate
  for candidate in "${WRN_ROOT:-}" "$(dirname -- "${BASH_SOURCE[0]}")/.." \
    "${PBS_O_WORKDIR:-}" "${PBS_O_WORKDIR:-}/.." "$PWD" "$(dirname -- "$(command -v wrn-dist)")/../share/wrn-dist"; do
    if [ -n "$candidate" ] && [ -r "$candidate/launch/common.sh" ]; then
      (cd -- "$candidate" && pwd)
      return
    fi
  done
  echo "pbs.sh: the repository is not found: submit from within it or set WRN_ROOT." >&2
  exit 69
}
root=$(find_root)
# For the next job: PBS runs a copy of this file in the home directory, from which this one calls qsub.
WRN_ROOT=$root
export WRN_ROOT
# An installation keeps runs in the working directory, and PBS starts jobs in the home directory.
case $root in */share/wrn-dist) cd -- "${PBS_O_WORKDIR:-.}" ;; esac
# shellcheck source=launch/common.sh
source "$root/launch/common.sh"

: "${PBS_JOBID:?is not set: submit this script with qsub}"
: "${PBS_NODEFILE:?is not set: submit this script with qsub}"
export WRN_RUN=${WRN_RUN:-${PBS_JOBID%%.*}}
say "Job $PBS_JOBID, run $WRN_RUN"

# PBS names a host once per slot. Open MPI gives a host without slots one slot per core, so the slots are
# written explicitly.
hostfile="$WORK/runs/pbs-$WRN_RUN.hosts"
mkdir -p -- "$WORK/runs"
host_slots "$PBS_NODEFILE" 1 | sed 's/ / slots=/' >"$hostfile"
options=(--hostfile "$hostfile")
if [ -n "${NCPUS:-}" ]; then options+=(--cores "$NCPUS"); fi
if [ -n "${WRN_INTERFACE:-}" ]; then options+=(--interface "$WRN_INTERFACE"); fi
options+=(--restarts "${WRN_RESTARTS:-10}")
read -r -a flags <<<"${WRN_FLAGS:-}"

# PBS does not name the end of the job in the environment: it is the walltime that is left now.
end_time() {
  qstat -f "$PBS_JOBID" 2>/dev/null | awk -v now="$(date +%s)" '
    function seconds(text, part, n, i, sum) {
      n = split(text, part, ":")
      for (i = 1; i <= n; i++) sum = 60 * sum + part[i]
      return sum
    }
    $1 == "Resource_List.walltime" { limit = seconds($3) }
    $1 == "resources_used.walltime" { used = seconds($3) }
    END { if (limit) print now + limit - used }'
}
WRN_END_TIME=${WRN_END_TIME:-$(end_time || true)}
export WRN_END_TIME

output=$(output_directory "${flags[@]}")
output=${output:-$WORK/runs/pbs-$WRN_RUN}
before=$(latest_checkpoint "$output")
status=0
run_stoppable 'USR1 TERM' "$root/launch/train" "${options[@]}" -- --output-dir "$output" --resume auto "${flags[@]}" ||
  status=$?

# Prints the options of qsub that give the next job the resources, queue, project, account and name of this one, one word per
# line. Long values are wrapped by qstat: a continued line starts with a tab.
job_options() {
  qstat -f "$PBS_JOBID" 2>/dev/null | awk '
    function flush() {
      if (match(text, / = /)) {
        key = substr(text, 1, RSTART - 1); value = substr(text, RSTART + 3)
        if (key ~ /^Resource_List\.(select|place|walltime|min_walltime|max_walltime)$/) {
          sub(/^Resource_List\./, "", key); print "-l"; print key "=" value
        } else if (key == "queue") { print "-q"; print value
        } else if (key == "project") { if (value != "_pbs_project_default") { print "-P"; print value }
        } else if (key == "Account_Name") { print "-A"; print value
        } else if (key == "Priority" && value != 0) { print "-p"; print value
        } else if (key == "Job_Name") { print "-N"; print value }
      }
      text = ""
    }
    /^\t/ { sub(/^\t/, ""); text = text $0; next }
    { flush(); sub(/^ +/, ""); text = $0 }
    END { flush() }'
}

say "wrn-dist exited with $status"
if [ "$status" -eq "$EXIT_REQUEUE" ] && may_requeue "$output" "$before"; then
  # Only these variables: the environment of a job may hold secrets, and values that are wrong in the next.
  variables=WRN_RUN
  for variable in WRN_FLAGS WRN_INTERFACE WRN_ROOT WRN_RESTARTS $(run_variables); do
    # The end of the next job is another one.
    if [ "$variable" != WRN_END_TIME ] && [ -n "${!variable:-}" ]; then variables+=,$variable; fi
  done
  mapfile -t resources < <(job_options)
  if [ ${#resources[@]} -eq 0 ]; then say "qstat does not say this job's resources: those of launch/pbs.sh apply"; fi
  say "Submitting run $WRN_RUN again"
  qsub -v "$variables" "${resources[@]}" "$root/launch/pbs.sh"
fi
exit "$status"
