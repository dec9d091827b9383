/* SPDX-License-Identifier: MIT */
/*
 * Runs single-instruction vectors captured from a real 80286 in real mode (text, may be gzipped; format below) through
 * interp_step on the 386 model, and compares registers, memory and exceptions.
 *
 *   T form index bytes disassembly     bytes include the HLT that ends each test
 *   I ax=... flags=...                 initial registers
 *   M addr:byte ...                    initial memory
 *   F ...                              registers that changed
 *   N addr:byte ...                    memory that changed
 *   X number address                   an exception, and where its flags were pushed
 *
 * Usage: run_vectors FILE [FORM]...; with forms, mismatches are printed in full. The last line counts.
 *
 * Where a 386 differs from the 286 by its manual, the test is skipped (skip_reason) or a mask applied: bits 12-15 of
 * FLAGS (80286 Programmer's Reference, 3.4: zero in real mode); flags that the manual calls undefined; #SS instead of
 * #GP for the stack segment (80386 Programmer's Reference, 14.7).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/engine.h"
#include "core/insn.h"
#include "core/io.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/segment.h"

#define RAM_SIZE 0x1000000u
#define MAX_BYTES 512
#define STEPS 40

enum { R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI, R_ES, R_CS, R_SS, R_DS, R_IP, R_FLAGS, R_COUNT };
static const char *const reg_names[R_COUNT] = {"ax", "cx", "dx", "bx", "sp", "bp", "si",
                                               "di", "es", "cs", "ss", "ds", "ip", "flags"};

struct memory_byte {
  uint32_t address;
  uint8_t value;
};

struct vector {
  char form[16], text[128];
  uint16_t initial[R_COUNT], final[R_COUNT];
  struct memory_byte before[MAX_BYTES], after[MAX_BYTES];
  unsigned before_count, after_count;
  int exception; /* -1: none */
  uint32_t flags_address;
};

static struct machine machine;
static struct cpu *cpu;
static uint8_t *ram;

static int find_reg(const char *name, size_t n) {
  for (int r = 0; r < R_COUNT; r++)
    if (strlen(reg_names[r]) == n && memcmp(reg_names[r], name, n) == 0)
      return r;
  return -1;
}

static void parse_regs(char *line, uint16_t *regs) {
  char *rest;
  for (char *w = strtok_r(line, " \n", &rest); w; w = strtok_r(NULL, " \n", &rest)) {
    char *eq = strchr(w, '=');
    int r = eq ? find_reg(w, (size_t)(eq - w)) : -1;
    if (r >= 0)
      regs[r] = (uint16_t)strtoul(eq + 1, NULL, 16);
  }
}

static unsigned parse_memory(char *line, struct memory_byte *m) {
  unsigned n = 0;
  char *rest;
  for (char *w = strtok_r(line, " \n", &rest); w && n < MAX_BYTES; w = strtok_r(NULL, " \n", &rest)) {
    char *colon;
    m[n].address = (uint32_t)strtoul(w, &colon, 16) & (RAM_SIZE - 1);
    if (*colon == ':')
      m[n++].value = (uint8_t)strtoul(colon + 1, NULL, 16);
  }
  return n;
}

/* --- one test --- */

static void load_segment(int seg, uint16_t sel) { seg_load_real(cpu, seg, sel); }

static void load(const struct vector *v) {
  cpu_reset(cpu);
  for (int r = R_AX; r <= R_DI; r++)
    cpu->gpr[r] = v->initial[r];
  load_segment(ES, v->initial[R_ES]);
  load_segment(CS, v->initial[R_CS]);
  load_segment(SS, v->initial[R_SS]);
  load_segment(DS, v->initial[R_DS]);
  cpu->eip = v->initial[R_IP];
  cpu->eflags = (v->initial[R_FLAGS] & 0x0fd5u) | FL_1;
  cpu->eflags &= ~FL_TF;
  cpu_update_mode(cpu);
  for (unsigned i = 0; i < v->before_count; i++)
    ram[v->before[i].address] = v->before[i].value;
  if (v->exception == EXC_GP) /* the 286 knows no other limit fault in real mode */
    memcpy(ram + EXC_SS * 4, ram + EXC_GP * 4, 4);
}

