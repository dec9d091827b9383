#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A short run of the random instruction test in each class; the seeds are fixed. "make fuzz-cpu" runs longer ones.
set -u
passed=0
failed=0
for class in int fpu mmx sse; do
  "$BUILD/cpu-fuzzer" -c $class -n 10000 >"$BUILD/check-output/fuzz-$class.log" 2>&1
  cat "$BUILD/check-output/fuzz-$class.log"
  if tail -n 1 "$BUILD/check-output/fuzz-$class.log" | grep -q ' passed, 0 failed$'; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
