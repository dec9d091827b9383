#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Our DOS programs in tests/boot/dos/ under FreeDOS, from $DRAGOMAN_GUESTS/freedos-1.4MB.img (not in Debian; without it
# nothing is tested, and that is said): mode X and VESA on both display adapters, every pixel of the picture compared
# with the formula in the program. ENGINES names the engines (default "window"). Prints "N passed, N failed".
set -u
: "${BUILD:?}" "${SRC:?}"
image=${DRAGOMAN_GUESTS:-}/freedos-1.4MB.img
if [ ! -e "$image" ]; then
  echo "skipped: DRAGOMAN_GUESTS names no directory with freedos-1.4MB.img"
  echo "0 passed, 0 failed"
  exit 0
fi
build=$(cd "$BUILD" && pwd)
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$build/check-output"
cp "$image" "$work/dos.img"
mcopy -o -i "$work/dos.img" "$build/tests/boot/dos/modex.bin" ::MODEX.COM || exit 1
mcopy -o -i "$work/dos.img" "$build/tests/boot/dos/vesa.bin" ::VESA.COM || exit 1
cd "$work" || exit 1
passed=0
failed=0

ask() { # the answer of the monitor to one command
  printf '%s\n' "$1" | timeout 10 socat -t 2 - UNIX-CONNECT:monitor 2>/dev/null
}

at_prompt() {
  for _ in $(seq 60); do
    ask screentext | grep -qE '^A:.>[[:space:]]*$' && return 0
    sleep 1
  done
  return 1
}

# wrong_pixels WHICH: how many pixels of picture.ppm are not what the program drew; "size" if it has another size.
wrong_pixels() {
  head -n 2 picture.ppm | tail -n 1 | grep -qx '640 480' || { echo size && return; }
  tail -c 921600 picture.ppm | od -An -v -t u1 -w3 | awk -v which="$1" '
    function full(v) {return v * 4 + int(v / 16)} # six bits to eight
    function xor8(a, b,   r, p) {for (p = 1; p < 256; p *= 2) if (int(a / p) % 2 != int(b / p) % 2) r += p; return r + 0}
    BEGIN {
      for (i = 0; i < 256; i++)
        colour[i] = full(int(i / 4)) " " full(63 - int(i / 4)) " " full(int(i * 3 % 256 / 4))
      for (i = 0; i < 256; i++)
        for (j = 0; j < 256; j++)
          both[i, j] = which == "modex" ? xor8(i, j) : 0
    }
    {
      x = (NR - 1) % 640
      y = int((NR - 1) / 640)
      i = which == "modex" ? both[int(x / 2) % 256, int(y / 2)] : (x + y) % 256
      bad += ($1 " " $2 " " $3) != colour[i]
    }
    END {print bad + 0}'
}

program() { # NAME: run it, compare the picture, go back to DOS
  ask "type $1\\n" >/dev/null
  wrong=none
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    ask 'screendump picture.ppm' >/dev/null
    [ -s picture.ppm ] && wrong=$(wrong_pixels "$1")
    [ "$wrong" = 0 ] && break
  done
  ask "screendump $build/check-output/dos-$1-$vga-$engine.png" >/dev/null
  ask 'type x' >/dev/null
  if [ "$wrong" = 0 ] && at_prompt; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1 on $vga under $engine: wrong pixels: $wrong"
  fi
}

for engine in ${ENGINES:-window}; do
  for vga in std cirrus; do
    rm -f monitor
    "$build/dragoman" -accel "$engine" -m 32 -display none -boot a -snapshot -fda dos.img -vga $vga \
      -monitor unix:monitor,server,nowait >errors 2>&1 &
    machine=$!
    sleep 1
    if at_prompt; then
      program modex
      program vesa
    else
      failed=$((failed + 1))
      echo "FAILED: no prompt on $vga under $engine"
      cat errors
    fi
    ask quit >/dev/null
    wait "$machine"
    machine=
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
