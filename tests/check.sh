#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The one test runner. Runs the steps given (paths below the source tree, or "unit" for the unit tests), each of which
# prints "N passed, N failed" as its last line, and ends with the sum in the same words. SRC and BUILD name the
# source and build directories; steps find the emulator at $BUILD/dragoman.
set -u
: "${SRC:?}" "${BUILD:?}"
export SRC BUILD
passed=0
failed=0
mkdir -p "$BUILD/check-output"

add() { # name log status
  line=$(tail -n 1 "$2")
  p=$(printf '%s\n' "$line" | sed -n 's/^\([0-9][0-9]*\) passed, [0-9][0-9]* failed$/\1/p')
  f=$(printf '%s\n' "$line" | sed -n 's/^[0-9][0-9]* passed, \([0-9][0-9]*\) failed$/\1/p')
  if [ -z "$p" ] || [ -z "$f" ]; then
    echo "$1: ended without a result (exit status $3)"
    p=0 f=1
  elif [ "$3" -ne 0 ] && [ "$f" -eq 0 ]; then
    echo "$1: exit status $3"
    f=1
  fi
  passed=$((passed + p))
  failed=$((failed + f))
}

for step in "$@"; do
  log=$BUILD/check-output/$(printf '%s' "$step" | tr / -).log
  echo "== $step"
  if [ "$step" = unit ]; then
    "$BUILD/unit-tests" >"$log" 2>&1
  else
    "$SRC/$step" >"$log" 2>&1
  fi
  status=$?
  cat "$log"
  add "$step" "$log" "$status"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
