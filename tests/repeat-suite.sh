#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The suite of fifty tests over one Linux (tests/scripts/linux) several times while the host is kept busy: verdicts,
# instruction counts, guest times and hashes of screens must be the same each time. Without its packages, the suite of
# the demo disk. REPEAT says how often [3], LOAD how many processes keep the host busy [twice its processors]. Prints "N
# passed, N failed": one for each test that was the same all the time.
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
src=$(cd "$SRC" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
work=$(mktemp -d) || exit 1
busy=
trap '[ -n "$busy" ] && kill $busy 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

. "$src/tests/boot/packages.sh"
. "$src/tests/suites-lib.sh"

if ! has_scripts; then
  echo "skipped: built without Lua"
  echo "0 passed, 0 failed"
  exit 0
fi
if [ "${BOOT_SYSTEMS:-yes}" != no ] && make_linux "$work/linux"; then
  suite="--path $work/linux $src/tests/scripts/linux/linux50.lua"
else
  echo "skipped: linux-image-686 and busybox-static; the demo disk instead"
  suite="$src/tests/scripts/demo/pages.lua $src/tests/scripts/demo/repeat.lua"
fi

for _ in $(seq "${LOAD:-$((2 * $(nproc)))}"); do
  (while :; do :; done) &
  busy="$busy $!"
done
for i in $(seq "${REPEAT:-3}"); do
  # (Paths without blanks: configure sees to it.)
  timeout 3000 "$build/dragoman" test -j $((i % 3 + 1)) --json "$work/run.json" --output "$work/files" $suite \
    >"$work/tap" 2>&1
  echo "run $i: exit status $?, $(sed -n 's/^# \([0-9]* passed.*\)/\1/p' "$work/tap")," \
    "$(sed -n 's/^  "host_seconds": \([0-9.]*\),/\1/p' "$work/run.json") s"
  sed -n 's/.*{"name": "\(.*\)", "script".*"verdict": "\([a-z]*\)".*"guest_seconds": \([0-9.]*\), "instructions": \([0-9]*\), "screen_hash": "\([0-9a-f]*\)".*/\1|\2 \3 \4 \5/p' \
    "$work/run.json" >>"$work/all"
done
[ -n "$busy" ] && kill $busy
busy=
sort "$work/all" | uniq -c | awk -v runs="${REPEAT:-3}" '
  {n = $1; sub(/^ *[0-9]+ /, ""); split($0, part, "|")
   name[part[1]] = 1
   if (n == runs && part[2] ~ /^pass|^skip/) same[part[1]] = 1
   else print "  " n " of " runs ": " $0}
  END {for (i in name) if (i in same) p++; else f++; print p + 0 " passed, " f + 0 " failed"; exit f > 0 || p == 0}'
