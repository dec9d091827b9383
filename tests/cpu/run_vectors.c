/* SPDX-License-Identifier: MIT */
/*
 * Runs single-instruction vectors captured from a real 80286 in real mode (text, may be gzipped; format below) through
 * the interpreter or the translator on the 386 model, and compares registers, memory and exceptions.
 *
 *   T form index bytes disassembly     bytes include the HLT that ends each test
 *   I ax=... flags=...                 initial registers
 *   M addr:byte ...                    initial memory
 *   F ...                              registers that changed
 *   N addr:byte ...                    memory that changed
 *   X number address                   an exception, and where its flags were pushed
 *
 * Usage: run_vectors interp|tlb FILE [FORM]...; with forms, mismatches are printed in full. The last line counts.
 * Memory is set by mem_write, so that the translator drops the case before.
 *
 * Where a 386 differs from the 286 by its manual, a mask is applied: bits 12-15 of FLAGS (80286 Programmer's Reference,
 * 3.4: zero in real mode); flags that the manual calls undefined; #SS instead of #GP for the stack segment (80386
 * Programmer's Reference, 14.7). Or the test is skipped, for one of these reasons (skip_reason; the run counts each):
 *
 *   single step      TF: its trap would come before the HLT that ends the test (80286 manual, single step interrupt)
 *   not of the 386   the 286 does something for an encoding that its manual leaves undefined; #UD on the 386 (80386
 *                    manual, ch. 14, undefined opcodes, and the opcode map, appendix A)
 *   no coprocessor   ESC: without an 80287 the captured machine only reckoned the address (seen in the vectors)
 *   LOCK             #UD on the 386 except before the instructions listed (80386 manual, LOCK in ch. 17, and ch. 14)
 *   FS and GS        MOV with segment registers that a 286 answers with #UD (80386 manual, MOV in ch. 17)
 *   386 prefix       64h to 67h, undefined on a 286 (80386 manual, appendix A)
 *   string fault     a limit fault in a string instruction: the 286 has advanced CX, SI and DI (seen in the vectors),
 *                    the 386 leaves them for a restart (80386 manual, ch. 9, faults)
 *   10 bytes         #GP for a longer instruction; 15 bytes on the 386 (80386 manual, ch. 14, redundant prefixes)
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
#include "translate/translate.h"

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
static const struct engine *engine;
static const char *engine_options;
static uint8_t *ram; /* for reading */

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

static void poke(uint32_t address, uint8_t value) {
  if (ram[address] != value)
    mem_write(machine.mem, address, 1, value);
}

static void load_segment(int seg, uint16_t sel) { seg_load_real(cpu, seg, sel); }

static void load(const struct vector *v) {
  cpu_reset(cpu);
  cpu->pending = 0;
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
    poke(v->before[i].address, v->before[i].value);
  if (v->exception == EXC_GP) /* the 286 knows no other limit fault in real mode */
    for (uint32_t i = 0; i < 4; i++)
      poke(EXC_SS * 4 + i, ram[EXC_GP * 4 + i]);
}

