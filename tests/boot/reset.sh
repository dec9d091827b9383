#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The processor's reset line (reset.asm): it comes back with memory and FPU as they were.
# Prints "N passed, N failed".
set -u
: "${BUILD:?}"
passed=0
failed=0
for engine in interp tlb window; do
  timeout 60 "$BUILD/dragoman" -accel "$engine" -display none -monitor none -serial none -no-reboot \
    -fda "$BUILD/tests/boot/reset.bin" -device isa-debug-exit,iobase=0xf4,iosize=1 </dev/null
  status=$?
  if [ "$status" -eq 11 ]; then
    passed=$((passed + 1))
  else
    echo "reset under $engine: status $status, not 11"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
