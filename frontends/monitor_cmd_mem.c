/* SPDX-License-Identifier: MIT */
/* Monitor commands that look at memory and values: x, xp, print. */
#include <capstone.h>
#include <ctype.h>
#include <string.h>

#include "core/monitor.h"
#include "frontends/monitor.h"

#define INSN_BYTES_MAX 15

static bool say_error(FILE *out, const char *command, const char *error, const char *at) {
  if (!strcmp(error, "invalid char in format"))
    fprintf(out, "%s: '%c'\n", error, *at);
  else
    fprintf(out, "%s\n", error);
  fprintf(out, "Try \"help %s\" for more information\n", command);
  return false;
}

static void disassemble(struct machine *m, uint32_t addr, int count, int physical, FILE *out) {
  csh handle;
  const struct cpu *cpu = m->cpu[0];
  bool code32 = (cpu->seg[CS].attr & SEG_DB) != 0;
  if (cs_open(CS_ARCH_X86, code32 ? CS_MODE_32 : CS_MODE_16, &handle) != CS_ERR_OK)
    return;
  cs_option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
  cs_insn *insn = cs_malloc(handle);
  for (; insn && count > 0; count--) {
    uint8_t bytes[INSN_BYTES_MAX];
    char hex[3 * INSN_BYTES_MAX + 1] = "";
    unsigned n = debug_read(m, addr, bytes, sizeof bytes, physical);
    if (n == 0) {
      fprintf(out, "0x%08x:  Cannot access memory\n", addr);
      break;
    }
    const uint8_t *code = bytes;
    size_t left = n;
    uint64_t at = addr;
    bool known = cs_disasm_iter(handle, &code, &left, &at, insn);
    unsigned length = known ? insn->size : 1;
    for (unsigned i = 0; i < length && i < n; i++)
      snprintf(hex + 3 * i, 4, "%02x%s", bytes[i], i + 1 < length ? " " : "");
    if (known)
      fprintf(out, "0x%08x:  %-24s %-8s %s\n", addr, hex, insn->mnemonic, insn->op_str);
    else
      fprintf(out, "0x%08x:  %-24s .byte    0x%02x\n", addr, hex, bytes[0]);
    addr += length;
  }
  if (insn)
    cs_free(insn, 1);
  cs_close(&handle);
}

static void dump(struct machine *m, uint32_t addr, const struct dump_format *f, int physical, FILE *out) {
  unsigned size = f->format == 'c' ? 1 : (unsigned)f->size;
  unsigned line = size == 1 ? 8 : 16;
  int digits = (int)(size * 80 + 32) / 33; /* decimal */
  if (f->format == 'o')
    digits = (int)(size * 8 + 2) / 3;
  else if (f->format == 'x')
    digits = (int)size * 2;
  if (f->format == 'c')
    line = 16;
  uint64_t left = (uint64_t)size * (unsigned)f->count;
  while (left) {
    uint8_t bytes[16];
    unsigned want = left < line ? (unsigned)left : line;
    fprintf(out, physical ? "%016x:" : "%08x:", addr);
    if (debug_read(m, addr, bytes, want, physical) < want) {
      fprintf(out, " Cannot access memory\n");
      return;
    }
    for (unsigned i = 0; i < want; i += size) {
      uint64_t v = 0;
      memcpy(&v, bytes + i, size);
      fputc(' ', out);
      monitor_print_value(out, f->format, digits, v);
    }
    fputc('\n', out);
    addr += want;
    left -= want;
  }
}

static void examine(struct monitor_env *env, char *args, FILE *out, int physical) {
  const char *text = args, *error = NULL, *name = physical ? "xp" : "x";
  struct dump_format f = {1, env->format ? env->format : 'x', env->size ? env->size : 4};
  int64_t addr;
  if (!monitor_format(&text, &f, &error) || !monitor_expression(env->machine, &text, &addr, &error)) {
    say_error(out, name, error, text);
    return;
  }
  if (*text) {
    fprintf(out, "%s: extraneous characters at the end of line\nTry \"help %s\" for more information\n", name,
            name);
    return;
  }
  if (f.format == 'i') {
    disassemble(env->machine, (uint32_t)addr, f.count, physical, out);
    return;
  }
  env->format = f.format;
  env->size = f.size;
  dump(env->machine, (uint32_t)addr, &f, physical, out);
}

void cmd_x(struct monitor_env *env, char *args, FILE *out) { examine(env, args, out, 0); }
void cmd_xp(struct monitor_env *env, char *args, FILE *out) { examine(env, args, out, 1); }

void cmd_print(struct monitor_env *env, char *args, FILE *out) {
  const char *text = args, *error = NULL;
  struct dump_format f = {1, 'x', 4};
  int64_t v;
  if (!monitor_format(&text, &f, &error) || !monitor_expression(env->machine, &text, &v, &error)) {
    say_error(out, "print", error, text);
    return;
  }
  if (*text) {
    fprintf(out,
            "print: extraneous characters at the end of line\nTry \"help print\" for more information\n");
    return;
  }
  monitor_print_value(out, f.format, 0, (uint64_t)v);
  fputc('\n', out);
}
