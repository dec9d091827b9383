#!/bin/sh
# SPDX-License-Identifier: MIT
#
# USB with real drivers: Debian's Linux finds a hub with a tablet, a mouse and a keyboard behind it and a disk; events
# that the monitor makes arrive there, VMware's pointer by the PS/2 mouse's driver, and the disk is read and written.
# SeaBIOS boots from the disk and takes keys from a USB keyboard. Fetching, BOOT_CACHE, BOOT_SYSTEMS and skipping are as
# in systems.sh. Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
if [ "${BOOT_SYSTEMS:-yes}" = no ]; then
  echo "skipped: BOOT_SYSTEMS=no"
  echo "0 passed, 0 failed"
  exit 0
fi
here=$SRC/tests/boot
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
cc=${CC:-$(sed -n 's/^CC = //p' "$BUILD/config.mak")}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache"
. "$here/packages.sh"
passed=0
failed=0

check() { # WHAT STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
  fi
}

give_up() { # WHY
  skip "$1"
  echo "$passed passed, $failed failed"
  exit 0
}

# wait_for SECONDS PATTERN FILE
wait_for() {
  tries=$(($1 * 10))
  until grep -q "$2" "$3" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    sleep 0.1
  done
}

package=$(kernel_package)
[ -n "$package" ] && fetch "$package" || give_up "the package linux-image-686"
mkdir -p "$work/root/modules" "$work/root/dev" "$work/root/sys"
$cc -m32 -static -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$work/root/init" "$here/usb_init.c" 2>"$work/cc.log" ||
  give_up "usb: $cc -m32 -static makes no programs here (install gcc-multilib)"
for module in usb-common usbcore uhci-hcd hid usbhid hid-generic evdev psmouse usb-storage scsi_mod scsi_common sd_mod \
  t10-pi crc-t10dif crct10dif_common crct10dif_generic crc64 crc64-rocksoft; do
  find "$cache/$package/lib/modules" -name $module.ko -exec cp {} "$work/root/modules/" \;
done
(cd "$work/root" && find . | cpio -o -H newc) 2>/dev/null | gzip -1 >"$work/initramfs"
kernel=$(find "$cache/$package/boot" -name 'vmlinuz*')
cd "$work" || exit 1

# --- Linux ---

dd if=/dev/urandom of=stick bs=64k count=64 2>/dev/null
head -c 4194304 /dev/zero >>stick
mkfifo monitor
timeout 300 "$build/dragoman" ${ACCEL:+-accel "$ACCEL"} -display none -m 128 -kernel "$kernel" -initrd initramfs \
  -append "console=ttyS0 quiet" -serial file:serial -monitor stdio -usb -device usb-hub,port=1 \
  -device usb-tablet,port=1.1 -device usb-mouse,port=1.2 -device usb-kbd,port=1.3 \
  -drive if=none,id=stick,format=raw,file=stick -device usb-storage,drive=stick,port=2 <monitor >answers 2>&1 &
pid=$!
exec 3>monitor
wait_for 120 '^usb: ready' serial
check "Linux: the events can come" $?

device() { # PATTERN
  grep -q "^usb: device $1" serial
  check "Linux: lists $1" $?
}
device '1-1: 0409:55aa 12 Mb/s "Dragoman USB Hub"'
device '1-1.1: 0627:0001 12 Mb/s "Dragoman USB Tablet"'
device '1-1.2: 0627:0002 1.5 Mb/s "Dragoman USB Mouse"'
device '1-1.3: 0627:0003 1.5 Mb/s "Dragoman USB Keyboard"'
device '1-2: 46f4:0001 12 Mb/s "Dragoman USB Disk"'

say() { # COMMAND EXPECTED
  echo "$1" >&3
  wait_for 10 "^usb: event $2" serial
  check "Linux: $1: $2" $?
}
say 'mouse_move 12345 23456' 'Dragoman Dragoman USB Tablet: at 12345 23456,'
say 'mouse_button 1' 'Dragoman Dragoman USB Tablet: .* key 272 1'
say 'mouse_button 0' 'Dragoman Dragoman USB Tablet: .* key 272 0'
say 'mouse_button 4' 'Dragoman Dragoman USB Tablet: .* key 273 1'
say 'mouse_button 0' 'Dragoman Dragoman USB Tablet: .* key 273 0'
say 'mouse_move 1 2 -1' 'Dragoman Dragoman USB Tablet: at 1 2, moved 0 0, wheel -1'
echo 'info mice' >&3
echo 'mouse_set 3' >&3
say 'mouse_move 5 -7 1' 'Dragoman Dragoman USB Mouse: at 0 0, moved 5 -7, wheel 1'
echo 'mouse_set 1' >&3
say 'mouse_move 32767 16384' 'VirtualPS/2 VMware VMMouse: at 65535 32768,'
say 'mouse_button 1' 'VirtualPS/2 VMware VMMouse: .* key 272 1'
say 'mouse_button 0' 'VirtualPS/2 VMware VMMouse: .* key 272 0'
say 'sendkey a' 'Dragoman Dragoman USB Keyboard: .* key 30 1'
say 'sendkey shift-up' 'Dragoman Dragoman USB Keyboard: .* key 103 0'
say 'sendkey esc' 'Dragoman Dragoman USB Keyboard: .* key 1 0'
wait $pid
check "Linux: the emulator ends with status 0" $?
exec 3>&-
grep -q '^usb: ok' serial
ok=$?
check "Linux: all goes well in the guest" $ok
[ $ok -eq 0 ] || sed 's/^/  | /' serial
head -c 4194304 stick >first
tail -c 4194304 stick >second
cmp first second
check "Linux: the disk's second half is the first" $?
grep '^usb: disk' serial

# --- SeaBIOS: tests/boot/usbstick.asm waits for a key that a USB keyboard sends ---

cp "$build/tests/boot/usbstick.bin" boot
head -c 1048576 /dev/zero >>boot
mkfifo keys
timeout 60 "$build/dragoman" ${ACCEL:+-accel "$ACCEL"} -display none -serial file:boot.serial -monitor stdio -usb \
  -device usb-kbd -drive if=none,id=stick,format=raw,file=boot -device usb-storage,drive=stick \
  -device isa-debug-exit <keys >boot.answers 2>&1 &
pid=$!
exec 3>keys
wait_for 30 'booted from drive 80' boot.serial
check "SeaBIOS: boots from the USB disk" $?
echo 'sendkey q' >&3
wait $pid
status=$?
check "SeaBIOS: takes the USB keyboard's key (status $status)" "$([ $status -eq 35 ]; echo $?)"
exec 3>&-

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
