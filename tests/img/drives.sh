#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Images as the guest's drives: a boot sector (writer.asm) that writes to its disk, in every format, with overlays, with
# -snapshot; what the monitor says of them and commit. Prints "N passed, N failed".
set -u
. "$SRC/tests/img/common.sh"
cd "$work" || exit 1

run() { # OPTION...: to the guest's own end
  timeout 60 "$build/dragoman" -display none -m 16 -device isa-debug-exit "$@" >run.log 2>&1
}

# A disk: the boot sector, nothing, two sectors of text; and what it is once the guest has run.
cp "$build/tests/img/writer.bin" base.raw
truncate -s 1M base.raw
yes dragoman | tr '\n' ' ' | dd of=base.raw bs=512 seek=2 count=2 iflag=fullblock conv=notrunc 2>/dev/null
run -drive file=base.raw,format=raw,snapshot=on
is "-snapshot: the guest's end" $? 35
cp base.raw written.raw
run -drive file=written.raw,format=raw
is "raw: the guest's end" $? 35
cmp -s base.raw written.raw
is "raw: something was written" $? 1

for format in qcow2 vmdk vdi vpc; do
  "$img" convert -O $format base.raw disk.$format
  cp disk.$format before
  run -drive file=disk.$format,snapshot=on
  is "$format with a snapshot: the guest's end" $? 35
  cmp -s before disk.$format
  check "$format with a snapshot: not written" $?
  run -drive file=disk.$format
  is "$format: the guest's end" $? 35
  "$img" compare -q disk.$format written.raw
  check "$format: what the guest wrote" $?
  qemu-img compare -q -f $format disk.$format written.raw
  check "$format: what the guest wrote, read by QEMU" $?
done

# An overlay that is made, then used again, and belongs to one image only.
cp base.raw under.raw
run -drive file=under.raw,format=raw,overlay=over.qcow2
is "overlay: the guest's end" $? 35
cmp -s base.raw under.raw
check "overlay: the image is not written" $?
qemu-img compare -q over.qcow2 written.raw
check "overlay: what the guest wrote" $?
run -drive file=under.raw,format=raw,overlay=over.qcow2
is "overlay: once more" $? 35
sound "overlay" over.qcow2
cp base.raw other.raw
run -drive file=other.raw,format=raw,overlay=over.qcow2
is "overlay: of another image" $? 1
grep -q "belongs to" run.log
check "overlay: of another image: $(cat run.log)" $?

# The monitor. (`quit` comes before the guest's own end.)
monitor() { # COMMAND DRIVE
  printf '%s\nquit\n' "$1" |
    timeout 60 "$build/dragoman" -display none -m 16 -S -monitor stdio -drive "$2" 2>&1 | tr '\r' '\n' >run.log
}
monitor "info block" file=under.raw,format=raw,overlay=over.qcow2
grep -q '^ide0-hd0: over.qcow2 (qcow2)' run.log
check "info block: the format" $?
grep -q 'Backing file: .*under.raw (raw, chain depth: 1)' run.log
check "info block: the backing file" $?
monitor "commit ide0-hd0" file=under.raw,format=raw,overlay=over.qcow2
cmp -s under.raw written.raw
check "commit: the image below has it" $?
sound "commit: the overlay" over.qcow2
# -snapshot's writes too: the guest waits with them until the monitor is asked.
for format in raw qcow2; do
  "$img" convert -O $format base.raw kept.$format
  (
    tries=100
    until [ -s mon ] || [ $tries -eq 0 ]; do sleep 0.1; tries=$((tries - 1)); done
    sleep 2
    printf 'commit ide0-hd0\nquit\n'
  ) | timeout 60 "$build/dragoman" -display none -m 16 -snapshot -monitor stdio -drive file=kept.$format,format=$format \
    >mon 2>&1
  "$img" compare -q -f $format kept.$format written.raw
  check "commit of -snapshot's writes, $format: $(tr '\r' '\n' <mon | grep Error)" $?
done
monitor "commit floppy7" file=under.raw,format=raw
grep -q "not found" run.log
check "commit: no such drive" $?

# Two programs, one image.
"$img" create -q -f qcow2 busy.qcow2 1M
timeout 20 "$build/dragoman" -display none -S -monitor none -drive file=busy.qcow2 >run.log 2>&1 &
pid=$!
tries=50
while "$img" map busy.qcow2 >map.log 2>&1 && [ $tries -gt 0 ]; do
  sleep 0.1
  tries=$((tries - 1))
done
grep -q "in use" map.log
check "an image in use is refused" $?
kill $pid
wait $pid

finish
