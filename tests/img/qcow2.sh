#!/bin/sh
# SPDX-License-Identifier: MIT
#
# qcow2 against QEMU's own tools: images made and written by qemu-img and qemu-io are read bit-identically, images that
# we make and write pass qemu-img check and compare; chains, compression, internal snapshots, commit, rebase, resize,
# repair; exit statuses and JSON. Prints "N passed, N failed".
set -u
. "$SRC/tests/img/common.sh"
cd "$work" || exit 1
size=8388608

# --- every kind of image, both ways ---
n=0
for options in compat=0.10 compat=1.1 cluster_size=512 cluster_size=4k cluster_size=2M refcount_bits=1 \
  refcount_bits=64,cluster_size=1k compat=0.10,cluster_size=512; do
  n=$((n + 1))
  qemu-img create -q -f qcow2 -o "$options" theirs.qcow2 $size
  patterns $n $size 60 | qemu-io -f qcow2 theirs.qcow2 >/dev/null
  case $options in
  *0.10*) ;;
  *) qemu-io -f qcow2 -c "write -q -z 1M 2M" -c "write -q -z -u 4M 128k" theirs.qcow2 ;;
  esac
  qemu-img convert -f qcow2 -O raw theirs.qcow2 expected.raw
  "$img" convert -f qcow2 -O raw theirs.qcow2 ours.raw && cmp -s expected.raw ours.raw
  check "$options: read bit by bit" $?
  "$img" convert -O qcow2 -o "$options" expected.raw ours.qcow2
  same "$options, made here" ours.qcow2 qcow2 expected.raw
  sound "$options, made here" ours.qcow2
  "$img" convert -c -O qcow2 -o "$options" expected.raw packed.qcow2
  same "$options, compressed here" packed.qcow2 qcow2 expected.raw
  sound "$options, compressed here" packed.qcow2
  # QEMU goes on writing to what we made.
  patterns 9$n $size 20 | qemu-io -f qcow2 packed.qcow2 >/dev/null
  qemu-img convert -O raw packed.qcow2 expected.raw
  same "$options, written on by QEMU" packed.qcow2 qcow2 expected.raw
done
qemu-img convert -c -O qcow2 expected.raw theirs.qcow2
"$img" compare -q theirs.qcow2 expected.raw
check "compressed by QEMU" $?
[ "$(stat -c %s packed.qcow2)" -gt 0 ] && "$img" convert -c -O qcow2 expected.raw packed.qcow2 &&
  [ "$(stat -c %s packed.qcow2)" -le "$(stat -c %s theirs.qcow2)" ]
check "compressed no worse than by QEMU" $?

# --- chains: raw <- qcow2 <- qcow2, in a directory of their own, named relatively ---
mkdir chain
patterns 5 $size 40 >patterns
qemu-img create -q -f raw chain/base.raw 6M
qemu-io -f raw -c "write -q -P 7 0 6M" chain/base.raw
(cd chain && "$img" create -q -f qcow2 -b base.raw -F raw middle.qcow2 $size &&
  qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2)
qemu-io -f qcow2 chain/top.qcow2 <patterns >/dev/null
qemu-io -f qcow2 -c "write -q -z 0 64k" chain/middle.qcow2
qemu-img convert -O raw chain/top.qcow2 expected.raw
same "a chain of three" chain/top.qcow2 qcow2 expected.raw
is "the chain in info" "$("$img" info --backing-chain chain/top.qcow2 | grep -c '^image:')" 3
cp -r chain copy
"$img" commit -q copy/top.qcow2
same "committed" copy/middle.qcow2 qcow2 expected.raw
sound "committed" copy/middle.qcow2
sound "emptied by the commit" copy/top.qcow2
same "emptied by the commit" copy/top.qcow2 qcow2 expected.raw
is "empty after the commit" "$(qemu-img map --output=json copy/top.qcow2 | grep -c '"depth": 0')" 0
cp -r chain rebased
qemu-img create -q -f raw rebased/other.raw 6M
(cd rebased && "$img" rebase -q -b other.raw -F raw top.qcow2)
same "rebased" rebased/top.qcow2 qcow2 expected.raw
is "the new backing file" "$(qemu-img info rebased/top.qcow2 | sed -n 's/^backing file: \([^ ]*\).*/\1/p')" other.raw
(cd rebased && "$img" rebase -q -u -b "" top.qcow2)
is "no backing file" "$(qemu-img info rebased/top.qcow2 | grep -c 'backing file')" 0
sound "rebased" rebased/top.qcow2
"$img" convert -O qcow2 -B base.raw -F raw chain/top.qcow2 chain/flat.qcow2
check "converted onto a backing file" $?
"$img" create -q -f qcow2 -u -b loop2.qcow2 -F qcow2 loop1.qcow2 1M
"$img" create -q -f qcow2 -u -b loop1.qcow2 -F qcow2 loop2.qcow2 1M
"$img" compare loop1.qcow2 loop2.qcow2 2>&1 | grep -q "its own backing file"
check "a loop of backing files is refused" $?

