#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Rules that a machine can check: who includes whom, licence lines, lengths, and what must not be in the repository.
# Each rule counts as one test. Runs on the files that git knows, or on all when there is no git.
set -u
src=${SRC:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$src" || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if git rev-parse --git-dir >/dev/null 2>&1; then
  git ls-files >"$tmp/tracked"
else
  find . -type f ! -path './.git/*' | sed 's|^\./||' >"$tmp/tracked"
fi
while IFS= read -r file; do
  [ -f "$file" ] && printf '%s\n' "$file"
done <"$tmp/tracked" >"$tmp/all"
grep -E '\.(c|h|def)$' "$tmp/all" >"$tmp/c"
grep -E '\.(c|h|def|S|asm|inc|sh|py)$|^configure$|^Makefile\.in$|^\.ci/run$' "$tmp/all" >"$tmp/code"
grep -vE '\.(png|img|bin|gz)$' "$tmp/all" >"$tmp/text"

# rule NAME: what standard input lists breaks it. (At the end of a pipeline, so a file collects the results.)
rule() {
  cat >"$tmp/bad"
  if [ -s "$tmp/bad" ]; then
    echo "lint: $1:"
    sed 's/^/  /' "$tmp/bad"
    echo fail >>"$tmp/results"
  else
    echo pass >>"$tmp/results"
  fi
}

each() { # list command...: run the command with the files of the list as further arguments
  list=$1
  shift
  xargs -r "$@" <"$list"
}

# includes LAYER ALLOWED: includes of our own headers in the layer's files that match none of the patterns.
includes() {
  grep "^$1/" "$tmp/c" >"$tmp/layer"
  # (The lines of an X-macro table are includes too.)
  each "$tmp/layer" grep -HE '^#include "' | grep -vE ":#include \"($2)\"" |
    grep -vE '"(config\.h)"'
}

each "$tmp/code" grep -L 'SPDX-License-Identifier: MIT' | rule "no SPDX line"
each "$tmp/c" awk 'FNR == 1 && !/SPDX-License-Identifier/ {print FILENAME}' | rule "the SPDX line is not the first"
each "$tmp/c" awk 'FNR == 1 {next} FNR == 2 && !/^\/\*/ {print FILENAME}' | rule "no file header after the SPDX line"

includes core 'core/[a-z0-9_-]+\.(h|def)' | rule "core includes core only"
grep -v '^devices/\(pc\|board\)[a-z_]*\.[ch]$' "$tmp/c" >"$tmp/c.chips"
mv "$tmp/c" "$tmp/c.all"
mv "$tmp/c.chips" "$tmp/c"
includes devices 'core/(device|display|input|chardev|audio|net|clock|io|irq|log|mem|state)\.h|devices/.*\.h' |
  rule "a chip includes core/device.h and what it collects, display, input, chardev, audio, net and devices/"
mv "$tmp/c.all" "$tmp/c"
includes devices 'core/(device|display|input|chardev|audio|net|clock|io|irq|log|mem|state|machine|segment|snapshot)\.h|devices/.*\.h' |
  rule "the board may include core/machine.h and core/segment.h besides"
includes translate 'core/(cpu|fpu|hostfpu|x87_exact|insn|mem|paging|engine|segment|log|machine)\.h|core/[a-z-]+\.def|translate/.*\.h|translate/.*\.def' |
  rule "translate includes the CPU side of core and translate/"
includes frontends \
  'core/(machine|display|input|monitor|chardev|audio|net|log|engine|cpu|replay|snapshot)\.h|devices/board\.h|devices/block/(block|image)\.h|translate/translate\.h|frontends/.*\.h' |
  rule "frontends include the machine's interfaces, the board's and translate.h"

each "$tmp/c" awk 'FNR == 1 && name {if (n > 900) print name ": " n " lines"} {name = FILENAME; n = FNR}
  END {if (n > 900) print name ": " n " lines"}' | rule "over 900 lines"
each "$tmp/c" awk 'length($0) > 120 {print FILENAME ":" FNR ": " length($0) " columns"}' | grep -v '\.def:' |
  rule "lines over 120 columns"
each "$tmp/c" grep -nP '\t' | rule "tabs in C"
each "$tmp/code" grep -nE '[[:blank:]]+$' | rule "blanks at the end of a line"
each "$tmp/c" grep -nE '\b(TODO|FIXME|XXX)\b' | rule "unfinished business"
each "$tmp/c" grep -nE '^[[:blank:]]*#[[:blank:]]*if[[:blank:]]+0' | rule "disabled code"
each "$tmp/c" grep -nE '\btypedef (struct|union|enum)\b' | rule "typedefs of structures"
each "$tmp/c" grep -nE '\b(strcpy|strcat|sprintf|gets|strtok|alloca)[[:blank:]]*\(' | rule "functions without bounds"
each "$tmp/text" grep -nE '(^|[^a-z/])/(wor[k]|roo[t])/|/tmp/[b]ash_jobs|/home/[a-z]+/' | rule "paths of somebody's machine"
each "$tmp/c" grep -LE '^#ifndef [A-Z0-9_]+_H$' | grep '\.h$' | rule "headers without an include guard"

# Every C file is built: it is in the lists of Makefile.in, or a test says how.
grep -E '^(core|devices|translate|frontends)/.*\.c$' "$tmp/c" | while IFS= read -r file; do
  grep -qF "  ${file%.c}.o \\" Makefile.in || grep -qF "${file%.c}.o" Makefile.in || echo "$file"
done | rule "not in Makefile.in"

passed=$(grep -c pass "$tmp/results")
failed=$(grep -c fail "$tmp/results")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
