#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Sound with real drivers: Debian's Linux loads snd-ens1370, snd-intel8x0 and pcspkr, snd-sb16, or snd-adlib, plays tones
# of known frequency and length through each, records, and beeps; what the emulator wrote to a WAV file is measured
# (tones.c). In counted time, where a busy host cannot make gaps; with SOUND_LONG=yes twice, which must give the same
# file, and in real time for a minute a tone, where the guest's own clock must agree. The kernel's package is fetched as
# systems.sh does, and BOOT_CACHE, BOOT_SYSTEMS and skipping are as there. Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
if [ "${BOOT_SYSTEMS:-yes}" = no ]; then
  echo "skipped: BOOT_SYSTEMS=no"
  echo "0 passed, 0 failed"
  exit 0
fi
here=$SRC/tests/boot
build=$(cd "$BUILD" && pwd)
cache=${BOOT_CACHE:-$build/boot-cache}
cc=${CC:-$(sed -n 's/^CC = //p' "$BUILD/config.mak")}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache" "$build/check-output"
. "$here/packages.sh"
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

give_up() { # WHY
  skip "$1"
  echo "$passed passed, $failed failed"
  exit 0
}

package=$(kernel_package)
[ -n "$package" ] && fetch "$package" || give_up "the package linux-image-686"
mkdir -p "$work/root/modules"
flags="-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra"
# shellcheck disable=SC2086
$cc -m32 -static $flags -o "$work/root/init" "$here/sound_init.c" -lm 2>"$work/cc.log" ||
  give_up "sound: $cc -m32 -static makes no programs here (install gcc-multilib)"
# shellcheck disable=SC2086
$cc $flags -o "$work/tones" "$here/tones.c" -lm || exit 1
for module in soundcore ac97_bus snd snd-pcm snd-timer snd-rawmidi snd-seq-device snd-ac97-codec snd-ens1370 \
  snd-intel8x0 gameport pcspkr snd-sb16 snd-sb16-csp snd-sb16-dsp snd-sb-common snd-mpu401-uart snd-opl3-lib snd-hwdep \
  snd-adlib; do
  find "$cache/$package/lib/modules" -name $module.ko -exec cp {} "$work/root/modules/" \;
done
(cd "$work/root" && find . | cpio -o -H newc) 2>/dev/null | gzip -1 >"$work/initramfs"
kernel=$(find "$cache/$package/boot" -name 'vmlinuz*')
cd "$work" || exit 1

pci='-device ES1370,audiodev=w -device AC97,audiodev=w -machine pcspk-audiodev=w'
cards=pci

run() { # NAME SECONDS-A-TONE argument...: NAME.wav, NAME.serial
  name=$1 tone=$2
  shift 2
  timeout 900 "$build/dragoman" -display none -m 128 -kernel "$kernel" -initrd initramfs \
    -append "console=ttyS0 quiet seconds=$tone cards=$cards" -serial "file:$name.serial" \
    -audiodev "wav,id=w,path=$name.wav" "$@" </dev/null
  check "$name: the emulator ends with status 0" $?
  grep -q '^sound: ok' "$name.serial"
  ok=$?
  check "$name: all goes well in the guest" $ok
  [ $ok -eq 0 ] || sed 's/^/  | /' "$name.serial"
}

# The five tones: each at its frequency, its level, clean, without a gap, and as long as it took; up to one period of
# the driver's (1024 frames, at the lowest rate 47 ms) is played beyond the end. A beep is as long as the guest slept.
measure() { # NAME SECONDS-A-TONE
  ./tones "$1.wav" >"$1.tones"
  awk -v tone="$2" -v name="$1" '
    function bad(what) {print name ": sound " NR " (" $0 "): " what; wrong = 1}
    {hz = NR == 5 ? 1193182 / 2711 : 440}
    $3 < hz - 0.02 || $3 > hz + 0.02 {bad("frequency")}
    NR < 5 && ($4 < 879.96 || $4 > 880.04) {bad("frequency of the right channel")}
    NR < 5 && ($5 < 11950 || $5 > 12050 || $6 < 5950 || $6 > 6050) {bad("level")}
    NR < 5 && $7 > -70 {bad("not clean")}
    $8 != 0 {bad("gaps")}
    $2 < tone - 0.001 || $2 > tone + (NR < 5 ? 0.05 : 0.3) {bad("length")}
    END {if (NR != 5) print name ": " NR " sounds, not 5"; exit wrong || NR != 5}' "$1.tones"
  check "$1: the five sounds" $?
  sed "s/^/$1: /" "$1.tones"
}

