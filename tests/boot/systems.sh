#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boots real systems from Debian's packages and waits for what they say on the screen or the serial port: memtest86+,
# GRUB from floppy and CD, iPXE, Linux with a BusyBox shell, the Debian installer. The packages are fetched with
# apt-get into $BOOT_CACHE (default $BUILD/boot-cache), through a private apt state that leaves the host's alone; what
# cannot be fetched (170 MB in all) is skipped, and said; BOOT_SYSTEMS=no skips everything. ENGINES names the engines
# (default "tlb"). Prints "N passed, N failed".
set -u
: "${BUILD:?}"
if [ "${BOOT_SYSTEMS:-yes}" = no ]; then
  echo "skipped: BOOT_SYSTEMS=no"
  echo "0 passed, 0 failed"
  exit 0
fi
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
engines=${ENGINES:-tlb}
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache" "$build/check-output"
cd "$work" || exit 1
passed=0
failed=0

# --- packages ----------------------------------------------------------------------------------------

# apt-get or apt-cache for i386 packages, with lists, cache and configuration below $cache/apt.
apt() {
  tool=apt-$1
  shift
  $tool -q -o Dir::State="$cache/apt" -o Dir::State::lists="$cache/apt/lists" -o Dir::Cache="$cache/apt" \
    -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::status=/dev/null -o APT::Architecture=i386 -o APT::Architectures=i386 \
    -o APT::Sandbox::User=root "$@"
}

# The lists, from the mirror that the host uses; the archive's signatures are checked with the host's keys.
apt_update() {
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security |
    sed -n 's/^\(deb \(\[.*\] \)*\|URIs: *\)\(http[^ ]*\).*/\3/p' | head -n 1)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$cache/apt/sources.list"
  apt get update
}

# fetch PACKAGE: unpacked below $cache/PACKAGE; false if that cannot be.
fetch() {
  [ -d "$cache/$1" ] && return 0
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
  [ -d "$cache/apt" ] || apt_update >"$cache/apt.log" 2>&1
  rm -rf "$cache/new"
  (cd "$cache/apt/archives" && rm -f ./*.deb && apt get download "$1") >>"$cache/apt.log" 2>&1 || return 1
  dpkg-deb -x "$cache/apt/archives/$1"_*.deb "$cache/new" && mv "$cache/new" "$cache/$1"
}

# The package that linux-image-686 stands for now.
kernel_package() {
  for dir in "$cache"/linux-image-[0-9]*; do
    [ -d "$dir" ] && basename "$dir" && return
  done
  [ -d "$cache/apt" ] || apt_update >"$cache/apt.log" 2>&1
  apt cache depends linux-image-686 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

skip() { echo "skipped: $1"; }

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

finish() { # NAME RESULT
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
    ask 'info jit' | sed -n 's/^  translated */'"$1"' under '"$engine"': translated /p'
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

# A shell on the serial line computes the digest of its own binary, then powers the machine off.
linux() { # KERNEL
  make_initramfs initramfs
  digest=$(sha256sum <"$cache/busybox-static/bin/busybox")
  rm -f line typed
  mkfifo typed
  start -m 128 -kernel "$1" -initrd initramfs -append 'console=ttyS0 quiet' -serial unix:line,server,nowait
  socat - UNIX-CONNECT:line <typed >serial 2>/dev/null &
  terminal=$!
  exec 3>typed
  until_seen 120 '^shell on i[3-6]86'
  seen=$?
  if [ $seen -eq 0 ]; then
    printf 'sha256sum </bin/busybox\n' >&3
    until_seen 20 "^${digest%% *}"
    seen=$?
  fi
  finish linux $seen
  exec 3>&-
  wait $terminal
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
  else
    skip debian-installer-12-netboot-i386
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
