#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's Linux with each network card on a user network: its driver loads, DHCP answers, the gateway is pinged, the
# name server asked, a file is fetched from a server on the host by HTTP (the checksum must be right; the rate is
# printed) and sent back, a forwarded port is reached from outside; and iPXE (from Debian's ipxe-qemu) boots a file
# through each PCI card by DHCP and TFTP, and by HTTP. Packages are fetched as in systems.sh, into the same cache; without them,
# or with BOOT_SYSTEMS=no, all is skipped. CARDS names the cards, ENGINE the engine, EMULATOR=qemu-system-i386 shows what
# QEMU does with the same. Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
emulator=${EMULATOR:-$build/dragoman}
cards=${CARDS:-ne2k_isa ne2k_pci pcnet rtl8139 rtl8139,cplus=off}
megabytes=${MEGABYTES:-32}
port=${PORT:-48080}
work=$(mktemp -d) || exit 1
server='' machine=''
trap 'kill $server $machine 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache" "$build/check-output"
passed=0
failed=0
. "$SRC/tests/boot/packages.sh"

result() { # NAME STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
    tail -n 30 "$work/serial" | sed 's/^/  > /'
  fi
}

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

# --- the guest ---------------------------------------------------------------------------------------

# What the guest does: each step says its name, or the script ends.
write_init() {
  cat >"$1" <<'END'
#!/bin/sh

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
say() { echo "TEST $*"; }
end() { sync; say "$@"; poweroff -f; }
for word in $(cat /proc/cmdline); do
  case $word in card=*) card=${word#card=} ;; port=*) port=${word#port=} ;; size=*) size=${word#size=} ;; esac
done
insmod /mod/mii.ko
insmod /mod/8390.ko
insmod /mod/8390p.ko
case $card in
ne2k_isa) insmod /mod/ne.ko io=0x300 irq=10 ;;
ne2k_pci) insmod /mod/ne2k-pci.ko ;;
pcnet) insmod /mod/pcnet32.ko ;;
rtl8139) insmod /mod/8139cp.ko ;;
*) insmod /mod/8139too.ko ;;
esac || end "FAIL driver"
ifconfig lo 127.0.0.1
ifconfig eth0 up || end "FAIL interface"
udhcpc -i eth0 -n -q -s /dhcp || end "FAIL dhcp"
say "PASS dhcp"
ping -c 5 -i 0.2 -s 1400 10.0.2.2 || end "FAIL ping"
say "PASS ping"
start=$(cut -d ' ' -f 1 /proc/uptime)
wget -q -O - http://10.0.2.2:$port/ >/dev/null || end "FAIL wget"
stop=$(cut -d ' ' -f 1 /proc/uptime)
say "RATE $start $stop"
say "SUM $(wget -q -O - http://10.0.2.2:$port/ | sha1sum)"
start=$(cut -d ' ' -f 1 /proc/uptime)
dd if=/dev/zero bs=65536 count=$((size * 16)) 2>/dev/null | nc 10.0.2.2 $((port + 1)) | head -c 41 >/answer
stop=$(cut -d ' ' -f 1 /proc/uptime)
say "SENT $(cat /answer)"
say "SENDRATE $start $stop"
say "LISTENING"
echo "hello from the guest" | nc -l -p 7 -w 20 >/from-host
say "GOT $(cat /from-host)"
ifconfig eth0
end "END"
END
  chmod 755 "$1"
}

make_initramfs() {
  tree=$work/tree
  mkdir -p "$tree/bin" "$tree/mod" "$tree/proc" "$tree/sys" "$tree/dev"
  cp "$cache/busybox-static/bin/busybox" "$tree/bin/"
  for name in sh mount insmod ifconfig udhcpc ping wget sha1sum nc dd head cat cut poweroff sync route; do
    ln -s busybox "$tree/bin/$name"
  done
  for module in mii 8390 8390p ne ne2k-pci pcnet32 8139cp 8139too; do
    find "$cache/$kernel/lib/modules" -name $module.ko -exec cp {} "$tree/mod/" \;
  done
  write_init "$tree/init"
  cat >"$tree/dhcp" <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
END
  chmod 755 "$tree/dhcp"
  (cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 2>/dev/null) | gzip -1 >"$work/initramfs"
}

# --- the host's side ---------------------------------------------------------------------------------

start_servers() {
  head -c $((megabytes << 20)) /dev/urandom >"$work/file"
  sum=$(sha1sum <"$work/file")
  printf '#!/bin/sh\nprintf "HTTP/1.0 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n"\nexec cat %s\n' \
    $((megabytes << 20)) "$work/file" >"$work/serve"
  printf '#!/bin/sh\nhead -c %s | sha1sum\n' $((megabytes << 20)) >"$work/take"
  printf '#!/bin/sh\nprintf "HTTP/1.0 200 OK\\r\\nContent-Length: 20000\\r\\n\\r\\n"\nexec head -c 20000 %s\n' \
    "$work/file" >"$work/small"
  chmod 755 "$work/serve" "$work/take" "$work/small"
  socat "TCP-LISTEN:$((port + 3)),bind=127.0.0.1,reuseaddr,fork" "EXEC:$work/small" 2>/dev/null &
  small=$!
  socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" "EXEC:$work/serve" 2>/dev/null &
  server=$!
  socat "TCP-LISTEN:$((port + 1)),bind=127.0.0.1,reuseaddr,fork" "EXEC:$work/take" 2>/dev/null &
  server="$server $! $small"
  sent_sum=$(head -c $((megabytes << 20)) /dev/zero | sha1sum)
}

