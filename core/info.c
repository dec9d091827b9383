/* SPDX-License-Identifier: MIT */
/*
 * The monitor's view of CPU and memory: "info registers", "info mem", "info tlb", "info mtree" in QEMU's layouts,
 * and memory reads without side effects. Nothing here changes guest state.
 */
#include "core/monitor.h"

#include <inttypes.h>

#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"

/* --- registers --- */

static void print_segment(FILE *out, const struct cpu *cpu, const char *name, int n) {
  static const char *const system_types[16] = {
    "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
    "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32",
  };
  const struct seg *s = &cpu->seg[n];
  unsigned attr = s->attr;
  uint32_t limit = attr & SEG_G ? s->limit >> 12 : s->limit;
  uint32_t flags = (attr & 0xff) << 8 | (attr & 0xf000) << 8 | (limit & 0xf0000);
  fprintf(out, "%-3s=%04x %08x %08x %08x", name, s->sel, s->base, s->limit, flags);
  if ((cpu->cr0 & CR0_PE) && (attr & SEG_P)) {
    fprintf(out, " DPL=%u ", attr >> SEG_DPL_SHIFT & 3);
    if (!(attr & SEG_S)) {
      fputs(system_types[attr & SEG_TYPE], out);
    } else {
      if (attr & SEG_CODE)
        fprintf(out, "%s [%c%c", attr & SEG_DB ? "CS32" : "CS16", attr & SEG_EC ? 'C' : '-', attr & SEG_RW ? 'R' : '-');
      else
        fprintf(out, "%s [%c%c", attr & SEG_DB ? "DS  " : "DS16", attr & SEG_EC ? 'E' : '-', attr & SEG_RW ? 'W' : '-');
      fprintf(out, "%c]", attr & SEG_A ? 'A' : '-');
    }
  }
  fputc('\n', out);
}

static uint64_t load64(const uint8_t *p) {
  uint64_t value;
  memcpy(&value, p, 8);
  return value;
}

static void print_fpu(FILE *out, const struct cpu *cpu) {
  const struct fxsave *fx = &cpu->fx;
  unsigned top = fx->fsw >> 11 & 7;
  fprintf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", fx->fcw, fx->fsw, top, fx->ftw, fx->mxcsr);
  for (unsigned i = 0; i < 8; i++) { /* by physical number */
    const uint8_t *st = fx->st[(i - top) & 7];
    fprintf(out, "FPR%u=%016" PRIx64 " %04x%c", i, load64(st), st[8] | st[9] << 8, i & 1 ? '\n' : ' ');
  }
  for (unsigned i = 0; i < 8; i++)
    fprintf(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, load64(fx->xmm[i] + 8), load64(fx->xmm[i]),
            i & 1 ? '\n' : ' ');
}

