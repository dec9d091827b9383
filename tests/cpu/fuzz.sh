#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The random instruction test under each engine, with fixed seeds: every form of every row alone, programs of one class
# of instructions, and programs of all; the confinement checker looks at what is translated. FUZZ_ENGINES, FUZZ_CASES and
# FUZZ_SEED choose others; with FUZZ_CASES, only programs of all are run, that many, unchecked.
set -u
: "${BUILD:?}"
passed=0
failed=0
mkdir -p "$BUILD/check-output"

# fuzz ENGINE NAME OPTION...
fuzz() {
  engine=$1
  log=$BUILD/check-output/fuzz-$1-$2.log
  shift 2
  "$BUILD/cpu-fuzzer" -e "$engine" "$@" >"$log" 2>&1
  status=$?
  echo "$engine $*:"
  cat "$log"
  if grep -q '^32-bit code cannot be run' "$log"; then
    return # neither: there is nothing to compare with
  elif [ "$status" -eq 0 ] && tail -n 1 "$log" | grep -q '^[1-9][0-9]* passed, 0 failed$'; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
}

checked=,verify=on
[ -z "${FUZZ_CASES:-}" ] || checked=
for engine in ${FUZZ_ENGINES:-interp tlb,hot=on$checked window,hot=on$checked}; do
  if [ -n "${FUZZ_CASES:-}" ]; then
    fuzz "$engine" all -n "$FUZZ_CASES" -s "${FUZZ_SEED:-1}"
    continue
  fi
  fuzz "$engine" forms -r 3
  for class in int fpu mmx sse; do
    fuzz "$engine" $class -c $class -n 10000
  done
  fuzz "$engine" all -n 20000 -l 16 -k 3
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
