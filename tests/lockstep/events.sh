#!/bin/sh
# SPDX-License-Identifier: MIT
#
# All engines over the firmware and a disk image, in counted time: every interrupt and exception must come at the same
# instruction count with the same registers. $1: an image (default: what the emulator starts by itself).
set -u
: "${SRC:?}" "${BUILD:?}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
seconds=${LOCKSTEP_SECONDS:-6}
[ $# -gt 0 ] && set -- -fda "$1" -snapshot

for engine in interp tlb window; do
  (sleep "$seconds"; echo quit) | timeout $((seconds + 20)) "$BUILD/dragoman" -accel $engine -icount on -display none \
    -monitor stdio -serial none -d int -D "$dir/$engine" "$@" >/dev/null 2>&1
done
# The slower engine is cut off earlier; its last line may be incomplete.
count=$(cat "$dir/interp" "$dir/tlb" "$dir/window" | wc -l)
for engine in interp tlb window; do
  n=$(($(wc -l <"$dir/$engine") - 1))
  [ "$n" -lt "$count" ] && count=$n
done
for engine in interp tlb window; do
  head -n "$count" "$dir/$engine" >"$dir/$engine.cut"
done
echo "$count events"
if [ "$count" -lt 1000 ]; then
  echo "too few events to compare"
  echo "0 passed, 1 failed"
  exit 1
fi
passed=0
failed=0
for engine in tlb window; do
  if cmp -s "$dir/interp.cut" "$dir/$engine.cut"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    diff "$dir/interp.cut" "$dir/$engine.cut" | head -6
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
