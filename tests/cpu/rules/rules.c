/* SPDX-License-Identifier: MIT */
/* The bed of the rule tests, and their program: rules ENGINE[,OPTIONS] [GROUP]; see rules.h. A group is one
 * test. */
#include "tests/cpu/rules/rules.h"

#include <stdarg.h>
#include <stdlib.h>

#include "translate/translate.h"

#define SHOWN 12u /* failures printed */
#define BUDGET 2000u

void put(struct bed *b, uint32_t pa, const void *from, size_t size) {
  mem_dma_write(b->m->mem, pa, from, size);
}
void put8(struct bed *b, uint32_t pa, uint8_t v) { put(b, pa, &v, 1); }
void put16(struct bed *b, uint32_t pa, uint16_t v) { put(b, pa, &v, 2); }
void put32(struct bed *b, uint32_t pa, uint32_t v) { put(b, pa, &v, 4); }
void put64(struct bed *b, uint32_t pa, uint64_t v) { put(b, pa, &v, 8); }

static uint32_t get(struct bed *b, uint32_t pa, size_t size) {
  uint32_t v = 0;
  mem_dma_read(b->m->mem, pa, &v, size);
  return v;
}
uint32_t get8(struct bed *b, uint32_t pa) { return get(b, pa, 1); }
uint32_t get16(struct bed *b, uint32_t pa) { return get(b, pa, 2); }
uint32_t get32(struct bed *b, uint32_t pa) { return get(b, pa, 4); }

void put_zero(struct bed *b, uint32_t pa, size_t size) {
  static const uint8_t zero[4096];
  for (size_t done = 0; done < size; done += sizeof zero)
    put(b, pa + (uint32_t)done, zero, size - done < sizeof zero ? size - done : sizeof zero);
}

void put_desc(struct bed *b, uint16_t sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags) {
  uint32_t at = GDT + (sel & ~7u);
  put32(b, at, base << 16 | (limit & 0xffff));
  put32(b, at + 4,
        (base & 0xff000000u) | flags << 20 | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff));
}

void put_gate(struct bed *b, uint32_t at, uint16_t sel, uint32_t off, unsigned access, unsigned count) {
  put32(b, at, (uint32_t)sel << 16 | (off & 0xffff));
  put32(b, at + 4, (off & 0xffff0000u) | access << 8 | count);
}

void put_code(struct bed *b, uint32_t pa, const void *code, size_t size) {
  uint8_t old[64];
  DGM_ASSERT(size <= sizeof old);
  mem_dma_read(b->m->mem, pa, old, size);
  if (memcmp(old, code, size) != 0)
    put(b, pa, code, size);
}

void bed_tables(struct bed *b) {
  for (uint32_t ring = 0; ring < 4; ring++) {
    put_desc(b, (uint16_t)R_CODE(ring), 0, 0xfffff, 0x9b | ring << 5, 0xc);
    put_desc(b, (uint16_t)R_DATA(ring), 0, 0xfffff, 0x93 | ring << 5, 0xc);
  }
  put_desc(b, S_TSS, TSS, 0x2088, 0x8b, 0);
  put_desc(b, S_TSS_B, TSS_B, 0x67, 0x89, 0);
  put_desc(b, S_TSS_C, TSS_C, 0x2b, 0x81, 0);
  put_desc(b, S_LDT, LDT, 0x3f, 0x82, 0);
  put_desc(b, S_CODE16, 0, 0xffff, 0x9b, 0);
  put_gate(b, GDT + S_TASK_GATE, S_TSS_B, 0, 0xe5, 0);
  for (uint32_t v = 0; v < 256; v++)
    put_gate(b, IDT + 8 * v, R_CODE(0), HANDLERS + 16 * v, v == END ? 0xee : 0x8e, 0);
  put_zero(b, TSS, 0x68);
  for (uint32_t ring = 0; ring < 3; ring++) {
    put32(b, TSS + 4 + 8 * ring, STACK(ring));
    put32(b, TSS + 8 + 8 * ring, R_DATA(ring));
  }
  put16(b, TSS + 0x66, 0x88);
}