# The same by the host's clock, on which a busy host tears gaps: those are shown, in two of the sounds allowed, and the
# rest must be right. Each sound must begin when the guest's clock says so, less the time from power-on to its zero.
real() {
  ./tones real.wav >real.tones
  awk 'FNR == NR {if (sub(/.* from /, "")) {start[++n] = $1 + 0}; next}
    {begin[++sounds] = $1; length_[sounds] = $2; hz[sounds] = $3; rest[sounds] = $7; gaps[sounds] = $8}
    function bad(what) {print "real: sound " i ": " what; wrong = 1}
    END {
      zero = begin[1] - start[1]
      for (i = 1; i <= n; i++) {
        near = 0
        for (k = 1; k <= sounds; k++)
          if ((off = begin[k] - zero - start[i]) > -0.15 && off < 0.15) near = k
        if (!near) {bad("does not begin when it should"); continue}
        if (gaps[near] || length_[near] < 59.9) {print "real: sound " i ": torn by the host"; torn++; continue}
        wanted = i == 5 ? 1193182 / 2711 : 440
        if (hz[near] < wanted - 0.005 || hz[near] > wanted + 0.005) bad("frequency " hz[near])
        if (i < 5 && rest[near] > -70) bad("not clean: " rest[near])
        if (length_[near] > 60.3) bad("length " length_[near])
      }
      exit wrong || n != 5 || torn > 2
    }' real.serial real.tones
  check "real: the sounds" $?
  sed "s/^/real: /" real.tones
}

# shellcheck disable=SC2086
run counted 2 $pci -icount shift=3
measure counted 2
if [ "${SOUND_LONG:-no}" = yes ]; then
  # shellcheck disable=SC2086
  run again 2 $pci -icount shift=3
  cmp counted.wav again.wav
  check "counted: twice the same" $?
  # shellcheck disable=SC2086
  run real 60 $pci
  real
fi

# The cards on ISA: 16 and 8 bits (of which 48 dB is what can be had), and FM, of twice the chip's own level.
measure_isa() { # NAME SECONDS-A-TONE SOUND...
  ./tones "$1.wav" >"$1.tones"
  name=$1 tone=$2
  shift 2
  awk -v tone="$tone" -v name="$name" -v sounds="$*" '
    function bad(what) {print name ": sound " NR " (" $0 "): " what; wrong = 1}
    BEGIN {n = split(sounds, kind, " ")}
    {fm = kind[NR] == "fm"; right = fm ? 440 : 880}
    $3 < 439.95 || $3 > 440.05 || $4 < right - 0.05 || $4 > right + 0.05 {bad("frequency")}
    !fm && ($5 < 11900 || $5 > 12100 || $6 < 5900 || $6 > 6100) {bad("level")}
    fm && ($5 < 8100 || $5 > 8200) {bad("level")}
    $7 > (kind[NR] == "wide" ? -70 : -40) {bad("not clean")}
    $8 != 0 {bad("gaps")}
    $2 < tone - 0.001 || $2 > tone + (fm ? 0.3 : 0.05) {bad("length")}
    END {if (NR != n) print name ": " NR " sounds, not " n; exit wrong || NR != n}' "$name.tones"
  check "$name: its sounds" $?
  sed "s/^/$name: /" "$name.tones"
}

cards=sb16
run sb16 2 -device sb16,audiodev=w -icount shift=3
measure_isa sb16 2 wide bytes fm
cards=adlib
run adlib 2 -device adlib,audiodev=w -icount shift=3
measure_isa adlib 2 fm
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
