#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the firmware builds on this machine (firmware.asm), with and without ACPI, the end by APM, and the ways to reset
# (resets.asm), in counted time. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

boot() { # argument...: status; the lines of the serial port in "$work/serial"
  timeout 100 "$BUILD/dragoman" -accel "$engine" -icount shift=3 -display none -monitor none -m 32 -boot a \
    -serial "file:$work/raw" "$@" </dev/null >"$work/errors" 2>&1
  status=$?
  tr -d '\r' <"$work/raw" >"$work/serial"
}

# check WHAT WANTED-STATUS LINE...: each line must be there, and none that ends in "no" but those of $absent.
check() {
  what=$1
  bad=
  [ "$status" -eq "$2" ] || bad="status $status, not $2"
  shift 2
  for line in "$@"; do
    grep -qxF "$line" "$work/serial" || bad="$bad; no '$line'"
  done
  for line in $absent; do
    grep -q "^$line ok" "$work/serial" && bad="$bad; '$line' is there"
  done
  others=$(grep ' no$' "$work/serial" | grep -vxE "($(echo "$absent" | tr ' ' '|')) no")
  if [ -z "$bad$others" ]; then
    passed=$((passed + 1))
  else
    echo "FAILED: $what under $engine: $bad $others"
    sed 's/^/  | /' "$work/serial" "$work/errors"
    failed=$((failed + 1))
  fi
}

tables='$PIR ok
_MP_ ok
PCMP ok
_SM_ ok
SMBIOS structures ok
$PnP ok
_32_ ok
debug port ok
POST port ok
ELCR ok
PIRQ ok
APM ok
APM idle ok'

for engine in interp tlb window; do
  set -f
  absent='S3 S4'
  boot -fda "$BUILD/tests/boot/firmware.bin"
  IFS='
'
  # shellcheck disable=SC2086
  set -- $tables 'RSD PTR  ok' 'RSDT ok' 'FACP ok' 'DSDT ok' 'FACS ok' 'SCI 9 ok' 'S5 ok' 'APIC ok' 'PM timer ok'
  unset IFS
  check "tables" 0 "$@"
  absent='RSD FACP'
  boot -machine pc,acpi=off -fda "$BUILD/tests/boot/firmware.bin"
  IFS='
'
  # shellcheck disable=SC2086
  set -- $tables
  unset IFS
  check "tables without ACPI" 0 "$@"
  absent=none
  boot -fda "$BUILD/tests/boot/resets.bin" -device isa-debug-exit,iobase=0xf4,iosize=1
  check "resets" 43
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
