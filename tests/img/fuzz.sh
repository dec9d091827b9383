#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Damaged images of every format (tests/img/fuzz.c, fuzz_qcow2.c): N (4000) changes each, from SEED on. Prints "N passed, N failed".
# make fuzz-images does many more, with the compiler's checks.
set -u
: "${SRC:?}" "${BUILD:?}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0
for format in ${FORMATS:-qcow2 vmdk vdi vpc vhdx}; do
  if "$BUILD/img-fuzz" "$format" "${N:-4000}" "${SEED:-1}" "$work" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    [ -z "${N:-}" ] || cat "$work/log"
  else
    failed=$((failed + 1))
    tail -n 40 "$work/log"
  fi
  [ "$format" = qcow2 ] || continue
  if "$BUILD/img-fuzz-qcow2" "${N:-4000}" "${SEED:-1}" "$work" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    [ -z "${N:-}" ] || grep -v warning "$work/log"
  else
    failed=$((failed + 1))
    tail -n 40 "$work/log"
  fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