void info_registers(struct machine *m, FILE *out) {
  static const char *const names[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"};
  const struct cpu *cpu = m->cpu[0];
  const uint32_t *r = cpu->gpr;
  uint32_t f = cpu->eflags;
  fprintf(out, "\nCPU#0\n");
  fprintf(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n", r[EAX], r[EBX], r[ECX], r[EDX]);
  fprintf(out, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", r[ESI], r[EDI], r[EBP], r[ESP]);
  fprintf(out, "EIP=%08x EFL=%08x [%c%c%c%c%c%c%c] CPL=%u II=%d A20=%d SMM=0 HLT=%d\n", cpu->eip, f,
          f & FL_DF ? 'D' : '-', f & FL_OF ? 'O' : '-', f & FL_SF ? 'S' : '-', f & FL_ZF ? 'Z' : '-',
          f & FL_AF ? 'A' : '-', f & FL_PF ? 'P' : '-', f & FL_CF ? 'C' : '-', cpu->cpl, cpu->shadow != SHADOW_NONE,
          cpu->a20, cpu->halted);
  for (int i = 0; i < SEG_COUNT; i++)
    print_segment(out, cpu, names[i], i);
  fprintf(out, "GDT=     %08x %08x\n", cpu->gdtr.base, cpu->gdtr.limit);
  fprintf(out, "IDT=     %08x %08x\n", cpu->idtr.base, cpu->idtr.limit);
  fprintf(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4);
  fprintf(out, "DR0=%08x DR1=%08x DR2=%08x DR3=%08x \n", cpu->dr[0], cpu->dr[1], cpu->dr[2], cpu->dr[3]);
  fprintf(out, "DR6=%08x DR7=%08x\n", cpu->dr[6], cpu->dr[7]);
  fprintf(out, "EFER=%016" PRIx64 "\n", cpu->efer);
  print_fpu(out, cpu);
}

/* --- page tables --- */

struct leaf {
  uint64_t entry; /* the last level as it is; 0 = not mapped */
  uint64_t span; /* bytes that this entry (or the hole) covers, from the start of the region */
  uint64_t base; /* physical */
  unsigned rights; /* bits 1 (W) and 2 (U) over all levels */
  bool large;
};

static uint64_t entry_at(const struct machine *m, uint64_t pa, unsigned size) {
  uint64_t value = 0;
  if (pa >> 32)
    return 0;
  const uint8_t *host = m->mem->page[pa >> 12].read;
  if (host)
    memcpy(&value, host + (pa & 0xfff & ~(uint64_t)(size - 1)), size);
  return value;
}

static struct leaf leaf_at(const struct machine *m, uint32_t la) {
  const struct cpu *cpu = m->cpu[0];
  bool pae = (cpu->cr4 & CR4_PAE) != 0;
  unsigned size = pae ? 8 : 4;
  uint64_t address_bits = pae ? 0xffffff000ull : 0xfffff000ull, pde;
  if (pae) {
    uint64_t pdpte = cpu->pdpte[la >> 30];
    if (!(pdpte & 1))
      return (struct leaf){.span = 1u << 30};
    pde = entry_at(m, (pdpte & address_bits) + (la >> 21 & 511) * 8, 8);
  } else {
    pde = entry_at(m, (cpu->cr3 & 0xfffff000u) + (la >> 22) * 4, 4);
  }
  uint64_t span = pae ? 1u << 21 : 1u << 22;
  if (!(pde & 1))
    return (struct leaf){.span = span};
  if ((pde & 0x80) && (pae || (cpu->cr4 & CR4_PSE))) {
    uint64_t base = pde & address_bits & ~(span - 1);
    if (!pae)
      base |= (pde >> 13 & 15) << 32; /* PSE-36 */
    return (struct leaf){pde, span, base, pde & 6, true};
  }
  unsigned index = la >> 12 & (pae ? 511 : 1023);
  uint64_t pte = entry_at(m, (pde & address_bits) + index * size, size);
  if (!(pte & 1))
    return (struct leaf){.span = 4096};
  return (struct leaf){pte, 4096, pte & address_bits, (unsigned)(pde & pte) & 6, false};
}

void info_tlb(struct machine *m, FILE *out) {
  if (!(m->cpu[0]->cr0 & CR0_PG)) {
    fputs("PG disabled\n", out);
    return;
  }
  struct leaf l;
  for (uint64_t la = 0; la < 1ull << 32; la += l.span) {
    l = leaf_at(m, (uint32_t)la);
    uint64_t e = l.entry;
    if (e)
      fprintf(out, "%016" PRIx64 ": %016" PRIx64 " %c%c%c%c%c%c%c%c%c\n", la, l.base, e >> 63 ? 'X' : '-',
              e & 0x100 ? 'G' : '-', l.large ? 'P' : '-', e & 0x40 ? 'D' : '-', e & 0x20 ? 'A' : '-',
              e & 0x10 ? 'C' : '-', e & 8 ? 'T' : '-', e & 4 ? 'U' : '-', e & 2 ? 'W' : '-');
  }
}

void info_mem(struct machine *m, FILE *out) {
  if (!(m->cpu[0]->cr0 & CR0_PG)) {
    fputs("PG disabled\n", out);
    return;
  }
  uint64_t start = 0;
  int last = -1; /* rights of the open range */
  for (uint64_t la = 0; la <= 1ull << 32;) {
    struct leaf l = {.span = 1};
    if (la < 1ull << 32)
      l = leaf_at(m, (uint32_t)la);
    int rights = l.entry ? (int)l.rights : -1;
    if (rights != last) {
      if (last >= 0)
        fprintf(out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", start, la, la - start,
                last & 4 ? 'u' : '-', last & 2 ? 'w' : '-');
      start = la;
      last = rights;
    }
    la += l.span;
  }
}

/* --- physical memory --- */

static const char *page_kind(const struct mem_page *p) {
  if (p->read == NULL)
    return p->mmio ? "i/o" : NULL;
  return p->rom || p->write == NULL ? "rom" : p->write == p->read ? "ram" : "split";
}

static bool continues(const struct mem *mem, uint32_t page) {
  const struct mem_page *a = &mem->page[page - 1], *b = &mem->page[page];
  return page_kind(a) == page_kind(b) && a->mmio == b->mmio && a->block == b->block &&
         (a->read == NULL || a->read + MEM_PAGE == b->read);
}

void info_mtree(struct machine *m, FILE *out) {
  const struct mem *mem = m->mem;
  fputs("address-space: memory\n", out);
  for (uint32_t page = 0, end; page < MEM_PAGES; page = end) {
    const struct mem_page *p = &mem->page[page];
    for (end = page + 1; end < MEM_PAGES && continues(mem, end);)
      end++;
    const char *kind = page_kind(p);
    if (kind == NULL)
      continue;
    const char *name = p->read ? (p->block ? p->block->name : "?") : mem->mmio[p->mmio].name;
    fprintf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio 0, %s): %s", (uint64_t)page << 12, ((uint64_t)end << 12) - 1,
            kind, name);
    if (p->read && p->block)
      fprintf(out, " @%016" PRIx64, (uint64_t)(p->read - p->block->host));
    fputc('\n', out);
  }
}

void info_jit(struct machine *m, FILE *out) {
  const struct engine *engine = m->config.engine;
  if (engine && engine->info)
    engine->info(m->cpu[0], out);
  else
    fputs("This engine keeps no statistics\n", out);
}

unsigned debug_read(struct machine *m, uint32_t addr, void *buf, unsigned len, int physical) {
  unsigned done = 0;
  while (done < len) {
    uint32_t pa = addr + done;
    if (!physical && !paging_probe(m->cpu[0], addr + done, &pa))
      break;
    unsigned n = 0x1000 - (pa & 0xfff);
    if (n > len - done)
      n = len - done;
    const uint8_t *host = m->mem->page[pa >> 12].read;
    if (host == NULL)
      break;
    memcpy((uint8_t *)buf + done, host + (pa & 0xfff), n);
    done += n;
  }
  return done;
}
