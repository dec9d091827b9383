/* SPDX-License-Identifier: MIT */
/*
 * A CPU with 16 MB of RAM, a GDT, an IDT, two TSSs and helpers, for the tests of the system layer. No code runs: the
 * tests call the core's functions and look at the state.
 */
#ifndef TESTS_UNIT_CPU_FIXTURE_H
#define TESTS_UNIT_CPU_FIXTURE_H

#include <check.h>

#include "core/desc.h"
#include "core/machine.h"
#include "core/mem.h"

#define GDT 0x1000u
#define IDT 0x2000u
#define TSS_A 0x3000u
#define TSS_B 0x3100u
#define TSS_16 0x3200u
#define LDT_BASE 0x3400u
#define STACK0 0x8000u /* ring 0 top from the TSS */
#define STACK1 0x9000u
#define STACK_USER 0xa000u
#define PAGE_DIR 0x100000u

enum { /* selectors */
  K_CODE = 0x08, K_DATA = 0x10, U_CODE = 0x1b, U_DATA = 0x23, S_TSS_A = 0x28, S_TSS_B = 0x30, S_GATE = 0x38,
  K_CODE16 = 0x40, S_DOWN = 0x48, S_CONFORMING = 0x50, S_ABSENT = 0x58, S_LDT = 0x60, S_TSS_16 = 0x68,
  S_TASK_GATE = 0x70, S_RDONLY = 0x7b, S_STACK16 = 0x80, S_XONLY = 0x8b, S_SMALL = 0x93, GDT_SIZE = 0xa0,
};

struct bed {
  struct machine *m;
  struct cpu *cpu;
  uint8_t *ram;
};

/* Vector of the exception that the statements raise, or -1. Error code: cpu->exc_error. */
#define FAULT_OF(cpu, ...) \
  ({ \
    sigjmp_buf env_; \
    volatile int vector_ = -1; \
    (cpu)->fault_env = &env_; \
    if (sigsetjmp(env_, 0) == 0) { \
      __VA_ARGS__; \
    } else { \
      vector_ = (int)(cpu)->exc_vector; \
    } \
    (cpu)->fault_env = NULL; \
    vector_; \
  })

#define ck_fault(cpu, vector, error, ...) \
  do { \
    ck_assert_int_eq(FAULT_OF(cpu, __VA_ARGS__), vector); \
    ck_assert_uint_eq((cpu)->exc_error, error); \
  } while (0)
#define ck_ok(cpu, ...) ck_assert_int_eq(FAULT_OF(cpu, __VA_ARGS__), -1)

static inline uint32_t get32(struct bed *b, uint32_t pa) {
  uint32_t v;
  memcpy(&v, b->ram + pa, 4);
  return v;
}
static inline uint16_t get16(struct bed *b, uint32_t pa) { return (uint16_t)get32(b, pa); }
static inline void put32(struct bed *b, uint32_t pa, uint32_t v) { memcpy(b->ram + pa, &v, 4); }
static inline void put16(struct bed *b, uint32_t pa, uint16_t v) { memcpy(b->ram + pa, &v, 2); }
static inline void put64(struct bed *b, uint32_t pa, uint64_t v) { memcpy(b->ram + pa, &v, 8); }

/* access: descriptor byte 5; flags: the G, D nibble. */
static inline void put_desc(struct bed *b, uint32_t at, uint32_t base, uint32_t limit, unsigned access,
                            unsigned flags) {
  put32(b, at, base << 16 | (limit & 0xffff));
  put32(b, at + 4, (base & 0xff000000u) | flags << 20 | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff));
}
static inline void put_gate(struct bed *b, uint32_t at, uint16_t sel, uint32_t off, unsigned access, unsigned count) {
  put32(b, at, (uint32_t)sel << 16 | (off & 0xffff));
  put32(b, at + 4, (off & 0xffff0000u) | access << 8 | count);
}