rate() { # WORD: the rate between two times that the guest said, in MB/s
  sed -n "s/^TEST $1 //p" "$work/serial" | tr -d '\r' | awk -v mb="$megabytes" '{printf "%.1f MB/s", mb / ($2 - $1 + 0.001)}'
}

until_said() { # SECONDS PATTERN
  end=$(($(date +%s) + $1))
  while [ "$(date +%s)" -lt $end ]; do
    grep -qE "$2" "$work/serial" && return 0
    kill -0 "$machine" 2>/dev/null || return 1
    sleep 0.3
  done
  return 1
}

run_card() { # CARD
  : >"$work/serial"
  driver=${1%%,*}
  set -- "$1" ${ENGINE:+-accel "$ENGINE"}
  card=$1
  shift
  case $emulator$card in *qemu*cplus*) return ;; esac
  "$emulator" "$@" -m 128 -display none -no-reboot -kernel "$cache/$kernel/boot/vmlinuz-${kernel#linux-image-}" \
    -initrd "$work/initramfs" -append "console=ttyS0 quiet no_timer_check net.ifnames=0 card=$card port=$port size=$megabytes" \
    -serial "file:$work/serial" -netdev "user,id=n,hostfwd=tcp:127.0.0.1:$((port + 2))-:7" \
    -device "$card,netdev=n" >"$work/errors" 2>&1 &
  machine=$!
  until_said 240 '^TEST (LISTENING|FAIL)' && answer=$(echo "hello from the host" |
    timeout 20 socat -t 5 - "TCP:127.0.0.1:$((port + 2)),retry=5" 2>/dev/null)
  until_said 30 '^TEST (END|FAIL)'
  for step in dhcp ping; do
    grep -q "^TEST PASS $step" "$work/serial"
    result "$card: $step" $?
  done
  grep -qF "TEST SUM $sum" "$work/serial"
  result "$card: fetching a file" $?
  grep -qF "TEST SENT ${sent_sum%% *}" "$work/serial"
  result "$card: sending a file" $?
  [ "${answer:-}" = "hello from the guest" ] && grep -q "TEST GOT hello from the host" "$work/serial"
  result "$card: a forwarded port" $?
  echo "$card ($driver): fetching $(rate RATE), sending $(rate SENDRATE)"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 "$machine" 2>/dev/null || break
    sleep 0.3
  done
  kill "$machine" 2>/dev/null
  wait "$machine" 2>/dev/null
  machine=
  sed 's/^/  errors: /' "$work/errors"
}

# --- iPXE --------------------------------------------------------------------------------------------

# A boot sector as an iPXE script's "image": what it prints shows that it came. iPXE writes to the serial port by the
# BIOS only if that does, so the screen is looked at.
run_ipxe() { # CARD
  rom=$cache/ipxe-qemu/usr/lib/ipxe/qemu/pxe-$1.rom
  mkdir -p "$work/tftp"
  printf '#!ipxe\necho chained by TFTP\nimgfetch http://10.0.2.2:%s/ && echo fetched by HTTP || echo no HTTP\nsleep 60\n' \
    "$((port + 3))" >"$work/tftp/boot.ipxe"
  rm -f "$work/monitor"
  "$emulator" ${ENGINE:+-accel "$ENGINE"} -m 128 -display none -boot n -monitor "unix:$work/monitor,server,nowait" \
    -netdev "user,id=n,tftp=$work/tftp,bootfile=boot.ipxe" -device "$1,netdev=n,romfile=$rom" >"$work/errors" 2>&1 &
  machine=$!
  status=1
  end=$(($(date +%s) + 90))
  while [ "$(date +%s)" -lt $end ] && kill -0 "$machine" 2>/dev/null; do
    echo screentext | timeout 10 socat -t 2 - "UNIX-CONNECT:$work/monitor" >"$work/serial" 2>/dev/null
    grep -q 'no HTTP' "$work/serial" && break
    grep -q 'fetched by HTTP' "$work/serial" && status=0 && break
    sleep 1
  done
  result "$1: iPXE boots by TFTP and HTTP" $status
  kill "$machine" 2>/dev/null
  wait "$machine" 2>/dev/null
  machine=
}

kernel=$(kernel_package)
[ -n "$kernel" ] && fetch "$kernel" && fetch busybox-static || skip "no packages"
make_initramfs
start_servers
for card in $cards; do
  run_card "$card"
done
if [ "${IPXE:-yes}" = yes ] && fetch ipxe-qemu; then
  for card in $cards; do
    case $card in ne2k_isa | *,*) ;; *) run_ipxe "$card" ;; esac
  done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
