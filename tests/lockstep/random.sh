#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Random code under interpreter and translator (random.c), with a fixed seed; LOCKSTEP_SEED and LOCKSTEP_CASES choose
# others.
set -u
: "${BUILD:?}"
exec "$BUILD/lockstep-random-run" "${LOCKSTEP_SEED:-1}" "${LOCKSTEP_CASES:-3000}"