# --- internal snapshots ---
qemu-img create -q -f qcow2 s.qcow2 $size
patterns 6 $size 30 | qemu-io -f qcow2 s.qcow2 >/dev/null
qemu-img convert -O raw s.qcow2 first.raw
"$img" snapshot -c one s.qcow2
sound "a snapshot made here" s.qcow2
patterns 7 $size 30 | qemu-io -f qcow2 s.qcow2 >/dev/null
qemu-img snapshot -c two s.qcow2
qemu-img convert -O raw s.qcow2 second.raw
"$img" convert -l one -O raw s.qcow2 read.raw && cmp -s read.raw first.raw
check "a snapshot is read" $?
is "snapshots listed" "$("$img" snapshot -l s.qcow2 | awk 'NR > 2 {print $1 $2}' | tr '\n' ' ')" "1one 2two "
"$img" snapshot -a one s.qcow2
same "back to a snapshot" s.qcow2 qcow2 first.raw
sound "back to a snapshot" s.qcow2
"$img" snapshot -a two s.qcow2
"$img" snapshot -d one s.qcow2
sound "a snapshot deleted" s.qcow2
same "the other snapshot" s.qcow2 qcow2 second.raw
qemu-img snapshot -d two s.qcow2
sound "both deleted" s.qcow2

# --- sizes ---
"$img" create -q -f qcow2 r.qcow2 1M
qemu-io -f qcow2 -c "write -q -P 3 0 1M" r.qcow2
"$img" resize -q r.qcow2 +3G
is "grown" "$(qemu-img info --output=json r.qcow2 | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p')" 3222274048
"$img" resize -q r.qcow2 512k 2>/dev/null
is "shrinking needs --shrink" $? 1
"$img" resize -q --shrink r.qcow2 512k && "$img" resize -q r.qcow2 1M
sound "resized" r.qcow2
qemu-io -f qcow2 -c "read -q -P 3 0 512k" -c "read -q -P 0 512k 512k" r.qcow2 | grep -q mismatch
is "what was cut off is zeros" $? 1

# --- damage: exit statuses, repair ---
qemu-img convert -O qcow2 second.raw d.qcow2
printf '\000\002' | dd of=d.qcow2 bs=1 seek=$((131072 + 10)) conv=notrunc 2>/dev/null # a refcount of 2
"$img" check d.qcow2 >check.txt 2>&1
is "a leak" $? 3
grep -q '^1 leaked clusters were found' check.txt
check "the leak is counted" $?
"$img" check -q -r leaks d.qcow2
sound "the leak repaired" d.qcow2
printf '\000\000' | dd of=d.qcow2 bs=1 seek=$((131072 + 10)) conv=notrunc 2>/dev/null
"$img" check -q d.qcow2 2>/dev/null
is "corruption" $? 2
"$img" check -q -r all d.qcow2
sound "the corruption repaired" d.qcow2
dd if=/dev/zero of=d.qcow2 bs=65536 seek=1 count=1 conv=notrunc 2>/dev/null # no refcount table at all
"$img" check -q -r all d.qcow2
sound "refcounts made anew" d.qcow2
same "repaired" d.qcow2 qcow2 second.raw
printf '\001' | dd of=d.qcow2 bs=1 seek=79 conv=notrunc 2>/dev/null # dirty
"$img" resize -q d.qcow2 9M 2>/dev/null
is "a dirty image is repaired by its next writer" "$(qemu-img info d.qcow2 | grep -c 'cleanly shut down: no')" 0
"$img" check -q second.raw 2>/dev/null
is "nothing to check in raw images" $? 63
"$img" compare -q first.raw second.raw
is "images that differ" $? 1
"$img" compare -q first.raw nowhere.raw 2>/dev/null
is "an image that isn't there" $? 2

# --- what is refused, by name ---
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=64k x.qcow2 1M
"$img" map x.qcow2 2>&1 | grep -q "extended L2"
check "extended L2 entries" $?
qemu-img create -q -f qcow2 e.qcow2 1M
printf '\001' | dd of=e.qcow2 bs=1 seek=35 conv=notrunc 2>/dev/null
"$img" map e.qcow2 2>&1 | grep -q "encrypted"
check "encryption" $?
qemu-img create -q -f qcow2 -o data_file=data.raw f.qcow2 1M
"$img" map f.qcow2 2>&1 | grep -q "external data"
check "external data files" $?
if qemu-img create -q -f qcow2 -o compression_type=zstd z.qcow2 1M 2>/dev/null; then
  "$img" map z.qcow2 2>&1 | grep -q "zstd"
  check "zstd" $?
fi

# --- the same words in JSON ---
for file in chain/top.qcow2 s.qcow2 packed.qcow2; do
  qemu-img info --output=json $file | tr -d ' \n' | tr ',{}' '\n\n\n' | grep -v actual-size | sort >theirs.json
  "$img" info --output=json $file | tr -d ' \n' | tr ',{}' '\n\n\n' | grep -v actual-size | sort >ours.json
  cmp -s theirs.json ours.json
  check "info --output=json of $file" $?
  qemu-img check --output=json $file | tr -d ' \n' | tr ',{}' '\n\n\n' | sort >theirs.json
  "$img" check --output=json $file | tr -d ' \n' | tr ',{}' '\n\n\n' | sort >ours.json
  cmp -s theirs.json ours.json
  check "check --output=json of $file" $?
done
# (QEMU also tells holes in the file from the clusters that they are in; here are none.)
(cd chain && qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 whole.qcow2)
qemu-io -f qcow2 -c "write -q -P 3 1M 1M" chain/whole.qcow2
qemu-img map --output=json chain/whole.qcow2 | sed 's/, "offset": [0-9]*//' >theirs.json
"$img" map --output=json chain/whole.qcow2 >ours.json
cmp -s theirs.json ours.json
check "map --output=json" $?
finish
