#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest programs of tests/cpu/guest under each engine; run_guest.c says how they report.
set -u
: "${SRC:?}" "${BUILD:?}"
passed=0
failed=0
for engine in interp tlb,hot=on,verify=on window,hot=on,verify=on; do
  set -- "$engine"
  for source in "$SRC"/tests/cpu/guest/*.asm; do
    set -- "$@" "$source" "$BUILD/tests/cpu/guest/$(basename "$source" .asm).bin"
  done
  echo "$engine:"
  result=$(timeout 120 "$BUILD/guest-runner" "$@")
  printf '%s\n' "$result"
  p=$(printf '%s\n' "$result" | sed -n '$s/^\([0-9]*\) passed, [0-9]* failed$/\1/p')
  f=$(printf '%s\n' "$result" | sed -n '$s/^[0-9]* passed, \([0-9]*\) failed$/\1/p')
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-1}))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
