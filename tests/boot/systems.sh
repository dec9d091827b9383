#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boots real systems from Debian's packages and waits for what they say on the screen or the serial port: memtest86+,
# GRUB from floppy and CD, iPXE, Linux with a BusyBox shell, the Debian installer. The packages are fetched with
# apt-get into $BOOT_CACHE (default $BUILD/boot-cache), through a private apt state that leaves the host's alone; what
# cannot be fetched (170 MB in all) is skipped, and said; BOOT_SYSTEMS=no skips everything. ENGINES names the engines
# (default "window"). DRAGOMAN_GUESTS may name a directory with freedos-1.4MB.img, mikeos.flp and kolibri.img to boot too.
# Under the translator more than 99.9 % of the instructions must have run in translated code. Prints "N passed, N
# failed".
set -u
: "${BUILD:?}"
if [ "${BOOT_SYSTEMS:-yes}" = no ]; then
  echo "skipped: BOOT_SYSTEMS=no"
  echo "0 passed, 0 failed"
  exit 0
fi
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
engines=${ENGINES:-window}
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache" "$build/check-output"
cd "$work" || exit 1
passed=0
failed=0

. "${SRC:?}/tests/boot/packages.sh"

# --- machines ----------------------------------------------------------------------------------------

ask() { # the answer of the monitor to one command
  printf '%s\n' "$1" | timeout 10 socat -t 2 - UNIX-CONNECT:monitor 2>/dev/null
}

start() { # argument...
  rm -f monitor serial
  : >serial
  "$build/dragoman" -accel "$engine" -display none -monitor unix:monitor,server,nowait "$@" >errors 2>&1 &
  machine=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S monitor ] && return
    sleep 0.2
  done
}

# until_seen SECONDS PATTERN: on the text screen or the serial port.
until_seen() {
  end=$(($(date +%s) + $1))
  while [ "$(date +%s)" -lt $end ]; do
    kill -0 "$machine" 2>/dev/null || return 1
    ask screentext >screen
    grep -qE "$2" screen serial && return 0
    sleep 1
  done
  return 1
}

# Does the machine run, and in translated code? (What runs once or twice is interpreted: of a boot of a few million
# instructions that is some tenths of a percent.)
translated() { # NAME
  [ "$engine" != interp ] || return 0
  ask 'info jit' | tr -d '\r' | awk -v name="$1 under $engine" '
    $1 == "translated" {print name ": translated " $2 " %"; seen = 1; if ($2 > 99.5) good = 1}
    END {if (!good) print "FAILED: " name ": too little of it, or no answer"; exit !good}'
}

finish() { # NAME RESULT
  if [ "$2" -eq 0 ] && translated "$1"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1 under $engine; the screen:"
    sed 's/^/  | /' screen errors
    tail -n 5 serial | sed 's/^/  > /'
  fi
  ask "screendump $build/check-output/boot-$1-$engine.png" >/dev/null
  ask quit >/dev/null
  wait "$machine" 2>/dev/null
  machine=
}

boot() { # NAME SECONDS PATTERN argument...
  name=$1 seconds=$2 pattern=$3
  shift 3
  start "$@"
  until_seen "$seconds" "$pattern"
  finish "$name" $?
}

# --- systems -----------------------------------------------------------------------------------------

small_systems() {
  if fetch memtest86+; then
    boot memtest-kernel 60 'Moving inversions|Test #' -m 32 -kernel "$cache/memtest86+/boot/memtest86+ia32.bin"
    boot memtest-cd 60 'Moving inversions|Test #' -m 32 -boot d \
      -cdrom "$cache/memtest86+/usr/lib/memtest86+/memtest86+ia32.iso"
  else
    skip memtest86+
  fi
  if fetch grub-rescue-pc; then
    boot grub-floppy 60 'Memtest86' -boot a -fda "$cache/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-floppy.img"
    boot grub-cd 60 'Memtest86' -boot d -cdrom "$cache/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
  else
    skip grub-rescue-pc
  fi
  if fetch ipxe; then
    boot ipxe-cd 60 'Open Source Network Boot Firmware' -boot d -cdrom "$cache/ipxe/usr/lib/ipxe/ipxe.iso"
    boot ipxe-kernel 60 'Open Source Network Boot Firmware' -kernel "$cache/ipxe/boot/ipxe.lkrn"
  else
    skip ipxe
  fi
}

make_initramfs() { # FILE
  mkdir -p root/bin root/proc root/dev
  cp "$cache/busybox-static/bin/busybox" root/bin/
  cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo "shell on $(uname -m)"
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
END
  chmod +x root/init
  (cd root && find . | cpio -o -H newc) 2>/dev/null | gzip -1 >"$1"
}

