#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Whole machines saved and loaded at random points of a run (snapshot.c), and machines in forked processes (fork.c): the
# demo disk with sound, network and USB under all engines; with "all" also the systems that are there (as for boots.sh), for minutes. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
guests=${DRAGOMAN_GUESTS:-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
TMPDIR=$work
export TMPDIR
passed=0
failed=0

snapshots() { # NAME ENGINE OTHER argument...
  name=$1 engine=$2 other=$3
  shift 3
  timeout 900 "$build/snapshot-check" -engine "$engine" -other "$other" "$@" >"$work/log" 2>&1
  line=$(tail -n 1 "$work/log")
  p=$(printf '%s\n' "$line" | sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p')
  f=$(printf '%s\n' "$line" | sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p')
  echo "$name, $engine to $other: $line"
  [ "${f:-1}" -eq 0 ] || sed 's/^/  | /' "$work/log"
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-1}))
}

short="-rounds 4 -first 20000 -gap 6000000 -after 1500000"
snapshots "demo disk" interp window $short -device sb16 -nic none -device pcnet -usb -device usb-tablet
snapshots "demo disk" window,hot=on tlb $short -device AC97 -device ES1370 -nic none -device ne2k_pci -usb -device usb-kbd
snapshots "demo disk" tlb,hot=on interp $short -vga cirrus -device adlib -nic none -device ne2k_isa -usb -device usb-hub

forks() { # NAME ENGINE argument...
  name=$1 engine=$2
  shift 2
  timeout 900 "$build/fork-check" -engine "$engine" "$@" >"$work/log" 2>&1
  line=$(tail -n 1 "$work/log")
  p=$(printf '%s\n' "$line" | sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p')
  f=$(printf '%s\n' "$line" | sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p')
  echo "$name, forked under $engine: $line"
  [ "${f:-1}" -eq 0 ] || sed 's/^/  | /' "$work/log"
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-1}))
}

forks "demo disk" tlb,hot=on -first 20000000 -after 5000000 -children 3
forks "demo disk" window,hot=on -first 20000000 -after 5000000 -children 3 -usb

if [ "${1:-}" = all ]; then
  long="-rounds 10 -first 30000000 -gap 200000000 -after 20000000"
  for image in freedos-1.4MB.img kolibri.img mikeos.flp; do
    [ -e "$guests/$image" ] || { echo "skipped: no $image"; continue; }
    snapshots "$image" window window $long -fda "$guests/$image" -device sb16 -usb -device usb-mouse
    forks "$image" window -first 200000000 -after 60000000 -children 6 -fda "$guests/$image"
    snapshots "$image" tlb window $long -fda "$guests/$image" -device ES1370 -usb -device usb-tablet
  done
  kernel=$(find "$cache"/linux-image-[0-9]*/boot -name 'vmlinuz*' 2>/dev/null | head -n 1)
  if [ -n "$kernel" ]; then
    snapshots Linux window tlb $long -m 128 -kernel "$kernel" -append "console=ttyS0 panic=-1" -device AC97 -usb
    snapshots Linux tlb window $long -m 128 -kernel "$kernel" -append "panic=-1" -vga cirrus -usb
  else
    echo "skipped: no Linux kernel in $cache"
  fi
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
