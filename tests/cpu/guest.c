/* SPDX-License-Identifier: MIT */
/* The emulator's side of a comparison with the host; see guest.h. */
#include "tests/cpu/guest.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/paging.h"
#include "core/segment.h"

#define GDT 0x1000u
#define TSS 0x1800u
#define IDT 0x2000u
#define HANDLERS 0x3000u /* 16 bytes apart */
#define LDT 0x7000u
#define STACK0 0x8000u
#define PAGE_DIR 0x9000u /* and, with PAE, the directory of the first gigabyte */
#define PAGE_TABLE_LOW 0xa000u
#define PAGE_TABLE 0xb000u
#define PAGE_POINTERS 0xc000u
#define PAGE_DIR_LOW 0xd000u /* with PAE: of the second gigabyte, where GUEST_TABLES lies */
/* The selectors that are the kernel's own under Linux; 8 to 5Fh are not accessible from ring 3 there either.
 */
#define CODE0 0x08u
#define DATA0 0x18u
#define TSS_SEL 0x40u
#define LDT_SEL 0x50u
#define GETCPU_SEL 0x78u
#define GDT_LIMIT 0x7fu

static void put32(struct guest *g, uint32_t pa, uint32_t value) { memcpy(g->low + pa, &value, 4); }
static uint32_t get32(const struct guest *g, uint32_t pa) {
  uint32_t value;
  memcpy(&value, g->low + pa, 4);
  return value;
}

static void put_descriptor(struct guest *g, uint32_t at, uint32_t base, uint32_t limit, uint32_t attr) {
  put32(g, at, base << 16 | (limit & 0xffff));
  put32(g, at + 4, (base & 0xff000000) | (limit & 0xf0000) | attr << 8 | (base >> 16 & 0xff));
}

/* As the kernel makes them: accessed, DPL 3. */
static uint16_t ldt_attributes(const struct native_segment *s) {
  uint16_t type = s->code ? (s->read_only ? 0x9 : 0xb) : (s->read_only ? 1 : 3) | (s->expand_down ? 4 : 0);
  return (uint16_t)(type | SEG_S | 3 << SEG_DPL_SHIFT | (s->absent ? 0 : SEG_P) | (s->big ? SEG_DB : 0) |
                    (s->pages ? SEG_G : 0));
}

static void map_page(struct guest *g, uint32_t table, uint32_t la, uint32_t pa, uint32_t rights,
                     bool no_execute) {
  if (!g->pae) {
    put32(g, table + 4 * (la >> 12 & 1023), pa | rights);
    return;
  }
  put32(g, table + 8 * (la >> 12 & 511), pa | rights);
  put32(g, table + 8 * (la >> 12 & 511) + 4, no_execute ? 0x80000000u : 0);
}

static void map_area(struct guest *g, uint32_t la, uint32_t size, uint32_t rights, bool no_execute) {
  for (uint32_t end = la + size; la < end; la += MEM_PAGE)
    map_page(g, PAGE_TABLE, la, la, rights, no_execute);
}

static void build_paging(struct guest *g) {
  if (g->pae) {
    put32(g, PAGE_POINTERS, PAGE_DIR | 1);
    put32(g, PAGE_POINTERS + 8, PAGE_DIR_LOW | 1);
    put32(g, PAGE_DIR_LOW + 8 * (GUEST_TABLES >> 21 & 511), PAGE_TABLE_LOW | 3);
    put32(g, PAGE_DIR + 8 * (NATIVE_CODE >> 21), PAGE_TABLE | 7);
  } else {
    put32(g, PAGE_DIR + 4 * (GUEST_TABLES >> 22), PAGE_TABLE_LOW | 3);
    put32(g, PAGE_DIR + 4 * (NATIVE_CODE >> 22), PAGE_TABLE | 7);
  }
  for (uint32_t pa = 0; pa < GUEST_TABLES_SIZE; pa += MEM_PAGE)
    map_page(g, PAGE_TABLE_LOW, GUEST_TABLES + pa, pa, 3, false);
  map_area(g, NATIVE_CODE, NATIVE_CODE_SIZE, 7, false);
  map_area(g, NATIVE_DATA, NATIVE_DATA_SIZE, 7, true);
  map_area(g, NATIVE_READONLY, NATIVE_READONLY_SIZE, 5, true);
}

