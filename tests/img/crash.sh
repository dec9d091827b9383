#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Writers of images, killed, with a full disk or not (tests/img/crash.c). POINTS (30) kills for each format; qcow2 gets
# twice as many. SEED chooses others. Prints "N passed, N failed".
set -u
. "$SRC/tests/img/common.sh"
for format in qcow2 vmdk vdi vpc raw; do
  points=${POINTS:-30}
  [ -n "${POINTS:-}" ] || [ $format != qcow2 ] || points=$((points * 2))
  "$build/img-crash" $format "$points" "${SEED:-1}" "$work" qemu-img
  check "$format: killed $points times" $?
done
finish
