/* SPDX-License-Identifier: MIT */
/*
 * Mutations of emitted blocks for the tests of the confinement checker. Each is a bug that a generator could
 * have, at a place where it would let the guest touch memory that is not its own, take over control, spoil a
 * reserved register or run for ever. They find their places by the look of the instructions alone.
 */
#include "verify_mutant.h"

#define MAX_OPERATORS 80

static struct mutation results[MAX_OPERATORS];
static const struct operator* operators[MAX_OPERATORS];
static size_t operator_count;

static void list_operators(void) {
  static const struct operator* const lists[] = {memory_operators, flow_operators};
  for (int i = 0; i < 2; i++)
    for (const struct operator* o = lists[i]; o->name; o++) {
      ck_assert_uint_lt(operator_count, MAX_OPERATORS);
      operators[operator_count++] = o;
    }
}

const struct mutation *verify_mutations(size_t *count) {
  *count = operator_count;
  for (size_t i = 0; i < operator_count; i++)
    results[i].name = operators[i]->name;
  return results;
}

static void report_missed(struct mutant *m, csh handle, const char *name, const uint8_t *before) {
  const cs_insn *from = &m->insn[m->k];
  cs_insn *to;
  size_t n = cs_disasm(handle, here(m), from->size, from->address, 0, &to);
  printf("  MISSED %s: %s %s ->", name, from->mnemonic, from->op_str);
  for (size_t i = 0; i < n; i++)
    printf(" %s %s;", to[i].mnemonic, to[i].op_str);
  printf(" at +%#llx of %u, mode %05x, instruction %02x\n",
         (unsigned long long)(from->address - m->insn[0].address), m->b->host_size, m->b->mode, before[0]);
  if (n)
    cs_free(to, n);
}

static bool escapes(struct block *block, struct dice *d, unsigned times) {
  const char *why;
  for (unsigned i = 0; i < times; i++)
    if (!verify_watch(block, d, &why))
      return true;
  return false;
}

unsigned verify_mutate(struct bed *b, struct block *block, struct dice *d, unsigned each, unsigned watched) {
  static csh handle;
  if (!handle) {
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &handle), CS_ERR_OK);
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
    list_operators();
  }
  struct mutant m = {.j = verify_jit(b), .b = block, .d = d};
  m.code = jit_to_rw(m.j, block->host);
  m.count = cs_disasm(handle, m.code, block->host_size, (uintptr_t)block->host, 0, &m.insn);
  const cs_insn *last = &m.insn[m.count - 1];
  ck_assert_uint_eq(last->address + last->size, (uintptr_t)block->host + block->host_size);
  unsigned missed = 0;
  for (size_t o = 0; o < operator_count; o++) {
    unsigned made = 0;
    size_t start = roll(d, (uint32_t)m.count);
    for (size_t i = 0; i < m.count && made < each; i++) {
      char why[160];
      uint8_t saved[16];
      m.k = (start + i) % m.count;
      memcpy(saved, here(&m), m.insn[m.k].size);
      if (!operators[o]->apply(&m)) {
        ck_assert_int_eq(memcmp(saved, here(&m), m.insn[m.k].size), 0);
        continue;
      }
      made++;
      results[o].made++;
      if (!verify_block(m.j, block, why, sizeof why)) {
        results[o].caught++;
        results[o].run += watched != 0;
        results[o].seen += watched && escapes(block, d, watched);
      } else {
        missed++;
        report_missed(&m, handle, operators[o]->name, saved);
      }
      memcpy(here(&m), saved, m.insn[m.k].size);
    }
  }
  cs_free(m.insn, m.count);
  return missed;
}
