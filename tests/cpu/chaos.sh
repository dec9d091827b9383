#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A few hundred hostile guests (chaos.c), the same each time, under both address strategies.
set -u
: "${BUILD:?}"
failed=0
for engine in tlb,hot=on,verify=on window,hot=on,verify=on; do
  timeout 120 "$BUILD/chaos" -n 200 -e $engine || failed=$((failed + 1))
done
echo "$((2 - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
