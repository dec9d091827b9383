#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The same counted run, RUNS times (5; 20 for a release), while every processor of the host is kept busy by twice as many processes and
# somebody keeps asking the machine for its state and screen: the same instruction count, registers and screen each time.
# OPTIONS and SECONDS (of the guest) choose another run than the demo disk's. Ends with "N passed, N failed".
set -u
: "${BUILD:?}"
dragoman=$(cd "$BUILD" && pwd)/dragoman
runs=${RUNS:-5}
seconds=${SECONDS_OF_GUEST:-6}
work=$(mktemp -d) || exit 1
busy=
trap 'kill $busy 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

run() { # NAME
  {
    echo "at 1.2 sendkey f1"
    echo "at 2.1 type abc\\n"
    echo "at 2.5 mouse_move 5 5"
    echo "at $seconds screendump $1.ppm"
    echo "at $seconds info registers"
    echo "at $seconds info cpus"
    echo "at $seconds quit"
    echo cont
    while sleep "0.0$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')"; do
      echo "screendump look.ppm" || break
      echo "info network" || break
    done
  } 2>/dev/null | timeout 300 "$dragoman" -S -icount on -display none -snapshot -monitor stdio -serial "file:$1.serial" \
    ${OPTIONS:-} >"$1.out" 2>&1
  grep -aE '^(E[A-Z]+=|[A-Z]{2} =|CR0|XMM|\* CPU)' "$1.out" >"$1.state"
  cat "$1.state" "$1.ppm" "$1.serial" 2>/dev/null | sha1sum
}

run quiet >sums
for _ in $(seq $(($(nproc) * 2))); do
  (while :; do :; done) &
  busy="$busy $!"
done
i=1
while [ $i -lt "$runs" ]; do
  run "load$i" >>sums
  i=$((i + 1))
done
grep -a 'instructions=' quiet.state
sort sums | uniq -c
if grep -q 'instructions=' quiet.state && [ -s quiet.ppm ] && [ "$(sort -u sums | wc -l)" -eq 1 ]; then
  echo "1 passed, 0 failed"
else
  echo "0 passed, 1 failed"
  exit 1
fi
