# Shared by the scripts in this folder; not run by itself.
# shellcheck shell=bash

# shellcheck disable=SC2034  # the constants are for the scripts that source this file

# Exit codes, those of wrn-dist (sysexits.h).
readonly EXIT_USAGE=64 EXIT_BAD_DATA=65 EXIT_UNAVAILABLE=69 EXIT_CANNOT_CREATE=73 EXIT_REQUEUE=75

# The repository's root: the folder above the one that holds this file.
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PROGRAM="$ROOT/.build/release/wrn-dist"

say() { printf '%s\n' "==> $*"; }

# fail CODE SENTENCE
fail() {
  printf '%s: %s\n' "$(basename -- "$0")" "$2" >&2
  exit "$1"
}

# The comment at the top of the running script is its help: all lines after the first line until
# the first that is no comment.
print_help() { sed -n '2,${/^#/!q;s/^# \{0,1\}//;p}' "${BASH_SOURCE[1]}"; }

# need_value OPTION REMAINING: refuses an option at the end of the line.
need_value() { [ "$2" -ge 2 ] || fail "$EXIT_USAGE" "$1 needs a value; see --help."; }

# need_number OPTION VALUE
need_number() {
  [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || fail "$EXIT_USAGE" "$1 must be a positive number, not '$2'."
}

# Prints the packages of one kind, "run" or "test", one a line.
packages() {
  if [ "$1" = test ]; then
    sed -n 's/#.*//; s/^test:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$ROOT/launch/packages"
  else
    sed 's/#.*//; /^test:/d; s/[[:space:]]//g; /^$/d' "$ROOT/launch/packages"
  fi
}

# Prints the number of whole cores (not hardware threads) that this process may use.
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
# A trapped signal ends bash's wait. Traps set interrupted=yes; the code of the job then comes from the next wait.
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

# Prints a command so that it can be pasted into a shell.
print_command() {
  local line
  printf -v line ' %q' "$@"
  printf '$%s\n' "$line"
}

# Open MPI refuses to run as root without these two variables. Containers and fresh cloud machines
# have no other user.
allow_root() {
  [ "$(id -u)" -eq 0 ] || return 0
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  say "You are root, which mpirun refuses by default:" \
    "setting OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 for this run."
}
