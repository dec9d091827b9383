#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Random code under interpreter and translator (random.c), with a fixed seed; LOCKSTEP_SEED and LOCKSTEP_CASES choose
# others.
set -u
: "${BUILD:?}"
passed=0
failed=0
for engine in tlb,hot=on,verify=on window,hot=on,verify=on; do
  result=$("$BUILD/lockstep-random-run" "${LOCKSTEP_SEED:-1}" "${LOCKSTEP_CASES:-2000}" "$engine")
  printf "%s:\n%s\n" "$engine" "$result"
  p=$(printf "%s\n" "$result" | sed -n "\$s/^\([0-9]*\) passed, [0-9]* failed$/\1/p")
  f=$(printf "%s\n" "$result" | sed -n "\$s/^[0-9]* passed, \([0-9]*\) failed$/\1/p")
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-1}))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
