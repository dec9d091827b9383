#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Coverage of the instruction table: runs the test classes that take seconds (those that run on the interpreter; the
# engines run the same programs) and reports the forms of instructions that none covers. With "all", every form and who
# covers it goes to coverage-insn.txt; VECTORS=FILE adds the captured vectors.
set -u
: "${SRC:?}" "${BUILD:?}"
out=$BUILD/check-output
mkdir -p "$out"
rm -f "$out"/cover-*
classes=

# cover CLASS COMMAND...
cover() {
  class=$1
  shift
  if ! INSN_COVERAGE=$out/cover-$class timeout 300 "$@" >"$out/cover-$class.log" 2>&1; then
    echo "$class failed:"
    tail -n 5 "$out/cover-$class.log"
    echo "0 passed, 1 failed"
    exit 1
  fi
  classes="$classes $class=$out/cover-$class"
}

guests() {
  set -- interp
  for source in "$SRC"/tests/cpu/guest/*.asm; do
    set -- "$@" "$source" "$BUILD/tests/cpu/guest/$(basename "$source" .asm).bin"
  done
  cover guest "$BUILD/guest-runner" "$@"
}

cover fuzzer "$BUILD/cpu-fuzzer" -r 60
if grep -q '^32-bit code cannot be run' "$out/cover-fuzzer.log"; then
  cat "$out/cover-fuzzer.log"
  exit 0
fi
guests
cover rules "$BUILD/rules" interp
cover unit "$BUILD/unit-tests" exception fpu interp paging segment sse task
if [ "${1:-}" = all ]; then
  cover lockstep "$BUILD/lockstep-random-run" 1 20000
  [ -z "${VECTORS:-}" ] || cover vectors "$BUILD/run-vectors" interp "$VECTORS"
  # shellcheck disable=SC2086
  "$BUILD/cover-report" -a $classes >"$out/coverage-insn.txt"
  echo "written: $out/coverage-insn.txt"
fi
# shellcheck disable=SC2086
"$BUILD/cover-report" $classes
