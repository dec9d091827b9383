#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Whole boots under interpreter and translator in lockstep (boot.c). Without arguments: the firmware and the demo disk, in
# seconds. With "all" also the systems that tests/boot/systems.sh has fetched, and the images in $DRAGOMAN_GUESTS, as
# far as they are there. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

lockstep() { # NAME MILLIONS argument...
  name=$1 millions=$2
  shift 2
  if timeout 600 "$build/lockstep-boot" -engine "${LOCKSTEP_ENGINE:-window}" -n "${millions}000000" -seconds 100 "$@" >"$work/log" 2>&1; then
    echo "$name: $(tail -n 2 "$work/log" | head -n 1)"
    passed=$((passed + 1))
  else
    echo "FAILED: $name"
    tail -n 120 "$work/log" | sed 's/^/  | /'
    failed=$((failed + 1))
  fi
}

there() { # FILE: true, or say that it is not there
  [ -e "$1" ] || { echo "skipped: no $1"; false; }
}

image() { # NAME MILLIONS OPTION FILE argument...
  name=$1 millions=$2 option=$3 file=$4
  shift 4
  if there "$file"; then lockstep "$name" "$millions" "$option" "$file" "$@"; fi
}

# Linux with a shell that runs some programs and powers off.
linux() {
  kernel=$(find "$cache"/linux-image-[0-9]*/boot -name 'vmlinuz*' 2>/dev/null | head -n 1)
  if ! { there "${kernel:-$cache/linux-image}" && there "$cache/busybox-static/bin/busybox"; }; then
    return
  fi
  mkdir -p "$work/root/bin" "$work/root/proc" "$work/root/dev"
  cp "$cache/busybox-static/bin/busybox" "$work/root/bin/"
  cat >"$work/root/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
sha256sum /bin/busybox
gzip -c /bin/busybox | gunzip -c | md5sum
awk 'BEGIN { for (i = 1; i < 2000; i++) s += sin(i) / i; print s }'
for i in 1 2 3 4 5 6 7 8; do ls -l /proc/self/ >/dev/null; done
poweroff -f
END
  chmod +x "$work/root/init"
  (cd "$work/root" && find . | cpio -o -H newc) 2>/dev/null | gzip -1 >"$work/initramfs"
  lockstep linux 12000 -m 128 -kernel "$kernel" -initrd "$work/initramfs" -append 'console=ttyS0'
}

lockstep demo 40
if [ "${1:-}" = all ]; then
  image memtest 400 -cdrom "$cache/memtest86+/usr/lib/memtest86+/memtest86+ia32.iso" -m 32
  image grub-floppy 400 -fda "$cache/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-floppy.img" -m 64
  image grub-cd 400 -cdrom "$cache/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-cdrom.iso" -m 64
  image ipxe 400 -cdrom "$cache/ipxe/usr/lib/ipxe/ipxe.iso" -m 64
  linux
  if [ -n "${DRAGOMAN_GUESTS:-}" ]; then
    image freedos 400 -fda "$DRAGOMAN_GUESTS/freedos-1.4MB.img" -m 32 -at 250000000 -keys 'dir\n'
    image kolibri 800 -fda "$DRAGOMAN_GUESTS/kolibri.img" -m 128
    image mikeos 100 -fda "$DRAGOMAN_GUESTS/mikeos.flp" -m 32
  fi
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
