/* SPDX-License-Identifier: MIT */
/* The translating engine, address strategy "tlb" (DESIGN: dynamic translator). */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "core/engine.h"

extern const struct engine engine_tlb;

#endif
