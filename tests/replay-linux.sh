#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A Linux guest recorded: it gets an address by DHCP and a file of MEGABYTES by HTTP over the user network, which takes as
# long as the host likes, while somebody types and moves the mouse at random moments. The replay has no network and no
# server, and comes to the same end. Packages as in tests/boot/systems.sh. Ends with "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
port=${PORT:-48180}
megabytes=${MEGABYTES:-3}
work=$(mktemp -d) || exit 1
server=
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache"
passed=0
failed=0
. "$SRC/tests/boot/packages.sh"

skip() {
  echo "skipped: $1"
  echo "0 passed, 0 failed"
  exit 0
}

[ "${BOOT_SYSTEMS:-yes}" != no ] || skip "BOOT_SYSTEMS=no"
for program in socat cpio; do
  command -v $program >/dev/null || skip "$program is not installed"
done
grep -q 'CONFIG_SLIRP 1' "$build/config.h" || skip "built without libslirp"
kernel=$(kernel_package)
[ -n "$kernel" ] && fetch "$kernel" && fetch busybox-static || skip "no packages"
cd "$work" || exit 1

tree=$work/tree
mkdir -p "$tree/bin" "$tree/mod" "$tree/proc" "$tree/sys" "$tree/dev"
cp "$cache/busybox-static/bin/busybox" "$tree/bin/"
for name in sh mount insmod ifconfig udhcpc wget sha1sum cat cut poweroff sync route; do
  ln -s busybox "$tree/bin/$name"
done
for module in mii 8139cp psmouse evdev; do
  find "$cache/$kernel/lib/modules" -name $module.ko -exec cp {} "$tree/mod/" \;
done
cat >"$tree/init" <<END
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
insmod /mod/psmouse.ko
insmod /mod/evdev.ko
insmod /mod/mii.ko
insmod /mod/8139cp.ko
ifconfig eth0 up
udhcpc -i eth0 -n -q -s /dhcp
echo "SUM \$(wget -q -O - http://10.0.2.2:$port/ | sha1sum)"
cat /proc/interrupts /proc/uptime
sync
poweroff -f
END
cat >"$tree/dhcp" <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
END
chmod 755 "$tree/init" "$tree/dhcp"
(cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 2>/dev/null) | gzip -1 >initramfs

head -c $((megabytes << 20)) /dev/urandom >file
printf '#!/bin/sh\nprintf "HTTP/1.0 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n"\nexec cat %s\n' $((megabytes << 20)) \
  "$work/file" >serve
chmod 755 serve
socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" "EXEC:$work/serve" 2>/dev/null &
server=$!

boot() { # MODE SERIAL option...
  mode=$1 serial=$2
  shift 2
  timeout 300 "$build/dragoman" -icount "on,rr=$mode,rrfile=linux.rr" -m 128 -display none -no-reboot \
    -kernel "$cache/$kernel/boot/vmlinuz-${kernel#linux-image-}" -initrd initramfs \
    -append "console=ttyS0 no_timer_check net.ifnames=0" -nic user,model=rtl8139 -serial "file:$serial" "$@" 2>errors
}

result() { # NAME STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
    tail -n 3 errors "$work"/*.serial | sed 's/^/  | /'
  fi
}

while sleep "0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')"; do
  echo "mouse_move 5 -3" || break
  echo "sendkey a" || break
done 2>/dev/null | boot record recorded.serial -monitor stdio >/dev/null
grep -q "SUM $(sha1sum <file | cut -d ' ' -f 1)" recorded.serial
result "a page fetched while recording" $?
kill $server
server=
for engine in window tlb; do
  boot replay replayed.serial -accel $engine </dev/null && cmp -s recorded.serial replayed.serial &&
    grep -q 'as recorded, to the end' errors
  result "replay by $engine, without a network" $?
  sed -n 's/.*end: /Linux: /p' errors
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
