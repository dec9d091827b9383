#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Bad input: each mistake of the user must give exactly one clear line on stderr ("dragoman: ..."), exit status 1,
# and leave no file behind. Uses $BUILD/dragoman; prints "N passed, N failed" at the end.
set -u
: "${BUILD:?}"
dragoman=$(cd "$BUILD" && pwd)/dragoman
work=$(mktemp -d) || exit 1
holder=
trap '[ -n "$holder" ] && kill "$holder" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0
unset DISPLAY WAYLAND_DISPLAY
base='-accel interp -display none'

pass() { passed=$((passed + 1)); }
fail() { # what
  failed=$((failed + 1))
  echo "FAILED: $1"
  sed 's/^/  | /' out/stderr
}

# refuse PATTERN argument...: one line that matches the pattern, status 1, and the directory is as it was.
refuse() {
  pattern=$1
  shift
  mkdir -p out
  find . -path ./out -prune -o -type f -exec ls -ln --time-style=full-iso {} + >out/before
  timeout 20 "$dragoman" $base "$@" >out/stdout 2>out/stderr </dev/null
  status=$?
  find . -path ./out -prune -o -type f -exec ls -ln --time-style=full-iso {} + >out/after
  if [ $status -ne 1 ]; then
    fail "$*: exit status $status"
  elif [ "$(wc -l <out/stderr)" -ne 1 ] || [ -s out/stdout ]; then
    fail "$*: not exactly one line"
  elif ! grep -q '^dragoman: ' out/stderr || ! grep -qi -- "$pattern" out/stderr; then
    fail "$*: the line does not say '$pattern'"
  elif ! cmp -s out/before out/after; then
    fail "$*: files changed"
  else
    pass
  fi
}

truncate -s 1440K floppy.img
truncate -s 1M disk.img
truncate -s 1M other.img
mkdir directory
: >empty.img
head -c 700 /dev/zero >kernel-short
# A Linux header (55 AA, HdrS, protocol 2.04, four setup sectors) whose file ends inside the setup code.
{
  head -c 497 /dev/zero
  printf '\004'
  head -c 12 /dev/zero
  printf '\125\252\000\000HdrS\004\002'
  head -c 300 /dev/zero
} >kernel-truncated

# --- images ---
refuse 'missing.img' -hda missing.img
refuse 'missing.img' -fda missing.img
refuse 'missing.iso' -cdrom missing.iso
refuse 'missing.img' missing.img
refuse 'director' -hda directory
refuse 'director' -fda directory
refuse 'director' -cdrom directory
refuse 'empty' -hda empty.img
refuse 'defined twice' -hda disk.img -drive file=other.img,index=0
refuse 'two drives' -hda disk.img -hdb disk.img
refuse 'qcow2' -drive file=disk.img,format=qcow2
ln disk.img same.img
refuse 'in use\|locked\|another' -hda disk.img -hdb same.img
rm same.img

# An image that a running machine writes to.
mkdir -p out
"$dragoman" -accel interp -display none -S -hda disk.img -monitor unix:out/monitor,server,nowait >out/holder 2>&1 &
holder=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
  [ -S out/monitor ] && break
  sleep 0.3
done
refuse 'in use\|locked\|another' -hda disk.img
kill -TERM "$holder"
wait "$holder"
status=$?
holder=
cp out/holder out/stderr
if [ $status -eq 0 ] && [ ! -e out/monitor ]; then pass; else fail "SIGTERM: status $status, or the socket is left"; fi

# Root may write anything, so permissions are tested only without it.
if [ "$(id -u)" -ne 0 ]; then
  chmod a-w other.img
  refuse 'other.img' -hda other.img
  chmod a-r other.img
  refuse 'other.img' -snapshot -hda other.img
  chmod u+rw other.img
fi

# --- options ---
refuse 'did you mean -cdrom' -cdrmo x.iso
refuse 'unknown option' -frobnicate
refuse 'did you mean -snapshot' --snapshto
refuse 'not a size' -m lots
refuse '3584M' -m 64G
refuse '1M' -m 0
refuse 'needs an argument' -hda
refuse '-cpu help' -cpu 8086
refuse 'one machine' -M q35
refuse 'one CPU' -smp 4
refuse 'given twice' -m 32 -m 64
refuse 'stdio' -serial stdio -monitor stdio
refuse 'needs -kernel' -append quiet
refuse 'needs -kernel' -initrd disk.img
refuse 'no boot device' -boot z
refuse 'a date' -rtc base=tomorrow
refuse '0 to 9' -icount shift=77
refuse '-d help' -d everything
refuse 'such device' -device e1000
refuse 'hardware virtualization' -enable-kvm
base=
refuse '-accel help' -accel warp
refuse 'contradict' -nographic -display sdl
refuse 'display' -accel interp -display sdl -serial file:serial.log disk.img
base='-accel interp -display none'

# --- firmware and kernels ---
refuse 'missing.bin' -bios missing.bin
refuse 'empty.img' -bios empty.img
refuse 'missing' -kernel missing
refuse 'kernel-short' -kernel kernel-short
refuse 'kernel-truncated' -kernel kernel-truncated
refuse 'directory' -kernel directory
refuse 'missing.rd' -kernel kernel-truncated -initrd missing.rd

# --- channels and other files ---
refuse 'not a channel' -serial carrier-pigeon
refuse 'nowhere' -serial file:nowhere/serial.log
refuse 'director' -serial file:directory
refuse 'director' -debugcon file:directory
refuse 'nowhere' -D nowhere/log -d int
refuse 'nowhere' -pidfile nowhere/pid
refuse 'nowhere' -monitor unix:nowhere/socket,server,nowait
refuse 'disk.img' -monitor unix:disk.img,server,nowait
refuse 'nobody.sock' -serial unix:nobody.sock
refuse 'tcp:HOST:PORT' -serial tcp:1234
refuse 'missing.img' -serial file:serial.log -debugcon file:debug.log -hda missing.img
refuse 'missing' -serial file:serial.log -kernel missing
refuse 'nowhere' -serial file:serial.log -pidfile nowhere/pid

# --- a full disk while running: one line, status 1 ---
timeout 20 "$dragoman" -accel interp -display none -fda floppy.img -debugcon file:/dev/full >out/stdout 2>out/stderr \
  </dev/null
status=$?
if [ $status -eq 1 ] && [ "$(wc -l <out/stderr)" -eq 1 ] && grep -q '^dragoman: .*/dev/full.*No space' out/stderr; then
  pass
else
  fail "-debugcon file:/dev/full: status $status"
fi

# A host that has no room for windows: one line, and the software TLB does it.
mkdir -p out
(
  ulimit -v 3500000
  (sleep 2; echo quit) | timeout 20 "$dragoman" -accel window -display none -m 16 -serial none -monitor stdio -fda floppy.img -snapshot
) >out/stdout 2>out/stderr
if [ $? -eq 0 ] && [ "$(wc -l <out/stderr)" -eq 1 ] && grep -q '^dragoman: .*going on as -accel tlb' out/stderr; then
  pass
else
  fail "-accel window without address space"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
