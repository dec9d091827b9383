#!/bin/sh
# SPDX-License-Identifier: MIT
#
# VMDK, VDI, VHD and VHDX against QEMU's own tools, every subformat: images made and written by qemu-img and qemu-io
# are read bit-identically, what we make passes qemu-img check and compare, each goes on writing to what the other
# made; parents, sizes. Prints "N passed, N failed".
set -u
. "$SRC/tests/img/common.sh"
cd "$work" || exit 1
size=8388608

# Sound; QEMU has no check for VHD.
sound_here() { # WHAT FILE
  case $2 in
  *.vpc) qemu-img info -f vpc "$2" >/dev/null ;;
  *) qemu-img check -q "$2" >check.log 2>&1 ;;
  esac
  check "$1: qemu-img finds nothing" $?
  "$img" check -q "$2" >check.log 2>&1
  result=$?
  case $1 in # QEMU loses grains that it makes zeros; that is what 3 says
  *zeroed_grain*) [ $result -eq 3 ] && result=0 ;;
  esac
  check "$1: dragoman-img finds nothing" $result
}

# --- every kind of image, both ways ---
n=0
for kind in vmdk: vmdk:subformat=monolithicFlat vmdk:subformat=twoGbMaxExtentSparse \
  vmdk:subformat=twoGbMaxExtentFlat vmdk:subformat=streamOptimized vmdk:zeroed_grain=on \
  vmdk:adapter_type=lsilogic,hwversion=7 vdi: vdi:static=on vpc: vpc:subformat=fixed vpc:force_size=on \
  vpc:subformat=fixed,force_size=on; do
  n=$((n + 1))
  format=${kind%%:*}
  options=${kind#*:}
  theirs=theirs$n.$format
  ours=ours$n.$format
  option=${options:+-o $options}
  # shellcheck disable=SC2086
  case $options in
  *streamOptimized)
    qemu-img create -q -f raw expected.raw $size
    patterns $n $size 60 | qemu-io -f raw expected.raw >/dev/null
    qemu-img convert -O "$format" $option expected.raw "$theirs"
    ;;
  *)
    qemu-img create -q -f "$format" $option "$theirs" $size
    patterns $n $size 60 | qemu-io -f "$format" "$theirs" >/dev/null
    qemu-io -f "$format" -c "write -q -z 1M 2M" -c "write -q -z 5M 64k" "$theirs"
    ;;
  esac
  qemu-img convert -f "$format" -O raw "$theirs" expected.raw
  "$img" convert -f "$format" -O raw "$theirs" read.raw && cmp -s expected.raw read.raw
  check "$kind: read bit by bit" $?
  sound_here "$kind, made by QEMU" "$theirs"
  # shellcheck disable=SC2086
  "$img" convert -O "$format" $option expected.raw "$ours"
  same "$kind, made here" "$ours" "$format" expected.raw
  sound_here "$kind, made here" "$ours"
  is "$kind, probed" "$("$img" info "$ours" | sed -n 's/^file format: //p')" "$format"
  case $options in
  *streamOptimized)
    "$img" convert -n -O vmdk expected.raw "$ours" 2>&1 | grep -q "can't be written"
    check "$kind: not written again" $?
    continue
    ;;
  esac
  # Each goes on writing to what the other made.
  patterns 9$n $size 20 | qemu-io -f "$format" "$ours" >/dev/null
  qemu-img convert -f "$format" -O raw "$ours" other.raw
  same "$kind, written on by QEMU" "$ours" "$format" other.raw
  sound_here "$kind, written on by QEMU" "$ours"
  "$img" convert -n -O "$format" other.raw "$theirs"
  same "$kind, written on by us" "$theirs" "$format" other.raw
  sound_here "$kind, written on by us" "$theirs"
done

# --- VHDX: read ---
n=0
for options in subformat=dynamic subformat=fixed subformat=dynamic,block_size=1M \
  subformat=dynamic,block_size=16M,log_size=2M block_state_zero=off; do
  n=$((n + 1))
  qemu-img create -q -f vhdx -o "$options" theirs.vhdx 40M
  patterns $n 41943040 60 | qemu-io -f vhdx theirs.vhdx >/dev/null
  qemu-img convert -f vhdx -O raw theirs.vhdx expected.raw
  "$img" convert -O raw theirs.vhdx read.raw && cmp -s expected.raw read.raw
  check "vhdx, $options: read bit by bit" $?
  "$img" check -q theirs.vhdx
  check "vhdx, $options: check" $?
