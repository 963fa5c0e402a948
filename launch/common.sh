# Functions and constants of the scripts in this directory, which source it.
# shellcheck shell=bash

# shellcheck disable=SC2034  # the constants are for the scripts that source this file

# Exit codes, those of wrn-dist (sysexits.h).
readonly EXIT_USAGE=64 EXIT_BAD_DATA=65 EXIT_UNAVAILABLE=69 EXIT_CANNOT_CREATE=73 EXIT_REQUEUE=75
# The exit code of a command that USR1 has ended, because it came before the command's trap. The run can resume.
readonly ENDED_BY_USR1=$((128 + $(kill -l USR1)))

# The parent of this file's directory: the repository, or share/wrn-dist of an installation (launch/install).
#
# Data and runs are in WORK: the repository or, because an installation may be read-only, the working directory.
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if [[ $ROOT == */share/wrn-dist && ! -e $ROOT/Package.swift ]]; then
  WORK=$PWD PROGRAM=${ROOT%/share/wrn-dist}/bin/wrn-dist GET_MPI='install Open MPI or load its module'
else
  WORK=$ROOT PROGRAM=$ROOT/.build/release/wrn-dist GET_MPI="run $ROOT/launch/setup"
fi
readonly ROOT WORK PROGRAM GET_MPI

# Libraries that launch/pkg-config-files has described.
export PKG_CONFIG_PATH="$ROOT/.build/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"

say() { printf '%s\n' "==> $*"; }

# fail CODE MESSAGE: prints a message and exits.
fail() {
  printf '%s: %s\n' "$(basename -- "$0")" "$2" >&2
  exit "$1"
}

# Prints the comment at the top of the running script: the lines from the second one to the last comment line.
print_help() { sed -n '2,${/^#/!q;s/^# \{0,1\}//;p}' "${BASH_SOURCE[1]}"; }

# need_value OPTION REMAINING: refuses an option without a value.
need_value() { [ "$2" -ge 2 ] || fail "$EXIT_USAGE" "$1 needs a value; see --help."; }

# need_number OPTION VALUE: refuses a value that is not a positive number.
need_number() {
  [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || fail "$EXIT_USAGE" "$1 must be a positive number, not '$2'."
}

# packages KIND: prints the packages of a kind, "run" or "test", one per line.
packages() {
  if [ "$1" = test ]; then
    sed -n 's/#.*//; s/^test:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$ROOT/launch/packages"
  else
    sed 's/#.*//; /^test:/d; s/[[:space:]]//g; /^$/d' "$ROOT/launch/packages"
  fi
}

# Prints the number of physical cores (not hardware threads) that this process may use.
physical_cores() {
  local allowed
  allowed=$(nproc)
  if command -v lscpu >/dev/null; then
    local cores
    cores=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l) || cores=0
    if [ "$cores" -gt 0 ] && [ "$cores" -lt "$allowed" ]; then allowed=$cores; fi
  fi
  echo "$allowed"
}

# wait_for JOB: waits for a background job and returns its exit code.
#
# A trapped signal interrupts bash's wait. Traps set interrupted=yes, and the next wait then returns the job's code.
interrupted=no
wait_for() {
  local status
  while true; do
    interrupted=no
    status=0
    wait "$1" || status=$?
    [ "$interrupted" = yes ] || return "$status"
  done
}

# run_stoppable SIGNALS COMMAND…: runs a command, passes each of the signals on as USR1, and returns its exit code.
#
# USR1 requests a stop after a checkpoint. Afterwards the signals are ignored, so that the caller can start the run again.
run_stoppable() {
  local signals=() signal job='' requested=no status=0
  read -r -a signals <<<"$1"
  shift
  for signal in "${signals[@]}"; do
    # shellcheck disable=SC2064  # the name of this signal
    trap "request_stop $signal" "$signal"
  done
  "$@" &
  job=$!
  # A signal may come before the job's number is known.
  if [ "$requested" = yes ]; then kill -USR1 "$job" || true; fi
  wait_for "$job" || status=$?
  trap '' "${signals[@]}"
  if [ "$requested" = yes ] && [ "$status" -eq "$ENDED_BY_USR1" ]; then status=$EXIT_REQUEUE; fi
  return "$status"
}
# The variables are those of run_stoppable.
request_stop() {
  interrupted=yes requested=yes
  say "$1: requesting a stop after a checkpoint"
  if [ -n "$job" ]; then kill -USR1 "$job" || true; fi
}

# Prints the physical cores per task of a Slurm job. Slurm counts hardware threads, mpirun physical cores.
slurm_cores() {
  local threads_per_core cores
  threads_per_core=$(lscpu 2>/dev/null | sed -n 's/^Thread(s) per core: *//p') || threads_per_core=1
  cores=$((${SLURM_CPUS_PER_TASK:-1} / ${threads_per_core:-1}))
  echo "$((cores > 0 ? cores : 1))"
}

