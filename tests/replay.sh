#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Recording and replaying: keys and mouse movements reach a counted machine at moments of the host's choosing; each
# engine replays the recording to the same instruction, with the same registers, devices, memory, screen and serial
# output. A recording whose machine was killed is good to its end; damage and another machine are refused, and what
# differs is found. Ends with "N passed, N failed".
set -u
: "${BUILD:?}"
dragoman=$(cd "$BUILD" && pwd)/dragoman
work=$(mktemp -d) || exit 1
trap 'kill $recorder 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0
recorder=

result() { # NAME STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
    tail -n 3 errors 2>/dev/null | sed 's/^/  | /'
  fi
}

# Moments that differ from run to run.
moment() { sleep "0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')"; }

keys() {
  sleep 0.4
  for key in f1 a shift-b 1 ret esc spc up; do
    echo "sendkey $key"
    moment
    echo "mouse_move 3 -2"
    moment
  done
}

record() { # NAME option...
  name=$1
  shift
  timeout 60 "$dragoman" -icount "on,rr=record,rrfile=$name.rr${more:-}" -display none -serial "file:$name.serial" \
    -monitor stdio "$@" >"$name.out" 2>errors
}

replay() { # NAME option...
  name=$1
  shift
  rm -f again
  timeout 120 "$dragoman" -icount "on,rr=replay,rrfile=$name.rr" -display none -serial file:again "$@" </dev/null \
    >replay.out 2>errors
}

{
  keys
  echo "screentext"
  echo "info replay"
  echo quit
} | record demo
for engine in window tlb interp window,hot=on; do
  replay demo -accel "$engine" && cmp -s demo.serial again && grep -q 'as recorded, to the end' errors
  result "replay by $engine" $?
  sed -n 's/.*end: //p' errors >>sums
done
[ "$(sort -u sums | wc -l)" -eq 1 ] && grep -q ' [1-9][0-9]* inputs' sums
result "the same counts and screens by every engine" $?
sed 's/^/demo: /;q' sums

# A machine that resets, and one that is reset.
{
  keys
  echo system_reset
  keys
  echo system_reset
  moment
  echo quit
} | record resets
replay resets && cmp -s resets.serial again
result "replay with resets" $?

# Killed: the file is good to its end.
mkfifo commands
"$dragoman" -icount on,rr=record,rrfile=killed.rr -display none -serial null -monitor stdio <commands >/dev/null 2>errors &
recorder=$!
keys >commands
kill -9 $recorder
wait $recorder 2>/dev/null
recorder=
replay killed && grep -q 'was cut off here' errors
result "replay of a killed recording" $?
head -c $(($(wc -c <killed.rr) - 5)) killed.rr >short.rr
replay short && grep -q 'was cut off here' errors
result "replay of half a record" $?

# To a place near the end and back by snapshots: the same registers there, and the same end.
more=,rrsnapshot=1
{
  keys
  keys
  echo quit
} | record snaps
more=
replay snaps
near=$(($(sed -n 's/.*end: \([0-9]*\) instr.*/\1/p' errors) - 200000))
{
  for place in $near $((near - 8000000)) $near; do
    echo "replay_seek $place"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      sleep 0.5
      echo "info status"
      tail -n 1 seek.out | grep -q paused && break
    done
    echo "info registers"
  done
  echo "replay_delete_break"
  echo cont
  sleep 30
} | timeout 60 "$dragoman" -S -icount on,rr=replay,rrfile=snaps.rr -display none -serial null -monitor stdio >seek.out \
  2>errors
[ $? -eq 0 ] && grep -q 'as recorded, to the end' errors &&
  [ "$(grep -a '^EAX=' seek.out | sed -n 1p)" = "$(grep -a '^EAX=' seek.out | sed -n 3p)" ] &&
  [ "$(grep -ac '^EAX=' seek.out)" -eq 3 ] && ls snaps.rr.*.snap >/dev/null
result "back and forth by snapshots" $?
rm -f snaps.rr.*.snap

# What does not fit.
replay demo -m 64
[ $? -eq 1 ] && grep -q 'recorded with m=128, now m=64' errors
result "another machine is refused" $?
cp demo.rr damaged.rr
printf '\377' | dd of=damaged.rr bs=1 seek=$(($(wc -c <demo.rr) / 2)) conv=notrunc 2>/dev/null
replay damaged
[ $? -eq 1 ] && grep -q 'damaged at byte' errors
result "a damaged file is refused" $?
echo 'DRAGOMAN REPLAY 9' >other.rr
replay other
[ $? -eq 1 ] && grep -q 'another version' errors
result "another format is refused" $?

# Another disk of the same size: the first checkpoints behind the reading differ.
head -c 1048576 /dev/zero >disk.img
printf '\364\353\375' | dd of=disk.img conv=notrunc 2>/dev/null # hlt; jmp
printf '\125\252' | dd of=disk.img bs=1 seek=510 conv=notrunc 2>/dev/null
{
  sleep 1.5
  echo quit
} | record disk -hda disk.img -boot c
replay disk -hda disk.img -boot c
result "replay with a disk" $?
printf '\220\364\353\375' | dd of=disk.img conv=notrunc 2>/dev/null
replay disk -hda disk.img -boot c
[ $? -eq 1 ] && grep -q 'the last checkpoint that agreed is at' errors
result "another disk is noticed" $?

# Two runs by their options or recordings, and where they part.
"$dragoman" compare -accel-a interp demo.rr demo.rr >compared 2>errors && grep -q 'are the same' compared
result "compare: the same" $?
"$dragoman" compare -n 30000000 demo.rr resets.rr >compared 2>errors
[ $? -eq 1 ] && grep -q '^first difference: .* after [0-9]*:' compared
result "compare: different keys" $?
"$dragoman" compare -n 3000000 "-icount on" "-icount on -vga cirrus" >compared 2>errors
[ $? -eq 1 ] && grep -q '^first difference: ' compared
result "compare: different machines" $?
"$dragoman" compare demo.rr none.rr >compared 2>errors
[ $? -eq 2 ] && grep -q 'no such recording' errors
result "compare: no file" $?

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
