/* SPDX-License-Identifier: MIT */
/*
 * The checker's driver, see verify.h: decode by Capstone.
 */
#include "translate/verify.h"

#include <capstone/capstone.h>
#include <stdio.h>

#include "core/log.h"
#include "translate/dump.h"

static _Thread_local csh handle;

bool verify_block(const struct jit *j, const struct block *b, char *why, size_t why_size) {
  if (!handle && cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) {
    snprintf(why, why_size, "no disassembler");
    return false;
  }
  cs_insn *insn;
  size_t n = cs_disasm(handle, jit_to_rw(j, b->host), b->host_size, (uintptr_t)b->host, 0, &insn);
  bool all = n && insn[n - 1].address + insn[n - 1].size == (uintptr_t)b->host + b->host_size;
  snprintf(why, why_size, "undecodable bytes");
  if (n)
    cs_free(insn, n);
  return all;
}

void verify_or_die(const struct jit *j, const struct block *b, const struct insn *insns, unsigned count) {
  char why[160];
  if (verify_block(j, b, why, sizeof why))
    return;
  dump_guest(b, insns, count);
  dump_host(j, b);
  error_report("the translator made a block that is not confined: %s", why);
  DGM_ASSERT(!"confined");
}