# Exports the end of a Slurm job as WRN_END_TIME. Slurm before version 23 does not name it in the environment.
export_slurm_end() {
  local end
  [ -z "${SLURM_JOB_END_TIME:-}${WRN_END_TIME:-}" ] || return 0
  # The ID of one task of an array also names the array.
  end=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format "%A %e" 2>/dev/null |
    awk -v job="$SLURM_JOB_ID" '$1 == job { print $2; exit }') || end=''
  # Without a limit it is a word, such as N/A.
  if [[ $end == [0-9]* ]]; then
    WRN_END_TIME=$(date -d "$end" +%s)
    export WRN_END_TIME
  fi
}

# Whether this system is Ubuntu.
is_ubuntu() { grep -qs '^ID=ubuntu' /etc/os-release; }

# Prints the directory usr of Swift's toolchain. The programs in PATH may be proxies of a toolchain manager.
toolchain_directory() {
  local directory
  directory=$(swiftc -print-target-info | sed -n 's,.*"runtimeResourcePath": *"\(.*\)/lib/swift".*,\1,p')
  [ -n "$directory" ] || fail "$EXIT_UNAVAILABLE" "swiftc does not name its directory: reinstall Swift 6.2 or newer."
  printf '%s\n' "$directory"
}

# Prints a command so that it can be pasted into a shell.
print_command() {
  local line
  printf -v line ' %q' "$@"
  printf '$%s\n' "$line"
}

# Open MPI refuses to run as root without these two variables. Containers and new cloud machines
# often have no other user.
allow_root() {
  [ "$(id -u)" -eq 0 ] || return 0
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  say "mpirun refuses to run as root by default:" \
    "setting OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 for this run."
}

# Prints the exported variables that decide what a run computes, one per line: those of wrn-dist, and where its data are.
#
# mpirun and qsub pass on only the variables that they are told. Those of these scripts and of their tests stay here.
run_variables() {
  local variable
  for variable in CIFAR10_DIR CIFAR100_DIR $(compgen -e WRN_ || true) OPENBLAS_CORETYPE; do
    case $variable in
      WRN_FLAGS | WRN_INTERFACE | WRN_RESTARTS | WRN_RESTART_SECONDS | WRN_ROOT | WRN_RUN | WRN_SKIP_BUILD) ;;
      WRN_FUZZ | WRN_SANITIZE | WRN_WARNINGS_AS_ERRORS) ;;
      *) if [ -n "${!variable:-}" ]; then echo "$variable"; fi ;;
    esac
  done
}

# host_slots FILE SLOTS: prints "HOST SLOTS" for every host of an Open MPI host file, in the order of
# first appearance.
#
# Slots of lines that name the same host add up, also one per line in a PBS node file. A host named once
# without slots= gets SLOTS. The program's parser accepts more formats; tests compare both.
host_slots() {
  sed 's/#.*//; s,//.*,,; s/[[:space:]]*=[[:space:]]*/=/g' -- "$1" | awk -v slots="$2" '
    NF { host = tolower($1)
         if (!(host in name)) { name[host] = $1; order[++hosts] = host }
         n = 0
         for (i = 2; i <= NF; i++) if (split($i, pair, "=") == 2 && pair[1] ~ /^(slots|cpu|count)$/) n = pair[2]
         if (NF == 1) bare[host]++; else count[host] += n }
    END { for (i = 1; i <= hosts; i++) {
            host = order[i]
            print name[host], count[host] ? count[host] : (bare[host] > 1 ? bare[host] : slots) } }'
}

# output_directory FLAGS…: prints the value of the last --output-dir among flags of wrn-dist, or nothing.
output_directory() {
  local found=''
  while [ $# -gt 0 ]; do
    case $1 in
      --output-dir) found=${2:-} ;;
      --output-dir=*) found=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$found"
}

# latest_checkpoint DIRECTORY: prints the name of the checkpoint from which a run would resume, or nothing.
latest_checkpoint() { cat -- "$1/checkpoints/latest" 2>/dev/null || true; }

# may_requeue DIRECTORY CHECKPOINT: whether a run that stopped on request should be started again.
#
# CHECKPOINT is the one from which this start resumed. A run that is stopped before it writes a new one makes no progress. It may
# be started again three times in a row; then something else is wrong, such as a time limit that is too short.
may_requeue() {
  local file="$1/starts-without-progress" count
  if [ "$(latest_checkpoint "$1")" != "$2" ]; then
    rm -f -- "$file"
    return 0
  fi
  count=$(cat -- "$file" 2>/dev/null) || count=0
  [[ $count =~ ^[0-9]+$ ]] || count=0
  count=$((count + 1))
  mkdir -p -- "$1" && echo "$count" >"$file"
  [ "$count" -le 3 ] && return 0
  say "$1 has made no progress in $count starts; it is not started again. Is the time limit too short?"
  return 1
}
