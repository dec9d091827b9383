#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Real work inside Linux: a Debian kernel and programs of Debian's i386 packages (linux_init.c has the list), in the
# emulators and natively, in a table (bench.c); then how long systems take to start (starts.sh). The packages, 60 MB with the kernel, are
# fetched with apt-get into $BOOT_CACHE (default $BUILD/boot-cache) through a private apt state; what they hold is
# unpacked there, and never becomes part of anything else. Natively the same files run under chroot, so that every
# program is the same file with the same input. Options, in the environment, as in run.sh:
#   BENCH_FILTER, BENCH_ENGINES, BENCH_RUNS, BENCH_QEMU
#   BENCH_GUESTS=DIRECTORY     of freedos-1.4MB.img and kolibri.img, to be started too (also: DRAGOMAN_GUESTS)
set -eu
: "${SRC:?}" "${BUILD:?}"
here=$SRC/tests/bench
build=$(cd "$BUILD" && pwd)
out=$build/check-output/bench
cache=${BOOT_CACHE:-$build/boot-cache}
cc=${CC:-$(sed -n 's/^CC = //p' "$BUILD/config.mak")}
packages="busybox-static bzip2 coreutils dash diffutils findutils grep gzip openssl perl-base python3.11-minimal
  sed tar xz-utils"
mkdir -p "$out" "$cache/apt/lists/partial" "$cache/apt/archives/partial"

fail() {
  echo "bench: $1"
  exit 1
}

# apt-get or apt-cache for i386 packages, with lists, cache and configuration below $cache/apt.
apt() {
  tool=apt-$1
  shift
  $tool -q -o Dir::State="$cache/apt" -o Dir::State::lists="$cache/apt/lists" -o Dir::Cache="$cache/apt" \
    -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::status=/dev/null -o APT::Architecture=i386 -o APT::Architectures=i386 \
    -o APT::Sandbox::User=root "$@"
}

update_lists() {
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security |
    sed -n 's/^\(deb \(\[.*\] \)*\|URIs: *\)\(http[^ ]*\).*/\3/p' | head -n 1)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$cache/apt/sources.list"
  apt get update
}

# The kernel that linux-image-686 stands for, in $kernel; the programs in $tree.
find_kernel() { kernel=$(find "$cache" -path '*/linux-image-[0-9]*-686/boot/vmlinuz-*-686' 2>/dev/null | head -n 1); }

fetch_kernel() {
  name=$(apt cache depends linux-image-686 | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
  [ -n "$name" ] && (cd "$cache/apt/archives" && rm -f linux-image-*.deb && apt get download "$name") &&
    dpkg-deb -x "$cache/apt/archives/$name"_*.deb "$cache/$name"
}

# Everything that the packages need, without their scripts; what is only to be read by people is dropped.
fetch_programs() {
  rm -rf "$cache/bench-new"
  mkdir -p "$cache/bench-new/usr/bin" "$cache/bench-new/usr/lib" "$cache/bench-new/usr/sbin"
  for dir in bin lib sbin; do ln -s usr/$dir "$cache/bench-new/$dir"; done
  rm -f "$cache/apt/archives"/*.deb
  # shellcheck disable=SC2086
  apt get install --download-only --no-install-recommends -y $packages || return 1
  for package in "$cache/apt/archives"/*.deb; do
    dpkg-deb -x "$package" "$cache/bench-new" || return 1
  done
  rm -rf "$cache/bench-new/usr/share" "$cache/bench-new/usr/include" "$cache/bench-new/usr/lib/i386-linux-gnu/gconv" \
    "$cache/bench-new/var" "$cache/bench-new/boot"
  mkdir -p "$cache/bench-new/proc" "$cache/bench-new/dev" "$cache/bench-new/tmp"
  ln -sf dash "$cache/bench-new/usr/bin/sh"
  mv "$cache/bench-new" "$tree"
}

fetch_all() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  [ -d "$tree" ] && [ -n "$kernel" ] && return 0
  echo "bench: fetching Debian packages" >&2
  update_lists && { [ -n "$kernel" ] || fetch_kernel; } && { [ -d "$tree" ] || fetch_programs; }
}

# Input: 6 MB of programs' files, always the same ones in the same order; and a key.
make_input() {
  (cd "$tree" && find usr/bin usr/lib -type f | LC_ALL=C sort | xargs cat 2>/dev/null) | head -c 6291456 >"$tree/input"
  openssl genrsa -traditional -out "$tree/key" 3072 2>/dev/null
  mkdir -p "$tree/tree"
  cp -r "$tree/usr/lib/python3.11" "$tree/tree/"
}

make_initramfs() {
  (cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0) 2>/dev/null | gzip -1 >"$out/initramfs"
}

tree=$cache/bench-tree
find_kernel
fetch_all >"$cache/apt.log" 2>&1 || fail "packages cannot be fetched (see $cache/apt.log): no figures of Linux"
find_kernel
# shellcheck disable=SC2086
$cc -m32 -static -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra "-I$here" -o "$out/linux_init" "$here/linux_init.c" \
  2>"$out/native.log" || fail "$cc -m32 -static makes no programs here (install gcc-multilib): no figures of Linux"
[ -e "$tree/input" ] && [ -e "$tree/key" ] || make_input
cmp -s "$out/linux_init" "$tree/init" && [ -e "$out/initramfs" ] || {
  cp "$out/linux_init" "$tree/init"
  make_initramfs
}
$cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$out/bench" "$here/bench.c" "$here/table.c" -lm
"$out/bench" -n "$out/linux_init" -c "$tree" -g "$kernel" -i "$out/initramfs" -d "$build/dragoman" \
  -q "${BENCH_QEMU:-qemu-system-i386}" -e "${BENCH_ENGINES:-native dragoman qemu}" -f "${BENCH_FILTER:-}" \
  -r "${BENCH_RUNS:-3}"
status=$?
KERNEL=$kernel INITRAMFS=$out/initramfs "$here/footprint.sh"
if [ -n "${BENCH_GUESTS:-${DRAGOMAN_GUESTS:-}}" ]; then
  GUESTS=${BENCH_GUESTS:-$DRAGOMAN_GUESTS} "$here/starts.sh"
fi
exit $status