static inline void bed_tables(struct bed *b) {
  put_desc(b, GDT + K_CODE, 0, 0xfffff, 0x9b, 0xc);
  put_desc(b, GDT + K_DATA, 0, 0xfffff, 0x93, 0xc);
  put_desc(b, GDT + (U_CODE & ~7), 0, 0xfffff, 0xfb, 0xc);
  put_desc(b, GDT + (U_DATA & ~7), 0, 0xfffff, 0xf3, 0xc);
  put_desc(b, GDT + S_TSS_A, TSS_A, 0x87, 0x89, 0);
  put_desc(b, GDT + S_TSS_B, TSS_B, 0x67, 0x89, 0);
  put_gate(b, GDT + S_GATE, K_CODE, 0x1234, 0xec, 2);
  put_desc(b, GDT + K_CODE16, 0, 0xffff, 0x9b, 0);
  put_desc(b, GDT + S_DOWN, 0x100000, 0xfff, 0x97, 0x4);
  put_desc(b, GDT + S_CONFORMING, 0, 0xfffff, 0x9e, 0xc);
  put_desc(b, GDT + S_ABSENT, 0, 0xfffff, 0x13, 0xc);
  put_desc(b, GDT + S_LDT, LDT_BASE, 0x3f, 0x82, 0);
  put_desc(b, GDT + S_TSS_16, TSS_16, 0x2b, 0x81, 0);
  put_gate(b, GDT + S_TASK_GATE, S_TSS_B, 0, 0xe5, 0);
  put_desc(b, GDT + (S_RDONLY & ~7), 0, 0xfffff, 0xf0, 0xc);
  put_desc(b, GDT + S_STACK16, 0, 0xffff, 0x93, 0);
  put_desc(b, GDT + (S_XONLY & ~7), 0, 0xfffff, 0xf9, 0xc);
  put_desc(b, GDT + (S_SMALL & ~7), 0x5000, 0xff, 0xf3, 0x4);
  b->cpu->gdtr = (struct dtr){.base = GDT, .limit = GDT_SIZE - 1};
  b->cpu->idtr = (struct dtr){.base = IDT, .limit = 0x7ff};
  put32(b, TSS_A + 4, STACK0);
  put32(b, TSS_A + 8, K_DATA);
  put16(b, TSS_A + 0x66, 0x68);
}

/* Protected mode at ring 0 or 3, with flat segments, TR = TSS_A. */
static inline void bed_ring(struct bed *b, uint32_t cpl) {
  struct cpu *c = b->cpu;
  uint16_t data = cpl ? U_DATA : K_DATA, code = cpl ? U_CODE : K_CODE;
  c->cpl = 0;
  static const int all[] = {DS, ES, FS, GS, SS, CS};
  for (int i = 0; i < 6; i++) {
    uint16_t sel = all[i] == CS ? code : data;
    struct desc d = {get32(b, GDT + (sel & ~7u)), get32(b, GDT + (sel & ~7u) + 4)};
    seg_from_desc(&c->seg[all[i]], sel, d);
  }
  c->cpl = cpl;
  c->eip = c->next_eip = 0x4000;
  c->gpr[ESP] = cpl ? STACK_USER : STACK1;
  cpu_update_mode(c);
}

static inline struct bed bed_new(const char *model) {
  struct machine_config config = {.ram_mb = 16, .cpu_model = cpu_model_find(model), .engine = &engine_interp};
  struct bed b = {.m = machine_new(&config)};
  ck_assert_ptr_nonnull(b.m);
  mem_map_ram(b.m->mem, 0, 16 << 20, b.m->ram, 0);
  b.cpu = b.m->cpu[0];
  b.ram = b.m->ram->host;
  return b;
}

static inline struct bed bed_protected(uint32_t cpl) {
  struct bed b = bed_new("max");
  bed_tables(&b);
  control_set_cr0(b.cpu, CR0_PE | CR0_ET | CR0_NE);
  ck_ok(b.cpu, seg_ltr(b.cpu, S_TSS_A));
  bed_ring(&b, cpl);
  return b;
}

/* A machine that runs code under `engine`: each exception leads to an HLT at handlers + vector, so that EIP tells. */
static inline struct bed bed_with_engine(const struct engine *engine, const char *options, uint32_t handlers) {
  struct machine_config config = {.ram_mb = 16, .cpu_model = cpu_model_find("max"), .engine = engine,
                                  .engine_options = options, .counted = true};
  struct bed b = {.m = machine_new(&config)};
  ck_assert_ptr_nonnull(b.m);
  mem_map_ram(b.m->mem, 0, 16 << 20, b.m->ram, 0);
  b.cpu = b.m->cpu[0];
  b.ram = b.m->ram->host;
  bed_tables(&b);
  for (uint32_t v = 0; v < 32; v++)
    put_gate(&b, IDT + v * 8, K_CODE, handlers + v, 0x8e, 0);
  memset(b.ram + handlers, 0xf4, 33);
  return b;
}

static inline void bed_free(struct bed *b) { machine_free(b->m); }

/* Run the exception that is recorded until it is delivered, as an engine does. */
static inline void bed_deliver(struct bed *b) {
  sigjmp_buf env;
  b->cpu->fault_env = &env;
  (void)sigsetjmp(env, 0);
  cpu_deliver_exception(b->cpu);
  b->cpu->fault_env = NULL;
}

/* Identity-map the first 4 MB with 4 KB pages; `flags` for every entry. */
static inline void bed_paging(struct bed *b, uint32_t flags) {
  put32(b, PAGE_DIR, (PAGE_DIR + 0x1000) | 7);
  for (uint32_t i = 0; i < 1024; i++)
    put32(b, PAGE_DIR + 0x1000 + i * 4, i << 12 | flags);
  control_set_cr3(b->cpu, PAGE_DIR);
  control_set_cr0(b->cpu, b->cpu->cr0 | CR0_PG | CR0_PE);
}
static inline uint32_t bed_pte(uint32_t la) { return PAGE_DIR + 0x1000 + (la >> 12) * 4; }

#endif
