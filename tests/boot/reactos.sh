#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boots ReactOS, the free NT-compatible system, if somebody has its images: REACTOS_LIVECD names a live CD, which must
# reach its desktop, where the pointer follows the mouse and the keyboard opens the start menu; REACTOS_BOOTCD a boot
# CD, which must install itself, typed at through the monitor, onto an empty disk, reboot from it, go through its
# second stage and reach the desktop. Without images nothing is tested, and said. The desktop is known by its looks: at
# least four tenths of the screen in the background's blue, over a bar in the grey of its buttons. ENGINES names the
# engines (default "window"); the screens are left in $BUILD/check-output. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
livecd=${REACTOS_LIVECD:-}
bootcd=${REACTOS_BOOTCD:-}
if [ -z "$livecd$bootcd" ]; then
  echo "skipped: neither REACTOS_LIVECD nor REACTOS_BOOTCD is set"
  echo "0 passed, 0 failed"
  exit 0
fi
build=$(cd "$BUILD" && pwd)
[ -n "$livecd" ] && livecd=$(realpath "$livecd")
[ -n "$bootcd" ] && bootcd=$(realpath "$bootcd")
engines=${ENGINES:-window}
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$build/check-output"
cd "$work" || exit 1
passed=0
failed=0

# --- machines ----------------------------------------------------------------------------------------

ask() { # the answer of the monitor to one command
  printf '%s\n' "$1" | timeout 10 socat -t 2 - UNIX-CONNECT:monitor 2>/dev/null
}

start() { # argument...
  rm -f monitor
  "$build/dragoman" -accel "$engine" -m 256 -display none -monitor unix:monitor,server,nowait "$@" >errors 2>&1 &
  machine=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S monitor ] && return
    sleep 0.2
  done
}

stop() {
  ask quit >/dev/null
  wait "$machine" 2>/dev/null
  machine=
}

verdict() { # NAME RESULT
  ask "screendump $build/check-output/$1-$engine.png" >/dev/null
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1 under $engine; see check-output/$1-$engine.png"
    sed 's/^/  | /' errors
  fi
}

# --- screens -----------------------------------------------------------------------------------------

picture() { # FILE.ppm
  rm -f "$1"
  ask "screendump $1" >/dev/null
  [ -s "$1" ]
}

# The desktop's blue on four tenths of the screen, and the task bar's grey on half of its 20 last lines.
desktop() {
  picture picture.ppm || return 1
  width=$(sed -n 2p picture.ppm | cut -d ' ' -f 1)
  height=$(sed -n 2p picture.ppm | cut -d ' ' -f 2)
  tail -n +4 picture.ppm | od -An -v -t x1 -w3 >pixels
  [ "$(grep -c '^ 3a 6e a5' pixels)" -ge $((width * height * 4 / 10)) ] &&
    [ "$(tail -n $((width * 20)) pixels | grep -c '^ d4 d0 c8')" -ge $((width * 10)) ]
}

# until_desktop SECONDS [KEYS]: typing KEYS, whenever the screen has stood still for two pictures or has not been still for
# five (a page with a clock), and is not yet the desktop, which gets a wizard's pages out of the way.
until_desktop() {
  end=$(($(date +%s) + $1))
  polls=0
  : >before.ppm
  while [ "$(date +%s)" -lt $end ]; do
    kill -0 "$machine" 2>/dev/null || return 1
    desktop && return 0
    polls=$((polls + 1))
    if [ -n "${2:-}" ] && { [ $polls -ge 5 ] || cmp -s picture.ppm before.ppm; }; then
      ask "type $2" >/dev/null
      polls=0
    fi
    mv picture.ppm before.ppm
    sleep 3
  done
  return 1
}

changed() { # is the picture another than before, after a while?
  sleep 3
  picture after.ppm && ! cmp -s picture.ppm after.ppm
}

# --- systems -----------------------------------------------------------------------------------------

# The pointer is seen where it was put, and Control-Escape opens the start menu.
alive() { # NAME
  for _ in 1 2 3 4 5 6 7 8 9 10; do ask 'mouse_move -200 -200' >/dev/null; done
  sleep 3
  desktop || return 1
  ask 'mouse_move 150 150' >/dev/null
  changed || { echo "FAILED: $1 under $engine: no pointer follows the mouse" && return 1; }
  mv after.ppm picture.ppm
  ask 'sendkey ctrl-esc' >/dev/null
  changed || { echo "FAILED: $1 under $engine: no start menu" && return 1; }
}

live() {
  start -snapshot -boot d -cdrom "$livecd"
  until_desktop 400 '\n' && alive reactos-live
  verdict reactos-live $?
  stop
}

# Every page of the text-mode setup says in its last line what ENTER does; the one that asks for a reboot is the last.
text_setup() {
  end=$(($(date +%s) + 900))
  : >seen
  while [ "$(date +%s)" -lt $end ]; do
    kill -0 "$machine" 2>/dev/null || return 1
    ask screentext >screen
    grep -q 'ENTER = Reboot' screen && ask 'sendkey ret' >/dev/null && return 0
    grep -qE 'ENTER = |ENTER=' screen && cmp -s screen seen && ask 'sendkey ret' >/dev/null
    mv screen seen
    sleep 2
  done
  return 1
}

# The disk comes first in the boot order, so the CD is booted only as long as the disk is empty.
install() {
  truncate -s 2G disk.img
  start -boot cd -hda disk.img -cdrom "$bootcd"
  text_setup && until_desktop 1800 'a\n' && alive reactos-installed
  verdict reactos-installed $?
  stop
  start -snapshot -hda disk.img
  until_desktop 400 '\n' && alive reactos-disk
  verdict reactos-disk $?
  stop
  rm -f disk.img
}

for engine in $engines; do
  [ -n "$livecd" ] && live
  [ -n "$bootcd" ] && install
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
