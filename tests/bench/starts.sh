#!/bin/sh
# SPDX-License-Identifier: MIT
#
# How much CPU time systems take from power-on until they can be used: FreeDOS until its prompt, KolibriOS until its
# desktop is drawn, from images in the directory $GUESTS; those that aren't there are left out. The screen is looked at
# through the monitor, every fifth of a second. Called by linux.sh; SRC, BUILD and
# BENCH_* as there. The times are medians of BENCH_RUNS alternating runs, user and system.
set -u
: "${BUILD:?}" "${GUESTS:?}"
build=$(cd "$BUILD" && pwd)
guests=$(cd "$GUESTS" && pwd)
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

ask() { # COMMAND...: the monitor's answer
  printf '%s\n' "$@" | timeout 10 socat -t 1 - UNIX-CONNECT:monitor 2>/dev/null
}

start() { # ENGINE argument...
  engine=$1
  shift
  case $engine in
    qemu) set -- "${BENCH_QEMU:-qemu-system-i386}" -accel tcg "$@" ;;
    dragoman) set -- "$build/dragoman" "$@" ;;
    *) set -- "$build/dragoman" -accel "$engine" "$@" ;;
  esac
  rm -f monitor picture.ppm
  "$@" -display none -serial none -snapshot -boot a -monitor unix:monitor,server,nowait >errors 2>&1 &
  machine=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S monitor ] && return
    sleep 0.1
  done
}

cpu_time() { awk '{sub(/.*\) /, ""); print ($12 + $13) / 100}' "/proc/$machine/stat"; }

# "A:\>" on the text screen; QEMU has no screentext, but lets us read video memory: characters and attributes.
at_prompt() {
  ask screentext 'xp/2000hx 0xb8000' | tr -d '\r' >screen
  grep -q '^A:.>' screen && return
  sed -n 's/^[0-9a-f]*: *0x/0x/p' screen | tr -s ' ' '\n' | sed 's/^0x..//' | tr -d '\n' | grep -q '413a5c3e'
}

# A picture in many colours, most of whose lines differ.
at_desktop() {
  ask 'screendump picture.ppm' >/dev/null
  [ -s picture.ppm ] || return 1
  width=$(head -n 2 picture.ppm | tail -n 1 | cut -d ' ' -f 1)
  [ "$(tail -n +4 picture.ppm | od -An -v -t x1 -w$((width * 3)) | sort -u | wc -l)" -ge 300 ] &&
    [ "$(tail -n +4 picture.ppm | od -An -v -t x1 -w3 | sort -u | wc -l)" -ge 30 ]
}

measure() { # CONDITION ENGINE argument...: seconds, or "-"
  condition=$1
  shift
  start "$@"
  end=$(($(date +%s) + 120))
  used=-
  while [ "$(date +%s)" -lt $end ] && kill -0 "$machine" 2>/dev/null; do
    before=$(cpu_time)
    if $condition; then
      used=$before
      break
    fi
    sleep 0.2
  done
  kill "$machine" 2>/dev/null
  wait "$machine" 2>/dev/null
  machine=
  echo "$used"
}

system() { # NAME IMAGE CONDITION argument...
  name=$1 image=$guests/$2 condition=$3
  shift 3
  [ -e "$image" ] || return
  : >samples
  run=0
  while [ $run -lt "${BENCH_RUNS:-3}" ]; do
    for engine in ${BENCH_ENGINES:-dragoman qemu}; do
      [ "$engine" = native ] || echo "$engine $(measure "$condition" "$engine" -fda "$image" "$@")" >>samples
    done
    run=$((run + 1))
  done
  for engine in ${BENCH_ENGINES:-dragoman qemu}; do
    [ "$engine" = native ] && continue
    sed -n "s/^$engine //p" samples | sort -n | awk -v name="$name" -v engine="$engine" '
      {v[NR] = $1}
      END {printf "%-24s %-10s %6s s of CPU time (%s to %s)\n", name, engine, v[int((NR + 1) / 2)], v[1], v[NR]}'
  done
}

system freedos-prompt freedos-1.4MB.img at_prompt -m 32
system kolibrios-desktop kolibri.img at_desktop -m 128
