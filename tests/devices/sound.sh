#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A program for DOS (sound.asm) finds the sound cards and plays a tone by each of their ways; what it says and what can
# be heard (-audiodev wav, tests/boot/tones.c) must be right. In counted time, under each engine. With DRAGOMAN_GUESTS (see
# tests/boot/systems.sh) and mtools also under FreeDOS, from the prompt. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0

result() { # NAME STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
    sed 's/^/  | /' text heard errors
  fi
}

play() { # argument...: what the program says in the file text, and the sound in sound.wav
  rm -f sound.wav
  timeout 120 "$build/dragoman" -display none -monitor none -icount on -serial file:text -boot a \
    -fda "$build/tests/devices/soundboot.bin" -device isa-debug-exit,iobase=0xf4,iosize=1 \
    -audiodev wav,id=out,path=sound.wav "$@" >errors 2>&1
  status=$?
  tr -d '\r' <text >lines && mv lines text
}

# heard LEFT,RIGHT...: these sounds and no others, of about a second, without gaps. (Direct output is a staircase: 18 dB.)
heard() {
  "$build/sound-tones" sound.wav >heard
  awk -v wanted="$*" '
    function off(a, b) {return a > b ? a - b : b - a}
    BEGIN {n = split(wanted, want, " ")}
    {split(want[NR], hz, ",")
     if (off($3, hz[1]) > 0.05 || off($4, hz[2]) > 0.05 || $2 < 0.9 || $2 > 1.2 || $7 > -18 || $8 != 0) bad = 1}
    END {exit bad || NR != n}' heard
}
all_tones='440,440 440,880 500.5,500.5 600,600 700,700 900,300 800,1000'

for engine in interp tlb window; do
  play -accel $engine -device sb16,audiodev=out
  printf 'AdLib: OPL3\nDSP 4.05 at 220h\nIRQ 05\nDMA 1 and 5\ndone\n' >wanted
  # shellcheck disable=SC2086
  [ $status -eq 1 ] && cmp -s text wanted && heard $all_tones
  result "sb16 under $engine: status $status" $?
done
play -accel tlb -device sb16,irq=10,dma=3,hdma=7,version=0x40d
printf 'AdLib: OPL3\nDSP 4.13 at 220h\nIRQ 10\nDMA 3 and 7\ndone\n' >wanted
# shellcheck disable=SC2086
[ $status -eq 1 ] && cmp -s text wanted && heard $all_tones
result "sb16 with other lines: status $status" $?
play -device adlib
printf 'AdLib: OPL2\nno Sound Blaster at 220h\n' >wanted
[ $status -eq 3 ] && cmp -s text wanted && heard 440,440
result "adlib: status $status" $?

ask() { printf '%s\n' "$1" | timeout 10 socat -t 2 - UNIX-CONNECT:monitor 2>/dev/null; }

until_seen() { # SECONDS PATTERN, on the screen
  end=$(($(date +%s) + $1))
  while [ "$(date +%s)" -lt $end ]; do
    ask screentext >text
    grep -qE "$2" text && return 0
    sleep 1
  done
  return 1
}

freedos() {
  cp "$DRAGOMAN_GUESTS/freedos-1.4MB.img" floppy && mcopy -i floppy "$build/tests/devices/sound.bin" ::SOUND.COM || return 1
  rm -f sound.wav
  "$build/dragoman" -display none -monitor unix:monitor,server,nowait -icount on -boot a -fda floppy -device sb16 \
    -audiodev wav,path=sound.wav >errors 2>&1 &
  machine=$!
  until_seen 60 '^A:.>' && ask 'type sound\n' >/dev/null && until_seen 60 '^done'
  seen=$?
  ask quit >/dev/null
  wait $machine
  machine=
  # shellcheck disable=SC2086
  [ $seen -eq 0 ] && heard $all_tones
}

if [ -e "${DRAGOMAN_GUESTS:-}/freedos-1.4MB.img" ] && command -v mcopy >/dev/null && command -v socat >/dev/null; then
  freedos
  result "sb16 under FreeDOS" $?
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
