/* SPDX-License-Identifier: MIT */
/* The interpreter's side of a comparison with the host; see guest.h. */
#include "tests/cpu/guest.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/paging.h"
#include "core/segment.h"

#define LOW_SIZE 0x10000u
#define LOW_LA 0x7a5c0000u /* where the tables are mapped, for the supervisor only */
#define GDT 0x1000u
#define TSS 0x1800u
#define IDT 0x2000u
#define HANDLERS 0x3000u /* 16 bytes apart */
#define STACK0 0x8000u
#define PAGE_DIR 0x9000u
#define PAGE_TABLE_LOW 0xa000u
#define PAGE_TABLE 0xb000u
#define CODE0 0x08u
#define DATA0 0x10u
#define TSS_SEL 0x18u
#define CODE3 0x23u
#define DATA3 0x2bu

static void put32(struct guest *g, uint32_t pa, uint32_t value) { memcpy(g->low + pa, &value, 4); }
static uint32_t get32(const struct guest *g, uint32_t pa) {
  uint32_t value;
  memcpy(&value, g->low + pa, 4);
  return value;
}

static void put_descriptor(struct guest *g, uint32_t sel, uint32_t lo, uint32_t hi) {
  put32(g, GDT + (sel & ~7u), lo);
  put32(g, GDT + (sel & ~7u) + 4, hi);
}

static void build_tables(struct guest *g) {
  put_descriptor(g, CODE0, 0x0000ffff, 0x00cf9b00);
  put_descriptor(g, DATA0, 0x0000ffff, 0x00cf9300);
  put_descriptor(g, CODE3, 0x0000ffff, 0x00cffb00);
  put_descriptor(g, DATA3, 0x0000ffff, 0x00cff300);
  put_descriptor(g, TSS_SEL, TSS << 16 | 0x67, (LOW_LA & 0xff000000) | 0x8b00 | (LOW_LA >> 16 & 0xff));
  put32(g, TSS + 4, LOW_LA + STACK0);
  put32(g, TSS + 8, DATA0);
  put32(g, TSS + 0x64, 0x68u << 16); /* no I/O permission map */
  for (uint32_t v = 0; v < 256; v++) {
    uint32_t dpl = v == EXC_BP || v == EXC_OF ? 3 : 0;
    put32(g, IDT + 8 * v, CODE0 << 16 | (HANDLERS + 16 * v));
    put32(g, IDT + 8 * v + 4, (LOW_LA & 0xffff0000) | 0x8e00 | dpl << 13);
  }
  put32(g, PAGE_DIR + 4 * (LOW_LA >> 22), PAGE_TABLE_LOW | 3);
  for (uint32_t pa = 0; pa < LOW_SIZE; pa += MEM_PAGE)
    put32(g, PAGE_TABLE_LOW + 4 * ((LOW_LA + pa) >> 12 & 1023), pa | 3);
  put32(g, PAGE_DIR + 4 * (NATIVE_CODE >> 22), PAGE_TABLE | 7);
  for (uint32_t la = NATIVE_CODE; la < NATIVE_CODE + NATIVE_CODE_SIZE; la += MEM_PAGE)
    put32(g, PAGE_TABLE + 4 * (la >> 12 & 1023), la | 7);
  for (uint32_t la = NATIVE_DATA; la < NATIVE_DATA + NATIVE_DATA_SIZE; la += MEM_PAGE)
    put32(g, PAGE_TABLE + 4 * (la >> 12 & 1023), la | 7);
}

static uint8_t *add_ram(struct guest *g, const char *name, uint32_t pa, uint32_t size) {
  struct mem_block *block = mem_block_new(g->machine.mem, name, size);
  if (!block)
    abort();
  mem_map_ram(g->machine.mem, pa, size, block, 0);
  return block->host;
}

static void protect_page(void *opaque, uint8_t *host_page) {
  struct machine *m = opaque;
  if (host_page)
    tlb_protect_host_page(m->cpu[0], host_page);
  else
    tlb_flush(m->cpu[0], false);
}

struct guest *guest_new(const char *model) {
  struct guest *g = calloc(1, sizeof *g);
  if (!g || !(g->machine.mem = mem_new()))
    abort();
  g->low = add_ram(g, "low", 0, LOW_SIZE);
  g->code = add_ram(g, "code", NATIVE_CODE, NATIVE_CODE_SIZE);
  g->data = add_ram(g, "data", NATIVE_DATA, NATIVE_DATA_SIZE);
  build_tables(g);
  g->cpu = cpu_new(&g->machine, cpu_model_find(model));
  g->machine.cpu[0] = g->cpu;
  g->machine.cpu_count = 1;
  g->machine.mem->listener = &g->machine;
  g->machine.mem->on_protect = protect_page;
  memset(g->low + HANDLERS, 0xf4, 256 * 16); /* HLT */
  return g;
}

