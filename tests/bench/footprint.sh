#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the emulator itself costs: the time from exec to the guest's first instructions, and the host memory beside the
# guest's. SRC, BUILD, BENCH_ENGINES and BENCH_RUNS as in linux.sh, which also leaves the files for the second part.
#
# Start-up: the guest is a ROM whose first three instructions end the emulator, so the time is that from exec to the
# end, everything taken down again, wall clock: what is asked for and a little more. Of BENCH_STARTS runs, the median and
# the least.
#
# Memory: proportional set size of all mappings but those of the guest's memory (RAM, ROM and video memory, which is
# resident as far as the guest touched it): each resident page once, however often it is mapped; pages of libraries
# that other programs use too, in part. "touched" is what the host has allocated for the guest's memory. $KERNEL and
# $INITRAMFS: those of linux.sh; after start-up, the pieces of work in $WORKS run, and after each it is looked again.
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
work=$(mktemp -d) || exit 1
machine=
trap '[ -n "$machine" ] && kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

# At FFFF:0000h: mov al, 0; out F4h, al; hlt.
make_rom() {
  head -c 65520 /dev/zero | tr '\0' '\364' >rom
  printf '\260\000\346\364\364' >>rom
  head -c 11 /dev/zero | tr '\0' '\364' >>rom
}

start_up() { # ENGINE MB
  : >times
  run=0
  while [ $run -lt "${BENCH_STARTS:-15}" ]; do
    from=$(date +%s%N)
    "$build/dragoman" -accel "$1" -m "$2" -display none -serial none -monitor none -bios rom \
      -device isa-debug-exit,iobase=0xf4,iosize=4 2>errors
    [ $? -eq 1 ] || { cat errors; exit 1; } # isa-debug-exit: value * 2 + 1
    echo $(($(date +%s%N) - from)) >>times
    run=$((run + 1))
  done
  sort -n times | awk -v engine="$1" -v mb="$2" '
    {v[NR] = $1 / 1e6}
    END {printf "%-24s %-10s %6.1f ms (least %.1f)\n", "start-up-" mb "M", engine, v[int((NR + 1) / 2)], v[1]}'
}

memory() { # WHEN ENGINE
  awk -v name="memory-$1" -v engine="$2" -v blocks="$(
    for fd in "/proc/$machine/fd"/*; do
      case $(readlink "$fd") in *'memfd:guest memory'*) stat -L -c %b "$fd" ;; esac
    done | head -n 1)" '
    /^[0-9a-f]+-[0-9a-f]+ / {
      kind = /memfd:guest memory/ ? "guest" : /memfd:code cache/ ? "code" : $6 ~ /^\// ? "files" : "anonymous"
    }
    /^Pss:/ {pss[kind] += $2 / 1024}
    END {
      printf "%-24s %-10s %6.1f MB (code cache %.1f, anonymous %.1f, files %.1f; guest touched %.1f)\n", name, engine,
        pss["code"] + pss["anonymous"] + pss["files"], pss["code"], pss["anonymous"], pss["files"], blocks / 2048
    }' "/proc/$machine/smaps"
}

# The answers up to a line that begins with a letter of $1; the numbers of the works are noted.
await() {
  while IFS= read -r line <&3; do
    case $line in
      K*) echo "$line" >>known ;;
      ["$1"]*) return ;;
    esac
  done
  return 1
}

linux() { # ENGINE
  mkfifo in out 2>/dev/null
  : >known
  "$build/dragoman" -accel "$1" -m 512 -display none -nodefaults -vga std -serial stdio -monitor none -no-reboot \
    -kernel "$KERNEL" -initrd "$INITRAMFS" -append 'console=ttyS0 quiet loglevel=1 filter= ' <in >out 2>errors &
  machine=$!
  exec 4>in 3<out
  await B || { cat errors; return 1; }
  memory shell "$1"
  for name in ${WORKS:-fork-exec-static xz python-start}; do
    number=$(awk -v name="$name" '$3 == name {print $2}' known)
    echo "r $number" >&4
    await EF || return 1
    memory "$name" "$1"
  done
  kill "$machine"
  wait "$machine" 2>/dev/null
  machine=
  exec 3<&- 4>&-
}

make_rom
for engine in ${BENCH_ENGINES:-window}; do
  case $engine in
    native | qemu) continue ;;
    dragoman) engine=window ;;
  esac
  start_up $engine 128
  start_up $engine 512
  if [ -e "${KERNEL:-}" ] && [ -e "${INITRAMFS:-}" ]; then linux $engine || exit 1; fi
done
exit 0