done
qemu-img create -q -f vhdx -o block_size=1M large.vhdx 9G # behind the first block of bitmaps
qemu-io -f vhdx -c "write -q -P 1 4094M 5M" -c "write -q -P 2 8191M 3M" large.vhdx
"$img" convert -O raw large.vhdx read.raw && qemu-io -r -f raw -c "read -P 1 4094M 5M" -c "read -P 2 8191M 3M" read.raw |
  grep -c 'read 5242880/\|read 3145728/' | grep -q 2
check "vhdx: a large disk" $?
qemu-img compare -q -f vhdx -F raw large.vhdx read.raw
check "vhdx: a large disk, compared" $?
rm -f read.raw large.vhdx
"$img" create -q -f vhdx new.vhdx 1M 2>&1 | grep -q "cannot make vhdx"
check "vhdx: not made" $?

# --- sizes: geometry or not, as QEMU counts ---
for bytes in 1M 10M 503M 2047M 8G 127G 130G 1000G; do
  for force in on off; do
    qemu-img create -q -f vpc -o force_size=$force theirs.vpc $bytes
    "$img" create -q -f vpc -o force_size=$force ours.vpc $bytes
    want=$(qemu-img info --output=json theirs.vpc | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p')
    for by in qemu-img "$img"; do
      is "vpc of $bytes, force_size=$force, by ${by##*/}" \
        "$("$by" info --output=json ours.vpc | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p')" "$want"
    done
    is "vpc of $bytes, force_size=$force, QEMU's" \
      "$("$img" info --output=json theirs.vpc | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p')" "$want"
  done
done
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 5G
qemu-io -f vmdk -c "write -q -P 9 2047M 4M" -c "write -q -P 8 4G 1M" split.vmdk
"$img" convert -O vmdk -o subformat=twoGbMaxExtentSparse split.vmdk again.vmdk
qemu-img compare -q split.vmdk again.vmdk
check "vmdk: extents of 2 GB" $?
is "vmdk: three of them" "$(find . -name 'again-s*.vmdk' | wc -l | tr -d ' ')" 3

# --- parents ---
mkdir chain
qemu-img create -q -f vmdk chain/base.vmdk $size
patterns 31 $size 40 | qemu-io -f vmdk chain/base.vmdk >/dev/null
(cd chain && "$img" create -q -f vmdk -b base.vmdk -F vmdk middle.vmdk $size &&
  qemu-img create -q -f vmdk -b middle.vmdk -F vmdk top.vmdk)
patterns 32 $size 20 >patterns
# (Writing to it renews its CID, and its child would be without a parent: the child is made anew.)
qemu-io -f vmdk chain/middle.vmdk <patterns >/dev/null
(cd chain && "$img" create -q -f vmdk -b middle.vmdk -F vmdk top.vmdk $size)
patterns 33 $size 20 | qemu-io -f vmdk chain/top.vmdk >/dev/null
qemu-img convert -f vmdk -O raw chain/top.vmdk expected.raw
same "vmdk: a chain of three" chain/top.vmdk vmdk expected.raw
sound_here "vmdk: a chain of three" chain/top.vmdk
patterns 34 $size 20 | qemu-io -f raw expected.raw >/dev/null
"$img" convert -n -O vmdk expected.raw chain/top.vmdk
same "vmdk: a child written by us" chain/top.vmdk vmdk expected.raw
sound_here "vmdk: a child written by us" chain/top.vmdk
qemu-io -f vmdk -c "write -q -P 1 0 512" chain/middle.vmdk
"$img" map chain/top.vmdk 2>&1 | grep -q "written to since"
check "vmdk: a parent that was written to" $?
(cd chain && "$img" rebase -q -u -b middle.vmdk -F vmdk top.vmdk)
sound_here "vmdk: a parent taken as it is" chain/top.vmdk
qemu-img convert -f vmdk -O raw chain/top.vmdk expected.raw
"$img" commit -q chain/top.vmdk
same "vmdk: committed" chain/middle.vmdk vmdk expected.raw
same "vmdk: still a child after the commit" chain/top.vmdk vmdk expected.raw
sound_here "vmdk: committed" chain/middle.vmdk
"$img" convert -O vpc expected.raw chain/base.vpc
(cd chain && "$img" create -q -f vpc -b base.vpc -F vpc top.vpc)
"$img" compare -q chain/top.vpc expected.raw
check "vpc: a child" $?
finish
