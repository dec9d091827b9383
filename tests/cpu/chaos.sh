#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A few hundred hostile guests (chaos.c), the same each time.
set -u
: "${BUILD:?}"
exec timeout 120 "$BUILD/chaos" -n 300
