/* SPDX-License-Identifier: MIT */
/* Listings of guest and host code in the log, by Capstone. */
#include "translate/dump.h"

#include <capstone/capstone.h>

#include "core/log.h"

static void list(FILE *out, cs_mode mode, const uint8_t *code, size_t size, uint64_t address) {
  csh handle;
  if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK)
    return;
  cs_option(handle, CS_OPT_SKIPDATA, CS_OPT_ON);
  cs_insn *insn;
  size_t n = cs_disasm(handle, code, size, address, 0, &insn);
  for (size_t i = 0; i < n; i++)
    fprintf(out, "0x%08llx:  %s %s\n", (unsigned long long)insn[i].address, insn[i].mnemonic, insn[i].op_str);
  if (n)
    cs_free(insn, n);
  cs_close(&handle);
}

void dump_guest(const struct block *b, const struct insn *insns, const int16_t *off, unsigned count) {
  FILE *out = log_file();
  fprintf(out, "IN: eip=%08x pa=%08x mode=%05x\n", b->eip, b->pa, b->mode);
  for (unsigned i = 0; i < count; i++) {
    list(out, b->mode & MODE_CODE32 ? CS_MODE_32 : CS_MODE_16, insns[i].bytes, insns[i].length,
         b->eip + (uint32_t)(int32_t)off[i]);
  }
  fputc('\n', out);
}

void dump_host(const struct jit *j, const struct block *b) {
  FILE *out = log_file();
  fprintf(out, "OUT: eip=%08x size=%u\n", b->eip, b->host_size);
  const uint8_t *front = b->host - BLOCK_FRONT;
  list(out, CS_MODE_64, jit_to_rw(j, front), BLOCK_FRONT, (uintptr_t)front);
  list(out, CS_MODE_64, jit_to_rw(j, b->host), b->host_size, (uintptr_t)b->host);
  fputc('\n', out);
}
