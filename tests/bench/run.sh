#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Guest code's speed: builds the kernels once, links them into a native 32-bit program and into a bare-metal guest,
# runs both sides and prints a table (bench.c). SRC and BUILD name the source and build directories. Options, in the
# environment:
#   BENCH_FILTER=x87,fib       only kernels whose name or group contains one of these
#   BENCH_ENGINES="native dragoman qemu"   dragoman: its default engine; also: interp, tlb, anything -accel takes
#   BENCH_RUNS=3               alternating runs, of which the median counts (up to 15)
#   BENCH_TICKS=10             least time of each timed loop, in 10 ms of guest time
#   BENCH_QEMU=PROGRAM         instead of qemu-system-i386
set -eu
: "${SRC:?}" "${BUILD:?}"
here=$SRC/tests/bench
out=$BUILD/check-output/bench
cc=${CC:-$(sed -n 's/^CC = //p' "$BUILD/config.mak")}
mkdir -p "$out"

# No library, no position independence, nothing that a compiler adds for an operating system's sake.
flags="-m32 -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables
  -fcf-protection=none -fno-math-errno -fno-strict-aliasing -fno-tree-loop-distribute-patterns -march=pentium4
  -Wall -Wextra -Wmissing-prototypes -I$here"
x87="-mno-sse -mfpmath=387"
sse="-msse2 -mfpmath=sse"

compile() { # object source flags...
  object=$1 source=$2
  shift 2
  # shellcheck disable=SC2086
  $cc $flags "$@" -c -o "$out/$object" "$here/$source"
}

kernels=
for name in common integer crypto memory calls x87 selfmod segments; do
  # shellcheck disable=SC2086
  compile $name.o $name.c $x87
  kernels="$kernels $out/$name.o"
done
for name in simd strings; do
  # shellcheck disable=SC2086
  compile $name.o $name.c $sse
  kernels="$kernels $out/$name.o"
done
# shellcheck disable=SC2086
compile fp-x87.o fp.c $x87 -DBENCH_TABLE=bench_x87 '-DBENCH_UNIT="x87"'
# shellcheck disable=SC2086
compile fp-sse.o fp.c $sse -DBENCH_TABLE=bench_sse '-DBENCH_UNIT="sse"'
kernels="$kernels $out/fp-x87.o $out/fp-sse.o"
for name in guest events real; do
  # shellcheck disable=SC2086
  compile $name.o $name.c $x87
done
$cc -m32 -c -o "$out/boot.o" "$here/boot.S"
$cc -m32 -c -o "$out/real-asm.o" "$here/real.S"
# shellcheck disable=SC2086
"${LD:-ld}" -m elf_i386 --no-warn-rwx-segments -T "$here/guest.ld" -o "$out/guest.elf" \
  "$out/boot.o" "$out/guest.o" "$out/events.o" "$out/real.o" "$out/real-asm.o" $kernels

set -- -g "$out/guest.elf" -d "$BUILD/dragoman" -q "${BENCH_QEMU:-qemu-system-i386}" \
  -e "${BENCH_ENGINES:-native dragoman qemu}" -f "${BENCH_FILTER:-}" -r "${BENCH_RUNS:-3}" -t "${BENCH_TICKS:-10}"
# shellcheck disable=SC2086
if $cc -m32 -std=gnu11 -O2 -Wall -Wextra -no-pie "-I$here" -o "$out/native" "$here/native.c" $kernels \
  2>"$out/native.log"; then
  set -- -n "$out/native" "$@"
else
  echo "bench: $cc -m32 makes no programs here (install gcc-multilib): no native times"
fi
$cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$out/bench" "$here/bench.c" "$here/table.c" -lm
exec "$out/bench" "$@"
