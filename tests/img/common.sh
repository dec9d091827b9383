# SPDX-License-Identifier: MIT
#
# For tests of disk images: sourced. A work directory, counting, and patterns written by QEMU's own tools.
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
img=$build/dragoman-img
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

check() { # WHAT STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1"
  fi
}

is() { # WHAT ACTUAL EXPECTED
  [ "$2" = "$3" ]
  check "$1: '$2', not '$3'" $?
}

finish() {
  echo "$passed passed, $failed failed"
  [ $failed -eq 0 ]
  exit
}

if ! command -v qemu-img >/dev/null || ! command -v qemu-io >/dev/null; then
  echo "FAILED: no qemu-img or qemu-io here (install qemu-utils)"
  failed=1
  finish
fi

# qemu-io commands: COUNT writes at random places of a disk of SIZE bytes, of many lengths, each with a pattern.
patterns() { # SEED SIZE COUNT
  awk -v seed="$1" -v size="$2" -v count="$3" 'BEGIN {
    srand(seed)
    split("512 1024 4096 4096 12288 65536 66048 200704 1048576", length_of, " ")
    for (i = 0; i < count; i++) {
      len = length_of[1 + int(rand() * 9)]
      at = int(rand() * (size - len) / 512) * 512
      printf "write -q -P %d %d %d\n", 1 + int(rand() * 255), at, len
    }
  }'
}

# Both programs see the same disk, and QEMU finds nothing wrong with the image. same WHAT FILE FORMAT RAW
same() {
  qemu-img compare -q -f "$3" -F raw "$2" "$4"
  check "$1: QEMU reads the same" $?
  "$img" compare -q -f "$3" -F raw "$2" "$4"
  check "$1: dragoman-img reads the same" $?
}

sound() { # WHAT FILE
  qemu-img check -q "$2" >"$work/check.log" 2>&1
  check "$1: qemu-img check" $?
  "$img" check -q "$2" >"$work/check.log" 2>&1
  check "$1: dragoman-img check" $?
}