static void build_tables(struct guest *g) {
  put_descriptor(g, GDT + CODE0, 0, 0xfffff, 0xc09b);
  put_descriptor(g, GDT + DATA0, 0, 0xfffff, 0xc093);
  put_descriptor(g, GDT + (USER_CODE32 & ~7u), 0, 0xfffff, 0xc0fb);
  put_descriptor(g, GDT + (USER_DATA & ~7u), 0, 0xfffff, 0xc0f3);
  put_descriptor(g, GDT + (USER_CODE64 & ~7u), 0, 0xfffff, 0xa0fb);
  put_descriptor(g, GDT + GETCPU_SEL, 0, 0, 0x40f5); /* its limit is the number of the processor */
  put_descriptor(g, GDT + TSS_SEL, GUEST_TABLES + TSS, 0x67, 0x8b);
  put_descriptor(g, GDT + LDT_SEL, GUEST_TABLES + LDT, LDT_COUNT * 8 - 1, 0x82);
  for (uint32_t i = 0; i < LDT_COUNT; i++)
    put_descriptor(g, LDT + 8 * i, native_ldt[i].base, native_ldt[i].limit, ldt_attributes(&native_ldt[i]));
  put32(g, TSS + 4, GUEST_TABLES + STACK0);
  put32(g, TSS + 8, DATA0);
  put32(g, TSS + 0x64, 0x68u << 16); /* no I/O permission map */
  for (uint32_t v = 0; v < 256; v++) {
    uint32_t dpl = v == EXC_BP || v == EXC_OF || v == 0x80 ? 3 : 0; /* as under Linux */
    put32(g, IDT + 8 * v, CODE0 << 16 | (HANDLERS + 16 * v));
    put32(g, IDT + 8 * v + 4, (GUEST_TABLES & 0xffff0000) | 0x8e00 | dpl << 13);
  }
  build_paging(g);
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
  g->low = add_ram(g, "low", 0, GUEST_TABLES_SIZE);
  g->code = add_ram(g, "code", NATIVE_CODE, NATIVE_CODE_SIZE);
  g->data = add_ram(g, "data", NATIVE_DATA, NATIVE_DATA_SIZE);
  g->readonly = add_ram(g, "readonly", NATIVE_READONLY, NATIVE_READONLY_SIZE);
  g->cpu = cpu_new(&g->machine, cpu_model_find(model));
  g->pae = cpu_has(g->cpu, FEAT_PAE) && cpu_has(g->cpu, FEAT_NX);
  build_tables(g);
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

void guest_use_engine(struct guest *g, const struct engine *engine, const char *options) {
  if (engine->init(g->cpu, options) != 0)
    abort();
  g->engine = engine;
}

void guest_put_code(struct guest *g, const uint8_t *code) {
  mem_dma_write(g->machine.mem, NATIVE_CODE, code, NATIVE_CODE_SIZE);
}

void guest_put_data(struct guest *g, const uint8_t *data) { memcpy(g->data, data, NATIVE_DATA_SIZE); }

static void load_segment(struct guest *g, int seg, uint16_t sel) {
  struct seg *s = &g->cpu->seg[seg];
  *s = (struct seg){.sel = sel};
  if (sel & ~3u) {
    uint32_t at = (sel & 4 ? LDT : GDT) + (sel & ~7u), low = get32(g, at), high = get32(g, at + 4);
    s->base = (high & 0xff000000) | (high << 16 & 0xff0000) | low >> 16;
    s->attr = (uint16_t)(high >> 8 & 0xf0ff);
    s->limit = (high & 0xf0000) | (low & 0xffff);
    if (s->attr & SEG_G)
      s->limit = s->limit << 12 | 0xfff;
  }
  seg_update_room(s, (sel & ~3u) == 0);
}

static void load_segments(struct guest *g, const struct native_state *state) {
  static const uint16_t flat[6] = {USER_DATA, USER_CODE32, USER_DATA, USER_DATA, 0, 0};
  for (int seg = ES; seg <= GS; seg++)
    load_segment(g, seg, state->sel[CS] ? state->sel[seg] : flat[seg]);
  load_segment(g, LDTR, LDT_SEL);
  load_segment(g, TR, TSS_SEL);
}

static void load_paging(struct guest *g) {
  struct cpu *cpu = g->cpu;
  uint32_t root = g->pae ? PAGE_POINTERS : PAGE_DIR;
  cpu->efer = g->pae ? EFER_NXE : 0;
  cpu->pdpte[0] = PAGE_DIR | 1;
  cpu->pdpte[1] = PAGE_DIR_LOW | 1;
  if (cpu->cr3 != root) {
    cpu->cr3 = root;
    tlb_flush(cpu, false);
  }
}

void guest_load(struct guest *g, const struct native_state *state) {
  struct cpu *cpu = g->cpu;
  cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
  cpu->cr4 = CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT | (g->pae ? CR4_PAE : 0);
  load_paging(g);
  cpu->gdtr = (struct dtr){.base = GUEST_TABLES + GDT, .limit = GDT_LIMIT};
  cpu->idtr = (struct dtr){.base = GUEST_TABLES + IDT, .limit = 0x7ff};
  load_segments(g, state);
  cpu->cpl = 3;
  memcpy(cpu->gpr, state->gpr, sizeof cpu->gpr);
  cpu->eip = cpu->next_eip = state->eip;
  cpu->eflags = (state->eflags & (FL_ARITH | FL_DF | FL_AC | FL_NT | FL_ID)) | FL_1 | FL_IF;
  memcpy(&cpu->fx, &state->fx, 6);
  cpu->fx.fop = 0;
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
  for (int seg = ES; seg <= GS; seg++)
    state->sel[seg] = cpu->seg[seg].sel;
  state->vector = -1;
  state->eip = cpu->eip;
  state->eflags = cpu->eflags;
  if (!cpu->halted)
    return;
  state->vector = (int)((cpu->eip - GUEST_TABLES - HANDLERS) / 16);
  bool has_error = cpu->gpr[ESP] == GUEST_TABLES + STACK0 - 24;
  uint32_t frame = STACK0 - 20;
  state->error = has_error ? get32(g, frame - 4) : 0;
  state->eip = get32(g, frame);
  state->sel[CS] = (uint16_t)get32(g, frame + 4);
  state->eflags = get32(g, frame + 8);
  state->gpr[ESP] = get32(g, frame + 12);
  state->sel[SS] = (uint16_t)get32(g, frame + 16);
  state->cr2 = cpu->cr2;
}