void guest_free(struct guest *g) {
  if (g->engine)
    g->engine->destroy(g->cpu);
  cpu_free(g->cpu);
  mem_free(g->machine.mem);
  free(g);
}

void guest_use_engine(struct guest *g, const struct engine *engine) {
  if (engine->init(g->cpu, NULL) != 0)
    abort();
  g->engine = engine;
}

void guest_put_code(struct guest *g, const uint8_t *code) {
  mem_dma_write(g->machine.mem, NATIVE_CODE, code, NATIVE_CODE_SIZE);
}

void guest_put_data(struct guest *g, const uint8_t *data) { memcpy(g->data, data, NATIVE_DATA_SIZE); }

static void load_segment(struct guest *g, int seg, uint16_t sel, uint16_t attr) {
  struct seg *s = &g->cpu->seg[seg];
  *s = (struct seg){.sel = sel, .attr = attr, .limit = 0xffffffffu};
  if (seg == TR) {
    s->base = LOW_LA + TSS;
    s->limit = 0x67;
  }
  seg_update_room(s, sel == 0);
}

void guest_load(struct guest *g, const struct native_state *state) {
  struct cpu *cpu = g->cpu;
  cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
  cpu->cr4 = CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT;
  if (cpu->cr3 != PAGE_DIR) {
    cpu->cr3 = PAGE_DIR;
    tlb_flush(cpu, false);
  }
  cpu->gdtr = (struct dtr){.base = LOW_LA + GDT, .limit = 0x2f};
  cpu->idtr = (struct dtr){.base = LOW_LA + IDT, .limit = 0x7ff};
  for (int seg = ES; seg <= DS; seg++)
    load_segment(g, seg, seg == CS ? CODE3 : DATA3, seg == CS ? 0xc0fb : 0xc0f3);
  load_segment(g, FS, 0, 0);
  load_segment(g, GS, 0, 0);
  load_segment(g, LDTR, 0, 0);
  load_segment(g, TR, TSS_SEL, 0x008b);
  cpu->cpl = 3;
  memcpy(cpu->gpr, state->gpr, sizeof cpu->gpr);
  cpu->eip = cpu->next_eip = state->eip;
  cpu->eflags = (state->eflags & (FL_ARITH | FL_DF | FL_AC | FL_ID)) | FL_1 | FL_IF;
  memcpy(&cpu->fx, &state->fx, 8);
  cpu->fx.mxcsr = state->fx.mxcsr;
  memcpy(cpu->fx.st, state->fx.st, 128 + 128);
  cpu->fx.fip = cpu->fx.fdp = 0;
  cpu->fx.fcs = cpu->fx.fds = 0;
  cpu->pending = 0;
  cpu->shadow = SHADOW_NONE;
  cpu->halted = cpu->shutdown = 0;
  cpu->dr[6] = 0xffff0ff0u;
  cpu_update_mode(cpu);
}

void guest_run(struct guest *g, struct native_state *state, unsigned steps) {
  guest_load(g, state);
  guest_continue(g, state, steps);
}

/* To the HLT of an exception's handler. */
static void run_cpu(struct guest *g, unsigned steps) {
  struct cpu *cpu = g->cpu;
  if (g->engine) {
    cpu->icount_limit = cpu->icount + steps;
    g->engine->run(cpu);
    return;
  }
  while (!cpu->halted && !cpu->shutdown && steps-- > 0) {
    interp_step(cpu);
    if (cpu->pending & PEND_TRAP)
      cpu_deliver_events(cpu);
  }
}

void guest_continue(struct guest *g, struct native_state *state, unsigned steps) {
  struct cpu *cpu = g->cpu;
  run_cpu(g, steps);
  memcpy(state->gpr, cpu->gpr, sizeof cpu->gpr);
  memcpy(&state->fx, &cpu->fx, sizeof cpu->fx);
  state->vector = -1;
  state->eip = cpu->eip;
  state->eflags = cpu->eflags;
  if (!cpu->halted)
    return;
  state->vector = (int)((cpu->eip - LOW_LA - HANDLERS) / 16);
  bool has_error = cpu->gpr[ESP] == LOW_LA + STACK0 - 24;
  uint32_t frame = STACK0 - 20;
  state->error = has_error ? get32(g, frame - 4) : 0;
  state->eip = get32(g, frame);
  state->eflags = get32(g, frame + 8);
  state->gpr[ESP] = get32(g, frame + 12);
  state->cr2 = cpu->cr2;
}
