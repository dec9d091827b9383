#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Counted mode: runs that get the same input at the same guest time execute the same number of instructions, end
# with the same registers and show the same picture, whichever engine runs them. Ends with "N passed, N failed".
set -u
: "${BUILD:?}"
dragoman=$(cd "$BUILD" && pwd)/dragoman
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0
truncate -s 1440K floppy.img

# run NAME ENGINE SECONDS option...: registers and count in NAME.state, picture in NAME.ppm
run() {
  name=$1 engine=$2 seconds=$3
  shift 3
  {
    echo "at 1.2 sendkey esc"
    echo "at 1.7 type 1\\n"
    echo "at $seconds screendump $name.ppm"
    echo "at $seconds info registers"
    echo "at $seconds info cpus"
    echo "at $seconds quit"
    echo cont
  } | timeout 120 "$dragoman" -S -icount on -display none -accel "$engine" -snapshot -monitor stdio "$@" \
    >"$name.out" 2>&1
  status=$?
  grep -E '^(E[A-Z]+=|[A-Z]{2} =|CR0|XMM|\* CPU)' "$name.out" >"$name.state"
  if [ $status -ne 0 ] || [ ! -s "$name.ppm" ] || ! grep -q 'instructions=' "$name.state"; then
    failed=$((failed + 1))
    echo "FAILED: $name: status $status"
    tail -n 5 "$name.out" | sed 's/^/  | /'
  fi
}

same() { # first second
  if cmp -s "$1.state" "$2.state" && cmp -s "$1.ppm" "$2.ppm"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1 and $2 differ"
    diff "$1.state" "$2.state" | sed 's/^/  | /'
  fi
}

run bios-tlb tlb 3 -fda floppy.img -boot menu=on
run bios-again tlb 3 -fda floppy.img -boot menu=on
run bios-interp interp 3 -fda floppy.img -boot menu=on
same bios-tlb bios-again
same bios-tlb bios-interp
run demo-tlb tlb 5
run demo-window window 5
run demo-again window 5
run demo-interp interp 5
same demo-window demo-again
same demo-window demo-tlb
same demo-window demo-interp

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