static void unload(const struct vector *v) {
  for (unsigned i = 0; i < v->before_count; i++)
    ram[v->before[i].address] = 0;
  for (unsigned i = 0; i < v->after_count; i++)
    ram[v->after[i].address] = 0;
  memset(ram, 0, 0x400);
}

static uint16_t read_reg(int r) {
  static const int segs[] = {ES, CS, SS, DS};
  if (r <= R_DI)
    return (uint16_t)cpu->gpr[r];
  if (r == R_IP)
    return (uint16_t)cpu->eip;
  if (r == R_FLAGS)
    return (uint16_t)cpu->eflags;
  return cpu->seg[segs[r - R_ES]].sel;
}

static const struct insn_desc *describe(const struct vector *v, struct insn *in) {
  uint8_t bytes[INSN_MAX];
  uint32_t base = (uint32_t)v->initial[R_CS] << 4;
  for (unsigned i = 0; i < INSN_MAX; i++)
    bytes[i] = ram[base + ((v->initial[R_IP] + i) & 0xffff)];
  return insn_decode(in, bytes, INSN_MAX, false, cpu->features) == INSN_OK ? insn_describe(in) : NULL;
}

/* NULL: comparable. */
static const char *skip_reason(const struct vector *v, const struct insn *in, const struct insn_desc *d) {
  if (v->initial[R_FLAGS] & FL_TF)
    return "single step";
  if (!d) /* 286: #UD, and so here; or prefixes that are none there */
    return v->exception == EXC_UD ? NULL : "not an instruction of the 386";
  if (d->cls == CL_FPU)
    return "the captured 286 had no coprocessor";
  if (in->lock)
    return "LOCK is #UD here";
  if (v->exception == EXC_UD && in->opcode >= 0x8c && in->opcode <= 0x8e && in->reg >= FS)
    return "FS and GS";
  if (in->addrsize != 2 || in->opsize != 2 || in->seg_override == FS || in->seg_override == GS)
    return "386 prefix";
  if (v->exception == EXC_GP && d->cls == CL_STRING)
    return "the 286 has advanced CX, SI and DI when it faults";
  if (v->exception == EXC_GP && in->length > 10)
    return "the 286 allows 10 bytes, the 386 15";
  return NULL;
}

static bool report(const struct vector *v, bool verbose, const char *what, uint32_t got, uint32_t expected) {
  if (verbose)
    printf("%s %s: %s is %x, not %x\n", v->form, v->text, what, got, expected);
  return false;
}

static bool check(const struct vector *v, uint16_t flags_mask, bool verbose) {
  bool ok = true;
  if (!cpu->halted)
    ok = report(v, verbose, "HLT not reached, ip", cpu->eip, v->final[R_IP]);
  for (int r = 0; r < R_COUNT; r++) {
    uint16_t got = read_reg(r), mask = r == R_FLAGS ? flags_mask : 0xffff;
    if ((got ^ v->final[r]) & mask)
      ok = report(v, verbose, reg_names[r], got, v->final[r]);
  }
  for (unsigned i = 0; i < v->after_count; i++) {
    const struct memory_byte *m = &v->after[i];
    uint8_t mask = 0xff;
    if (v->exception >= 0 && (m->address == v->flags_address || m->address == v->flags_address + 1))
      mask = (uint8_t)(flags_mask >> (m->address == v->flags_address ? 0 : 8));
    if ((ram[m->address] ^ m->value) & mask) {
      char what[32];
      snprintf(what, sizeof what, "byte %06x", m->address);
      ok = report(v, verbose, what, ram[m->address], m->value);
    }
  }
  return ok;
}