static void unload(const struct vector *v) {
  for (unsigned i = 0; i < v->before_count; i++)
    poke(v->before[i].address, 0);
  for (unsigned i = 0; i < v->after_count; i++)
    poke(v->after[i].address, 0);
  for (uint32_t i = 0; i < 0x400; i++)
    poke(i, 0);
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

enum skip { S_NONE, S_STEP, S_UNDEFINED, S_FPU, S_LOCK, S_FS_GS, S_PREFIX, S_STRING, S_LENGTH, S_COUNT };
static const char *const skip_names[S_COUNT] = {
    "",          "single step", "not of the 386", "no coprocessor", "LOCK",
    "FS and GS", "386 prefix",  "string fault",   "10 bytes",
};

static enum skip skip_reason(const struct vector *v, const struct insn *in, const struct insn_desc *d) {
  if (v->initial[R_FLAGS] & FL_TF)
    return S_STEP;
  if (!d) /* 286: #UD, and so here; or prefixes that are none there */
    return v->exception == EXC_UD ? S_NONE : S_UNDEFINED;
  if (d->cls == CL_FPU)
    return S_FPU;
  if (in->lock)
    return S_LOCK;
  if (v->exception == EXC_UD && in->opcode >= 0x8c && in->opcode <= 0x8e && in->reg >= FS)
    return S_FS_GS;
  if (in->addrsize != 2 || in->opsize != 2 || in->seg_override == FS || in->seg_override == GS)
    return S_PREFIX;
  if (v->exception == EXC_GP && d->cls == CL_STRING)
    return S_STRING;
  if (v->exception == EXC_GP && in->length > 10)
    return S_LENGTH;
  return S_NONE;
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

static unsigned skips[S_COUNT];

static void execute(void) {
  if (engine == &engine_interp) {
    for (int i = 0; i < STEPS && !cpu->halted && !cpu->shutdown; i++)
      interp_step(cpu);
  } else {
    cpu->icount_limit = cpu->icount + STEPS;
    engine->run(cpu);
  }
}

static void run(const struct vector *v, struct tally *t, bool verbose) {
  struct insn in;
  load(v);
  const struct insn_desc *d = describe(v, &in);
  enum skip skip = skip_reason(v, &in, d);
  if (skip) {
    t->skipped++;
    skips[skip]++;
  } else {
    uint16_t mask = 0x0fd5;
    if (d)
      mask &= (uint16_t)~d->flags_undefined;
    execute();
    if (check(v, mask, verbose))
      t->passed++;
    else
      t->failed++;
  }
  unload(v);
}

/* --- the file --- */

static bool wanted(const char *form, int argc, char **argv) {
  for (int i = 3; i < argc; i++)
    if (strcmp(form, argv[i]) == 0)
      return true;
  return argc == 3;
}

static void print_tally(const struct tally *t) {
  if (t->failed)
    printf("%-6s %4u passed %4u failed %4u skipped\n", t->form, t->passed, t->failed, t->skipped);
}

static void make_machine(void) {
  machine.config.counted = true;
  machine.mem = mem_new();
  machine.mem->listener = &machine;
  machine.ram = mem_block_new(machine.mem, "ram", RAM_SIZE);
  mem_map_ram(machine.mem, 0, RAM_SIZE, machine.ram, 0);
  machine.io = io_bus_new();
  ram = machine.ram->host;
  cpu = cpu_new(&machine, cpu_model_find("386"));
  machine.cpu[0] = cpu;
  machine.cpu_count = 1;
  cpu->icount_limit = ~0ull;
  if (engine->init && engine->init(cpu, engine_options) < 0)
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
  static struct vector v;
  static char line[65536];
  engine = argc < 3 ? NULL : engine_find(argv[1], &engine_options);
  if (!engine) {
    fprintf(stderr, "Usage: run_vectors ENGINE[,OPTIONS] FILE [FORM]...\n");
    return EXIT_FAILURE;
  }
  gzFile in = gzopen(argv[2], "r");
  if (!in) {
    fprintf(stderr, "run_vectors: cannot read %s\n", argv[2]);
    return EXIT_FAILURE;
  }
  make_machine();
  struct tally total = {.form = "all"}, form = {.form = ""};
  bool have = false;
  for (;;) {
    bool more = gzgets(in, line, sizeof line) != NULL;
    if ((!more || line[0] == 'T') && have) {
      if (wanted(v.form, argc, argv))
        run(&v, &form, argc > 3);
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
  for (int i = 1; i < S_COUNT; i++)
    printf("%6u skipped: %s\n", skips[i], skip_names[i]);
  printf("%u skipped\n%u passed, %u failed\n", total.skipped, total.passed, total.failed);
  return total.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
