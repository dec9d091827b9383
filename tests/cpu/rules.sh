#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The architecture's rules (tests/cpu/rules) under each engine.
set -u
: "${BUILD:?}"
passed=0
failed=0
for engine in interp tlb,hot=on,verify=on window,hot=on,verify=on; do
  echo "$engine:"
  result=$(timeout 120 "$BUILD/rules" "$engine")
  printf '%s\n' "$result"
  p=$(printf '%s\n' "$result" | sed -n '$s/^\([0-9]*\) passed, [0-9]* failed$/\1/p')
  f=$(printf '%s\n' "$result" | sed -n '$s/^[0-9]* passed, \([0-9]*\) failed$/\1/p')
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-1}))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