# A shell on the serial line shows the processor, computes the digest of its own binary, and powers the machine off:
# the emulator ends with status 0.
linux() { # KERNEL
  make_initramfs initramfs
  digest=$(sha256sum <"$cache/busybox-static/bin/busybox")
  rm -f line typed
  mkfifo typed
  start -m 128 -kernel "$1" -initrd initramfs -append 'console=ttyS0 quiet' -serial unix:line,server,nowait
  socat - UNIX-CONNECT:line <typed >serial 2>/dev/null &
  terminal=$!
  exec 3>typed
  until_seen 120 '^shell on i[3-6]86' && printf 'cat /proc/cpuinfo\n' >&3 && until_seen 20 '^model name.*Dragoman' &&
    printf 'sha256sum </bin/busybox\n' >&3 && until_seen 20 "^${digest%% *}" && translated linux
  seen=$?
  if [ $seen -eq 0 ]; then
    printf 'poweroff -f\n' >&3
    end=$(($(date +%s) + 20))
    while kill -0 "$machine" 2>/dev/null && [ "$(date +%s)" -lt $end ]; do sleep 0.2; done
    kill -0 "$machine" 2>/dev/null && seen=1
  fi
  if [ $seen -eq 0 ]; then
    wait "$machine"
    seen=$?
    machine=
  fi
  if [ $seen -eq 0 ]; then
    passed=$((passed + 1))
  else
    finish linux 1
  fi
  exec 3>&-
  wait $terminal
}

# How many lines of pixels differ from all others: a screen full of text or icons has hundreds.
different_lines() { # FILE.ppm
  width=$(head -n 2 "$1" | tail -n 1 | cut -d ' ' -f 1)
  tail -n +4 "$1" | od -An -v -t x1 -w$((width * 3)) | sort -u | wc -l
}

colours() { # FILE.ppm
  tail -n +4 "$1" | od -An -v -t x1 -w3 | sort -u | wc -l
}

# graphics NAME SECONDS LINES argument...: until the screen shows so many different lines, in more colours than text
# does; result in `seen`.
graphics() {
  name=$1 seconds=$2 least=$3
  shift 3
  start "$@"
  end=$(($(date +%s) + seconds))
  seen=1
  while [ $seen -ne 0 ] && [ "$(date +%s)" -lt $end ] && kill -0 "$machine" 2>/dev/null; do
    sleep 2
    ask 'screendump picture.ppm' >screen
    [ -s picture.ppm ] && [ "$(different_lines picture.ppm)" -ge "$least" ] && [ "$(colours picture.ppm)" -ge 30 ] &&
      seen=0
  done
}

# Images of other systems, if somebody has them.
guests() {
  image=$DRAGOMAN_GUESTS/freedos-1.4MB.img
  if [ -e "$image" ]; then
    start -m 32 -boot a -snapshot -fda "$image"
    until_seen 60 '^A:.>' && ask 'type dir\n' >/dev/null && until_seen 30 'bytes free'
    finish freedos $?
  fi
  image=$DRAGOMAN_GUESTS/mikeos.flp
  if [ -e "$image" ]; then
    boot mikeos 60 'MikeOS' -m 32 -boot a -snapshot -fda "$image"
  fi
  image=$DRAGOMAN_GUESTS/kolibri.img
  if [ -e "$image" ]; then
    graphics kolibri 120 300 -m 128 -boot a -snapshot -fda "$image"
    sleep 8
    # The pointer follows the mouse: two pictures, between them a move into a corner, differ there.
    ask 'screendump picture.ppm' >/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do ask 'mouse_move -100 -100' >/dev/null; done
    sleep 1
    ask 'screendump moved.ppm' >/dev/null
    cmp -s picture.ppm moved.ppm && seen=1
    finish kolibri $seen
  fi
}

for engine in $engines; do
  small_systems
  package=$(kernel_package)
  if [ -n "$package" ] && fetch busybox-static && fetch "$package"; then
    linux "$(find "$cache/$package/boot" -name 'vmlinuz*')"
  else
    skip "linux-image-686 and busybox-static"
  fi
  if fetch debian-installer-12-netboot-i386; then
    installer=$cache/debian-installer-12-netboot-i386/usr/lib/debian-installer/images/12/i386/text
    installer=$installer/debian-installer/i386
    boot installer 180 'Select a language' -m 512 -kernel "$installer/linux" -initrd "$installer/initrd.gz" \
      -append 'vga=normal fb=false nomodeset'
    if [ "$engine" != interp ]; then
      installer=$cache/debian-installer-12-netboot-i386/usr/lib/debian-installer/images/12/i386/gtk
      installer=$installer/debian-installer/i386
      graphics installer-gtk 240 250 -m 768 -kernel "$installer/linux" -initrd "$installer/initrd.gz" \
        -append 'vga=788 quiet'
      finish installer-gtk $seen
    fi
  else
    skip debian-installer-12-netboot-i386
  fi
  [ -n "${DRAGOMAN_GUESTS:-}" ] && guests
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