static void load(struct bed *b, int seg, uint16_t sel) {
  uint32_t at = GDT + (sel & ~7u);
  seg_from_desc(&b->cpu->seg[seg], sel, (struct desc){get32(b, at), get32(b, at + 4)});
}

static void bed_plain(struct bed *b) {
  struct cpu *c = b->cpu;
  c->gdtr = (struct dtr){.base = GDT, .limit = GDT_SIZE - 1};
  c->idtr = (struct dtr){.base = IDT, .limit = 0x7ff};
  c->eflags = FL_1;
  for (int i = 0; i < 8; i++)
    c->gpr[i] = 0x01010101u * (unsigned)(i + 1);
  c->dr[6] = 0xffff0ff0u;
  if (c->dr[7] != 0x400) {
    c->dr[7] = 0x400;
    control_update_debug(c);
  }
  c->pending = 0;
  c->fx.fcw = 0x37f;
  c->fx.fsw = c->fx.ftw = 0;
  c->shadow = SHADOW_NONE;
  c->halted = c->shutdown = c->nmi_blocked = 0;
  c->trap_dr6 = 0;
  c->exc_depth_vector = ~0u;
  c->exc_ext = 0;
}

void bed_control(struct bed *b, uint32_t cr0, uint32_t cr3, uint32_t cr4, uint64_t efer) {
  struct cpu *c = b->cpu;
  sigjmp_buf env;
  c->fault_env = &env;
  if (sigsetjmp(env, 0))
    abort(); /* the caller's mistake */
  control_set_cr0(c, CR0_PE | CR0_ET | CR0_NE);
  c->efer = efer;
  control_set_cr4(c, cr4);
  control_set_cr3(c, cr3);
  tlb_flush(c, false);
  control_set_cr0(c, cr0 | CR0_PE | CR0_ET | CR0_NE);
  c->fault_env = NULL;
}

void bed_ring(struct bed *b, unsigned cpl) {
  struct cpu *c = b->cpu;
  if (c->cr0 != (CR0_PE | CR0_ET | CR0_NE) || c->cr4 != CR4_OSFXSR)
    bed_control(b, 0, 0, CR4_OSFXSR, 0);
  bed_plain(b);
  for (int i = ES; i <= GS; i++)
    load(b, i, (uint16_t)(i == CS ? R_CODE(cpl) : R_DATA(cpl)));
  load(b, TR, S_TSS);
  seg_make_null(&c->seg[LDTR], 0);
  c->cpl = cpl;
  c->gpr[ESP] = STACK(cpl) - 0x100;
  cpu_update_mode(c);
}

void bed_v86(struct bed *b, unsigned iopl) {
  struct cpu *c = b->cpu;
  bed_ring(b, 3);
  c->eflags |= FL_VM | iopl << 12;
  for (int i = ES; i <= GS; i++)
    seg_make_v86(&c->seg[i], 0);
  c->gpr[ESP] = 0x7000;
  cpu_update_mode(c);
}

void bed_real(struct bed *b) {
  struct cpu *c = b->cpu;
  bed_ring(b, 0);
  c->cr0 = CR0_ET | CR0_NE;
  tlb_flush(c, false);
  for (int i = ES; i <= GS; i++) {
    c->seg[i] = (struct seg){.limit = 0xffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A};
    seg_update_room(&c->seg[i], false);
  }
  for (uint32_t v = 0; v < 256; v++)
    put32(b, 4 * v, HANDLERS + 16 * v);
  c->idtr = (struct dtr){.base = 0, .limit = 0x3ff};
  c->gpr[ESP] = 0x7000;
  cpu_update_mode(c);
}

static bool has_error(int vector) {
  return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) || vector == EXC_AC;
}

