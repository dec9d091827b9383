# SPDX-License-Identifier: MIT
#
# To be sourced after tests/boot/packages.sh, with $build and $cache set: what tests/suites.sh and tests/repeat-suite.sh
# share.

has_scripts() { "$build/dragoman" test --help >/dev/null 2>&1; }

# make_linux DIRECTORY: vmlinuz and initramfs for tests/scripts/linux; false if the packages cannot be had.
make_linux() {
  package=$(kernel_package)
  [ -n "$package" ] && fetch busybox-static && fetch "$package" || return 1
  mkdir -p "$1/tree/bin" "$1/tree/proc" "$1/tree/sys" "$1/tree/dev" "$1/tree/tmp" "$1/tree/lib"
  cp "$(find "$cache/$package/boot" -name 'vmlinuz*' | head -n 1)" "$1/vmlinuz"
  cp "$cache/busybox-static/bin/busybox" "$1/tree/bin/"
  cp "$(find "$cache/$package/lib/modules" -name dummy.ko)" "$1/tree/lib/"
  cat >"$1/tree/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin PS1= PS2=
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
stty -F /dev/ttyS0 -echo
echo "ready for tests"
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
END
  chmod +x "$1/tree/init"
  (cd "$1/tree" && find . -exec touch -h -d @0 {} + && find . | LC_ALL=C sort | cpio -o -H newc --reproducible) 2>/dev/null | gzip -1n >"$1/initramfs"
  rm -r "$1/tree"
}
