#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The example suites of "dragoman test" (docs/testing.md, docs/ci.md): the demo disk; systems from Debian's packages
# (memtest86+); fifty tests over one booted Linux, each in a copy of its machine. The packages are fetched as
# by tests/boot/systems.sh, into the same cache; what cannot be fetched is skipped, and said; BOOT_SYSTEMS=no skips all but
# the demo disk. SUITES names those to run [demo packages linux]. Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
src=$(cd "$SRC" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
output=$build/check-output/suites
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0
mkdir -p "$cache" "$output"
cache=$(cd "$cache" && pwd)

. "$src/tests/boot/packages.sh"
. "$src/tests/suites-lib.sh"

if ! has_scripts; then
  echo "skipped: built without Lua"
  echo "0 passed, 0 failed"
  exit 0
fi

# suite NAME option... SCRIPT...: adds its figures to the sum
suite() {
  name=$1
  shift
  timeout 1800 "$build/dragoman" test -j "$(nproc)" --output "$output/$name" --junit "$output/$name.xml" \
    --json "$output/$name.json" "$@" >"$output/$name.tap" 2>&1
  status=$?
  sum=$(sed -n 's/^# \([0-9]*\) passed, \([0-9]*\) failed, .*/\1 \2/p' "$output/$name.tap")
  echo "suite $name: ${sum:-no result} (passed, failed), exit status $status"
  grep -E '^not ok|^  message:' "$output/$name.tap"
  passed=$((passed + ${sum%% *}))
  failed=$((failed + ${sum##* }))
  [ -n "$sum" ] && { [ $status -eq 0 ] || [ "${sum##* }" -ne 0 ]; } || failed=$((failed + 1))
}

for suite in ${SUITES:-demo packages linux}; do
  case $suite in
  demo) suite demo "$src/tests/scripts/demo/pages.lua" "$src/tests/scripts/demo/repeat.lua" ;;
  packages)
    scripts=
    [ "${BOOT_SYSTEMS:-yes}" = no ] && skip "BOOT_SYSTEMS=no" && continue
    fetch memtest86+ && scripts="$scripts $src/tests/scripts/packages/memtest.lua" || skip memtest86+
    # (Paths without blanks: configure sees to it.)
    [ -n "$scripts" ] && suite packages --path "$cache" $scripts
    ;;
  linux)
    [ "${BOOT_SYSTEMS:-yes}" = no ] && skip "BOOT_SYSTEMS=no" && continue
    if make_linux "$work/linux"; then
      suite linux --path "$work/linux" "$src/tests/scripts/linux/linux50.lua"
    else
      skip "linux-image-686 and busybox-static"
    fi
    ;;
  esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