struct outcome run(struct bed *b, uint32_t eip) {
  struct cpu *c = b->cpu;
  uint32_t outer = c->cpl, v86 = c->eflags & FL_VM;
  c->eip = c->next_eip = eip;
  c->icount_limit = c->icount + BUDGET;
  b->m->config.engine->run(c);
  struct outcome o = {.vector = c->shutdown ? SHUTDOWN : NONE};
  uint32_t at = c->seg[CS].base + c->eip - HANDLERS;
  if (c->shutdown || !c->halted || at > 256 * 16)
    return o;
  o.vector = (int)(at / 16);
  if (!(c->cr0 & CR0_PE)) {
    o.frame = c->seg[SS].base + (c->gpr[ESP] & 0xffff);
    o.eip = get16(b, o.frame);
    o.cs = get16(b, o.frame + 2);
    o.eflags = get16(b, o.frame + 4);
    o.esp = (c->gpr[ESP] + 6) & 0xffff;
    return o;
  }
  uint32_t frame = c->seg[SS].base + (c->seg[SS].attr & SEG_DB ? c->gpr[ESP] : c->gpr[ESP] & 0xffff);
  if (has_error(o.vector)) {
    o.error = get32(b, frame);
    frame += 4;
  }
  o.frame = frame;
  o.eip = get32(b, frame);
  o.cs = get16(b, frame + 4);
  o.eflags = get32(b, frame + 8);
  if ((o.cs & 3) != 0 || outer != 0 || v86 || (o.eflags & FL_VM)) {
    o.esp = get32(b, frame + 12);
    o.ss = get16(b, frame + 16);
  }
  return o;
}

static void count(struct bed *b, bool ok, const char *format, va_list args) {
  if (ok) {
    b->passed++;
    return;
  }
  if (b->failed++ < SHOWN) {
    printf("%s: ", b->engine);
    vprintf(format, args);
  }
}

void verdict(struct bed *b, bool ok, const char *format, ...) {
  va_list args;
  va_start(args, format);
  count(b, ok, format, args);
  va_end(args);
  if (!ok && b->failed <= SHOWN)
    printf("\n");
}

void expect(struct bed *b, const struct outcome *o, int vector, uint32_t error, const char *format, ...) {
  bool ok = o->vector == vector && (!has_error(vector) || o->error == error);
  va_list args;
  va_start(args, format);
  count(b, ok, format, args);
  va_end(args);
  if (!ok && b->failed <= SHOWN)
    printf(": expected %02x(%04x), got %02x(%04x) at %x\n", (unsigned)vector & 0xff, error,
           (unsigned)o->vector & 0xff, o->error, o->eip);
}

struct bed *bed_new(const struct engine *engine, const char *options, const char *model) {
  struct machine_config config = {.ram_mb = RAM_SIZE >> 20,
                                  .cpu_model = cpu_model_find(model),
                                  .engine = engine,
                                  .engine_options = options,
                                  .counted = true};
  struct bed *b = calloc(1, sizeof *b);
  if (!b || !(b->m = machine_new(&config)))
    abort();
  b->cpu = b->m->cpu[0];
  b->engine = engine->name;
  mem_map_ram(b->m->mem, 0, RAM_SIZE, b->m->ram, 0);
  for (uint32_t v = 0; v < 256; v++)
    put8(b, HANDLERS + 16 * v, 0xf4); /* HLT */
  put8(b, OTHER_CODE, 0xcc);          /* INT3 */
  bed_tables(b);
  return b;
}

void bed_free(struct bed *b) {
  machine_free(b->m);
  free(b);
}

static const struct {
  const char *name;
  void (*run)(struct bed *b);
} groups[] = {
    {"loads", rules_loads},         {"transfers", rules_transfers},   {"stacks", rules_stacks},
    {"limits", rules_limits},       {"paging", rules_paging},         {"tasks", rules_tasks},
    {"privilege", rules_privilege}, {"exceptions", rules_exceptions}, {"real", rules_real},
};

int main(int argc, char **argv) {
  const char *options = NULL;
  const struct engine *engine = argc > 1 ? engine_find(argv[1], &options) : NULL;
  const char *only = argc > 2 ? argv[2] : NULL;
  if (!engine) {
    fprintf(stderr, "usage: %s ENGINE[,OPTIONS] [GROUP]\n", argv[0]);
    return 2;
  }
  unsigned passed = 0, failed = 0;
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    if (only && strcmp(only, groups[i].name) != 0)
      continue;
    struct bed *b = bed_new(engine, options, "max");
    groups[i].run(b);
    printf("  %-10s %6u of %6u checks passed\n", groups[i].name, b->passed, b->passed + b->failed);
    if (b->failed)
      failed++;
    else
      passed++;
    bed_free(b);
  }
  printf("%u passed, %u failed\n", passed, failed);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
