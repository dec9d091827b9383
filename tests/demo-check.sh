#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The built-in demo disk under each engine, headless: every test on it passes and none is skipped, every
# screen gives a screenshot, and it powers off by ACPI. As a floppy too (which has no ATA disk to test).
# Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
src=$(cd "$SRC" && pwd)
output=$build/check-output
passed=0
failed=0

ok() { # WHAT COMMAND...
  what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "FAILED: $name: $what"
    failed=$((failed + 1))
  fi
}

# lines COUNT PATTERN: the report has that many such lines
lines() { [ "$(grep -c "$2" "$report")" -eq "$1" ]; }
last_line() { [ "$(tail -n 1 "$report")" = "$1" ]; }
screenshots() { [ "$(find "$output/$name" -name '*.png' -size +1k | wc -l)" -eq "$1" ]; }
differ() { ! cmp -s "$output/$name/$1" "$output/$name/$2"; }

# demo NAME PASSED SKIPPED OPTION...
demo() {
  name=$1 count=$2 skipped=$3
  shift 3
  report=$output/$name/report.txt
  rm -rf "${output:?}/$name"
  mkdir -p "$output/$name"
  DEMO_HEADLESS=1 DEMO_OUTPUT=$output/$name DEMO_PATIENCE=120 BUILD=$build "$src/tests/demo.sh" "$@" \
    >"$output/$name.out" 2>&1
  status=$?
  ok "exit status $status" [ $status -eq 0 ]
  ok "not $count tests passed" lines "$count" '^PASS '
  ok "not $skipped tests skipped" lines "$skipped" '^SKIP '
  ok "tests failed" lines 0 '^FAIL '
  ok "the last line is no summary" last_line "demo: $count passed, 0 failed"
  ok "keyboard" lines 1 "^PASS keyboard: 'Dragoman', 9 pressed"
  ok "screens" lines 7 '^demo: screen '
  ok "not 9 screenshots" screenshots 9
  ok "the plasma is not on the screen" differ 8-report.png 9-plasma.png
  if [ $failed -ne 0 ]; then
    sed 's/^/  | /' "$report" "$output/$name.out"
  fi
}

demo demo-tlb 38 0 -accel tlb
demo demo-window 38 0 -accel window
demo demo-interp 38 0 -accel interp
demo demo-floppy 36 1 -fda "$build/roms/demo/demo.bin" -snapshot
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
