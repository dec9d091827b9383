#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Both engines over the firmware and a disk image, in counted time: every interrupt and exception must come at the same
# instruction count with the same registers. $1: an image (default: what the emulator starts by itself).
set -u
: "${SRC:?}" "${BUILD:?}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
seconds=${LOCKSTEP_SECONDS:-6}
[ $# -gt 0 ] && set -- -fda "$1" -snapshot

for engine in interp tlb; do
  (sleep "$seconds"; echo quit) | timeout $((seconds + 20)) "$BUILD/dragoman" -accel $engine -icount on -display none \
    -monitor stdio -serial none -d int -D "$dir/$engine" "$@" >/dev/null 2>&1
done
# The slower engine is cut off earlier; its last line may be incomplete.
count=$(cat "$dir/interp" "$dir/tlb" | wc -l)
for engine in interp tlb; do
  n=$(($(wc -l <"$dir/$engine") - 1))
  [ "$n" -lt "$count" ] && count=$n
done
for engine in interp tlb; do
  head -n "$count" "$dir/$engine" >"$dir/$engine.cut"
done
echo "$count events"
if [ "$count" -lt 1000 ]; then
  echo "too few events to compare"
  echo "0 passed, 1 failed"
  exit 1
fi
if cmp -s "$dir/interp.cut" "$dir/tlb.cut"; then
  echo "1 passed, 0 failed"
else
  diff "$dir/interp.cut" "$dir/tlb.cut" | head -6
  echo "0 passed, 1 failed"
  exit 1
fi
