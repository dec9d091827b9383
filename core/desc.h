/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and stacks under construction (SDM vol. 3, 3.4.5 and 6.12.1): what segment.c, far.c,
 * exception.c and task.c share. Nothing here is for other modules.
 */
#ifndef CORE_DESC_H
#define CORE_DESC_H

#include "core/cpu.h"
#include "core/paging.h"
#include "core/segment.h"

struct desc {
  uint32_t lo, hi;
};

/* Bits of the upper dword. */
#define DESC_A 0x00000100u
#define DESC_RW 0x00000200u
#define DESC_EC 0x00000400u
#define DESC_CODE 0x00000800u
#define DESC_S 0x00001000u
#define DESC_P 0x00008000u
#define DESC_BUSY 0x00000200u /* of a TSS */

/* Types of system descriptors and gates (SDM vol. 3, table 3-2). */
enum {
  SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5, SYS_INT16 = 6,
  SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14, SYS_TRAP32 = 15,
};

static inline unsigned desc_type(struct desc d) { return d.hi >> 8 & 15; } /* without S */
static inline unsigned desc_dpl(struct desc d) { return d.hi >> 13 & 3; }
static inline bool desc_present(struct desc d) { return (d.hi & DESC_P) != 0; }
static inline bool desc_is_code(struct desc d) { return (d.hi & (DESC_S | DESC_CODE)) == (DESC_S | DESC_CODE); }
static inline bool desc_is_conforming(struct desc d) { return (d.hi & DESC_EC) != 0; } /* of a code segment */
static inline bool desc_is_writable(struct desc d) { /* a writable data segment */
  return (d.hi & (DESC_S | DESC_CODE | DESC_RW)) == (DESC_S | DESC_RW);
}
static inline uint32_t desc_base(struct desc d) {
  return d.lo >> 16 | (d.hi & 0xff) << 16 | (d.hi & 0xff000000u);
}
static inline uint32_t desc_limit(struct desc d) {
  uint32_t limit = (d.lo & 0xffff) | (d.hi & 0xf0000);
  return d.hi & 0x800000 ? limit << 12 | 0xfff : limit;
}
static inline bool desc_is_tss32(struct desc d) { return (d.hi & 0x800) != 0; }
/* Gates: target selector and offset (16-bit gates have only the low half). */
static inline uint16_t gate_selector(struct desc d) { return (uint16_t)(d.lo >> 16); }
static inline uint32_t gate_offset(struct desc d) {
  return d.hi & 0x800 ? (d.lo & 0xffff) | (d.hi & 0xffff0000u) : d.lo & 0xffff;
}
static inline bool selector_is_null(uint16_t sel) { return (sel & 0xfffc) == 0; }

/* Where a selector's descriptor lies; false if outside the table. */
static inline bool desc_address(const struct cpu *cpu, uint16_t sel, uint32_t *la) {
  uint32_t offset = sel & 0xfff8u;
  if (sel & 4) {
    const struct seg *ldt = &cpu->seg[LDTR];
    if (!(ldt->attr & SEG_P) || offset + 7 > ldt->limit)
      return false;
    *la = ldt->base + offset;
    return true;
  }
  if (offset + 7 > cpu->gdtr.limit)
    return false;
  *la = cpu->gdtr.base + offset;
  return true;
}

/* Read a descriptor; outside its table: raise `vector` with the selector as error code. */
static inline struct desc desc_fetch(struct cpu *cpu, uint16_t sel, int vector) {
  uint32_t la;
  if (!desc_address(cpu, sel, &la))
    cpu_raise_error(cpu, vector, sel & 0xfffcu);
  uint64_t value = linear_read(cpu, la, 8, false);
  return (struct desc){(uint32_t)value, (uint32_t)(value >> 32)};
}
/* Set the accessed bit of a code or data descriptor in memory and in *d. May raise #PF. */
void desc_mark_accessed(struct cpu *cpu, uint16_t sel, struct desc *d);
/* Write the upper dword back (TSS busy bit). */
void desc_write_hi(struct cpu *cpu, uint16_t sel, uint32_t hi);

/* Fill a struct seg; none of these raises. */
void seg_from_desc(struct seg *s, uint16_t sel, struct desc d);
/* The same for CS at an unchanged CPL; false: only the selector may have changed, which no mode depends on. */
bool seg_cs_from_desc(struct cpu *cpu, uint16_t sel, struct desc d);
void seg_make_null(struct seg *s, uint16_t sel);
void seg_make_v86(struct seg *s, uint16_t sel);
/* Is [off, off + size) inside the limit (expand-down included)? */
bool seg_in_limit(const struct seg *s, uint32_t off, unsigned size);
/* Check SS:ESP from a TSS or stack (SDM: vectors differ) for privilege `cpl`; `vector` is #TS or #GP. */
struct desc desc_fetch_stack(struct cpu *cpu, uint16_t sel, uint32_t cpl, int vector);
/* After a return to an outer ring: null ES, DS, FS, GS that the new CPL may not use. */
void seg_drop_inaccessible(struct cpu *cpu);

/* A stack that is written before SS:ESP are committed. */
struct stack {
  struct seg seg;
  uint32_t esp;
  bool user; /* rights of the pushes */
  uint16_t error; /* selector for #SS */
};

static inline uint32_t stack_mask(const struct seg *ss) { return ss->attr & SEG_DB ? 0xffffffffu : 0xffffu; }
void stack_current(struct cpu *cpu, struct stack *s);
/* Read SSn:ESPn from the current TSS (n = cpl) and check them. */
void stack_from_tss(struct cpu *cpu, struct stack *s, uint32_t cpl);
/* Push values[0], [1], ... of 2 or 4 bytes; every check comes before the first store. */
void stack_push_all(struct cpu *cpu, struct stack *s, const uint32_t *values, unsigned count, int size);
/* Read the item of 2 or 4 bytes at SS:ESP + offset. */
uint32_t stack_peek(struct cpu *cpu, uint32_t offset, int size);
/* The items at the top of the stack, in the order of their addresses. */
void stack_peek_all(struct cpu *cpu, uint32_t *values, unsigned count, int size);
/* Low 16 bits or all of ESP, as the given stack segment says. */
void stack_set_esp(struct cpu *cpu, const struct seg *ss, uint32_t esp);

/* Load PDPTEs if PAE paging is (to be) active; raise #GP(0) for reserved bits. */
void paging_load_pdptes(struct cpu *cpu, uint32_t cr0, uint32_t cr3, uint32_t cr4);

/* The flags an IRET or POPF may change at this CPL and IOPL outside V86 mode, for opsize 2 or 4. */
uint32_t control_flags_mask(const struct cpu *cpu, int opsize);
void control_set_flags(struct cpu *cpu, uint32_t value, uint32_t mask);
/* DR0-3 or DR7 changed: which accesses must be watched? */
void control_update_debug(struct cpu *cpu);

#endif