struct tally {
  char form[16];
  unsigned passed, failed, skipped;
};

static void run(const struct vector *v, struct tally *t, bool verbose) {
  struct insn in;
  load(v);
  const struct insn_desc *d = describe(v, &in);
  const char *skip = skip_reason(v, &in, d);
  if (skip) {
    t->skipped++;
  } else {
    uint16_t mask = 0x0fd5;
    if (d)
      mask &= (uint16_t)~d->flags_undefined;
    for (int i = 0; i < STEPS && !cpu->halted && !cpu->shutdown; i++)
      interp_step(cpu);
    if (check(v, mask, verbose))
      t->passed++;
    else
      t->failed++;
  }
  unload(v);
}

/* --- the file --- */

static bool wanted(const char *form, int argc, char **argv) {
  for (int i = 2; i < argc; i++)
    if (strcmp(form, argv[i]) == 0)
      return true;
  return argc == 2;
}

static void print_tally(const struct tally *t) {
  if (t->failed)
    printf("%-6s %4u passed %4u failed %4u skipped\n", t->form, t->passed, t->failed, t->skipped);
}

static void make_machine(void) {
  machine.mem = mem_new();
  machine.ram = mem_block_new(machine.mem, "ram", RAM_SIZE);
  mem_map_ram(machine.mem, 0, RAM_SIZE, machine.ram, 0);
  machine.io = io_bus_new();
  ram = machine.ram->host;
  cpu = cpu_new(&machine, cpu_model_find("386"));
  machine.cpu[0] = cpu;
  machine.cpu_count = 1;
  cpu->icount_limit = ~0ull;
}

int main(int argc, char **argv) {
  static struct vector v;
  static char line[65536];
  gzFile in = argc > 1 ? gzopen(argv[1], "r") : NULL;
  if (!in) {
    fprintf(stderr, "run_vectors: cannot read %s\n", argc > 1 ? argv[1] : "(no file given)");
    return EXIT_FAILURE;
  }
  make_machine();
  struct tally total = {.form = "all"}, form = {.form = ""};
  bool have = false;
  for (;;) {
    bool more = gzgets(in, line, sizeof line) != NULL;
    if ((!more || line[0] == 'T') && have) {
      if (wanted(v.form, argc, argv))
        run(&v, &form, argc > 2);
      have = false;
    }
    if (!more || line[0] == 'T') {
      char name[16] = "";
      if (more)
        sscanf(line, "T %15s", name);
      if (strcmp(name, form.form) != 0) {
        print_tally(&form);
        total.passed += form.passed, total.failed += form.failed, total.skipped += form.skipped;
        form = (struct tally){0};
        memcpy(form.form, name, sizeof name);
      }
    }
    if (!more)
      break;
    char *rest = line + 1;
    switch (line[0]) {
    case 'T':
      memset(&v, 0, sizeof v);
      v.exception = -1;
      sscanf(line, "T %15s", v.form);
      line[strcspn(line, "\n")] = 0;
      snprintf(v.text, sizeof v.text, "%.120s", line + 2 + strlen(v.form));
      have = true;
      break;
    case 'I':
      parse_regs(rest, v.initial);
      memcpy(v.final, v.initial, sizeof v.final);
      break;
    case 'F': parse_regs(rest, v.final); break;
    case 'M': v.before_count = parse_memory(rest, v.before); break;
    case 'N': v.after_count = parse_memory(rest, v.after); break;
    case 'X':
      /* The address given is rounded down to a word: reckon it from SS:SP. */
      sscanf(line, "X %d", &v.exception);
      v.flags_address = ((uint32_t)v.initial[R_SS] << 4) + (uint16_t)(v.initial[R_SP] - 2);
      v.flags_address &= RAM_SIZE - 1;
      break;
    default: break;
    }
  }
  gzclose(in);
  printf("%u skipped\n%u passed, %u failed\n", total.skipped, total.passed, total.failed);
  return total.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
