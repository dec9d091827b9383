#!/bin/sh
# SPDX-License-Identifier: MIT
#
# -kernel, -initrd and -append with small kernels of our own (linux.asm, multiboot.asm), under each engine; and that
# counted runs repeat exactly. Prints "N passed, N failed".
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0

# expect WHAT STATUS WANTED: exit status of the last run, and its serial output without the line that varies.
expect() {
  grep -v '^time ' serial >got
  if [ "$status" -eq "$2" ] && cmp -s got "$3"; then
    passed=$((passed + 1))
  else
    echo "FAILED: $1: status $status, not $2, or another output than:"
    diff "$3" got | sed 's/^/  | /'
    sed 's/^/  | /' errors
    failed=$((failed + 1))
  fi
}

# boot ARGUMENT...: status, and serial output in the file of that name.
boot() {
  timeout 60 "$build/dragoman" -display none -m 64 -device isa-debug-exit,iobase=0xf4,iosize=1 -serial file:serial \
    "$@" >errors 2>&1
  status=$?
}

cp "$build/tests/boot/linux.bin" "$build/tests/boot/multiboot.bin" .
printf 'first module' >one
printf 'second' >two
printf 'this is the initrd\0' >initrd

cat >multiboot.wanted <<END
magic 2badb002
cmdline multiboot.bin a=1 b
modules 00000002
module one x=y:first module
module two:second
lower 0000027f
upper 0000fbf8
map 0000fe77
bss 00000000
end
END
cat >linux.wanted <<END
segments 1000 1020
loader ff81
heap fc00
cmdline root=none
kernel from the second half
initrd 0013 this is the initrd
end
END

for engine in interp tlb window; do
  boot -accel $engine -kernel multiboot.bin -append 'a=1 b' -initrd 'one x=y,two'
  expect "multiboot under $engine" 99 multiboot.wanted
  boot -accel $engine -kernel linux.bin -append root=none -initrd initrd
  expect "linux under $engine" 101 linux.wanted
  boot -accel $engine -icount shift=3 -kernel multiboot.bin -append 'a=1 b' -initrd 'one x=y,two'
  expect "counted multiboot under $engine" 99 multiboot.wanted
  grep '^time ' serial >first
  boot -accel $engine -icount shift=3 -kernel multiboot.bin -append 'a=1 b' -initrd 'one x=y,two'
  grep '^time ' serial >second
  if [ -s first ] && cmp -s first second; then
    passed=$((passed + 1))
  else
    echo "FAILED: two counted runs under $engine differ: $(cat first second | tr '\n' ' ')"
    failed=$((failed + 1))
  fi
  mv first "time.$engine"
done
if cmp -s time.interp time.tlb && cmp -s time.interp time.window; then
  passed=$((passed + 1))
else
  echo "FAILED: counted runs under interp, tlb and window differ: $(cat time.interp time.tlb time.window | tr '\n' ' ')"
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
