# SPDX-License-Identifier: MIT
#
# To be sourced: Debian's i386 packages, fetched with apt-get into $cache through a private apt state that leaves the
# host's alone.

# apt-get or apt-cache for i386 packages, with lists, cache and configuration below $cache/apt.
apt() {
  tool=apt-$1
  shift
  $tool -q -o Dir::State="$cache/apt" -o Dir::State::lists="$cache/apt/lists" -o Dir::Cache="$cache/apt" \
    -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::status=/dev/null -o APT::Architecture=i386 -o APT::Architectures=i386 \
    -o APT::Sandbox::User=root "$@"
}

# The lists, from the mirror that the host uses; the archive's signatures are checked with the host's keys.
apt_update() {
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security |
    sed -n 's/^\(deb \(\[.*\] \)*\|URIs: *\)\(http[^ ]*\).*/\3/p' | head -n 1)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$cache/apt/sources.list"
  apt get update
}

# fetch PACKAGE: unpacked below $cache/PACKAGE; false if that cannot be.
fetch() {
  [ -d "$cache/$1" ] && return 0
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
  [ -d "$cache/apt" ] || apt_update >"$cache/apt.log" 2>&1
  rm -rf "$cache/new"
  (cd "$cache/apt/archives" && rm -f ./*.deb && apt get download "$1") >>"$cache/apt.log" 2>&1 || return 1
  dpkg-deb -x "$cache/apt/archives/$1"_*.deb "$cache/new" && mv "$cache/new" "$cache/$1"
}

# The package that linux-image-686 stands for now.
kernel_package() {
  for dir in "$cache"/linux-image-[0-9]*; do
    [ -d "$dir" ] && basename "$dir" && return
  done
  [ -d "$cache/apt" ] || apt_update >"$cache/apt.log" 2>&1
  apt cache depends linux-image-686 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

skip() { echo "skipped: $1"; }
