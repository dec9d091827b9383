#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Suites by others, which are not part of this repository (docs/exactness.md says where they come from):
#
#   suites.sh kvm-unit-tests DIR [ENGINE...]             DIR: a tree configured with --arch=i386, and made
#   suites.sh test386 ROM REFERENCE [ENGINE...]          ROM: made with POST_PORT 190h, OUT_PORT 2, other ports 0
#
# Prints a line for each test; the last line counts.
set -u
: "${BUILD:?}"
suite=${1:?}
passed=0
failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

verdict() { # ok? text
  if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  echo "$2"
}

# The exit port's status is 1 for success, 3 for a failure; 77 and above say skipped or stopped.
unit_test() { # engine name
  timeout "${TIMEOUT:-120}" "$BUILD/dragoman" -accel "$1" -m 512 -display none -monitor none -no-reboot \
    -serial "file:$tmp/out" -device pc-testdev -device isa-debug-exit,iobase=0xf4,iosize=4 \
    -kernel "$dir/x86/$2.flat" </dev/null >"$tmp/err" 2>&1
  status=$?
  counts="$(grep -ac '^PASS' "$tmp/out") passed, $(grep -ac '^FAIL' "$tmp/out") failed"
  case $status in
  1) verdict 0 "$1 $2: $counts" ;;
  77) echo "$1 $2: skipped by itself" ;;
  *) verdict 1 "$1 $2: $counts, ended with status $status" ;;
  esac
}

test386() { # engine
  timeout -k 5 "${TIMEOUT:-60}" "$BUILD/dragoman" -accel "$1" -m 16 -display none -monitor none -no-reboot \
    -bios "$rom" -d ioport -D "$tmp/log" </dev/null
  awk -v posts="$tmp/posts" '
    function hex(s,  i, n) {
      for (i = 1; i <= length(s); i++)
        n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
      return n
    }
    $1 == "out" && $2 ~ /^0002/ {printf "%c", hex($4)}
    $1 == "out" && $2 ~ /^0190/ {print $4 >posts}' "$tmp/log" >"$tmp/text"
  last=$(tail -n 1 "$tmp/posts")
  [ "$last" = ff ] && cmp -s "$tmp/text" "$reference"
  verdict $? "$1 test386: last POST ${last}h, $(wc -c <"$tmp/text") bytes of results, expected $(wc -c <"$reference")"
}

case $suite in
kvm-unit-tests)
  dir=${2:?}
  shift 2
  for engine in "${@:-window}"; do
    for file in "$dir"/x86/*.flat; do
      unit_test "$engine" "$(basename "$file" .flat)"
    done
  done
  ;;
test386)
  rom=${2:?}
  reference=${3:?}
  shift 3
  for engine in "${@:-window}"; do
    test386 "$engine"
  done
  ;;
*) exit 2 ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
