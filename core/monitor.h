/* SPDX-License-Identifier: MIT */
/* What the human monitor may ask of the CPU side: formatted state. Implemented in core/info.c. */
#ifndef CORE_MONITOR_H
#define CORE_MONITOR_H

#include <stdint.h>
#include <stdio.h>

struct machine;

void info_registers(struct machine *m, FILE *out); /* QEMU's layout */
void info_mem(struct machine *m, FILE *out); /* ranges of mapped linear memory with rights */
void info_tlb(struct machine *m, FILE *out); /* one line per mapped page */
void info_jit(struct machine *m, FILE *out);
void info_mtree(struct machine *m, FILE *out);
/* Read guest memory without side effects; virtual or physical. Bytes read (short where unmapped). */
unsigned debug_read(struct machine *m, uint32_t addr, void *buf, unsigned len, int physical);

#endif
