#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Typing 10,000 characters at full speed into Linux on a graphics console, and into FreeDOS where $DRAGOMAN_GUESTS has
# freedos-1.4MB.img: tests/scripts/typing. (Into a program that uses the BIOS: tests/scripts.sh.) The kernel comes from
# Debian's packages as for tests/boot/systems.sh. Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
src=$(cd "$SRC" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache"
cd "$work" || exit 1
passed=0
failed=0

. "$src/tests/boot/packages.sh"

run() { # ARGUMENT...
  if timeout 1800 "$build/dragoman" test "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
}

cp -r "$src/tests/scripts/typing" .
kernel=$(kernel_package)
if [ -n "$kernel" ] && fetch "$kernel" && fetch busybox-static; then
  mkdir -p root/bin root/proc root/dev
  cp "$cache/busybox-static/bin/busybox" root/bin/
  cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
stty -F /dev/ttyS0 raw
echo "shell on $(uname -m)"
exec setsid sh -c 'exec sh </dev/tty1 >/dev/tty1 2>&1'
END
  chmod +x root/init
  (cd root && find . | cpio -o -H newc) 2>/dev/null | gzip -1 >typing/initramfs
  cp "$cache/$kernel"/boot/vmlinuz* typing/kernel
  run typing/linux.lua
else
  echo "skipped: Linux, whose packages cannot be fetched"
fi
if [ -e "${DRAGOMAN_GUESTS:-}/freedos-1.4MB.img" ]; then
  run --image "$DRAGOMAN_GUESTS/freedos-1.4MB.img" typing/dos.lua
else
  echo "skipped: FreeDOS (DRAGOMAN_GUESTS)"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
