/* SPDX-License-Identifier: MIT */
/*
 * What the interpreter's handlers share: one handler per row of insn.def, operand access, flags.
 *
 * Contract of a handler: it is called with cpu->eip on the instruction and cpu->next_eip behind it, after the checks
 * that the row's attributes ask for (A_PE, A_CPL0). It raises before it changes anything. Branches overwrite
 * cpu->next_eip. A repeated string instruction that is not done leaves next_eip equal to eip.
 */
#ifndef CORE_INTERP_H
#define CORE_INTERP_H

#include "core/cpu.h"
#include "core/insn.h"
#include "core/paging.h"
#include "core/segment.h"

#define I(id, ...) void interp_##id(struct cpu *cpu, const struct insn *in);
#include "core/insn.def"
#undef I

/* REP iterations in one go; then the instruction is left unfinished, so that events get their turn. */
#define REP_SLICE 4096u

/* --- registers --- */
static inline uint8_t *reg8_ptr(struct cpu *cpu, unsigned r) { return (uint8_t *)&cpu->gpr[r & 3] + (r >> 2); }
static inline uint8_t reg8(struct cpu *cpu, unsigned r) { return *reg8_ptr(cpu, r); }
static inline void set_reg8(struct cpu *cpu, unsigned r, uint8_t v) { *reg8_ptr(cpu, r) = v; }
static inline uint16_t reg16(const struct cpu *cpu, unsigned r) { return (uint16_t)cpu->gpr[r]; }
static inline void set_reg16(struct cpu *cpu, unsigned r, uint16_t v) {
  cpu->gpr[r] = (cpu->gpr[r] & 0xffff0000u) | v;
}
/* A register of the operand size (2 or 4 bytes). */
static inline uint32_t reg_v(const struct cpu *cpu, unsigned r, int size) {
  return size == 4 ? cpu->gpr[r] : (uint16_t)cpu->gpr[r];
}
static inline void set_reg_v(struct cpu *cpu, unsigned r, int size, uint32_t v) {
  if (size == 4)
    cpu->gpr[r] = v;
  else
    set_reg16(cpu, r, (uint16_t)v);
}

/* --- memory --- */
static inline uint32_t address_mask(const struct insn *in) { return in->addrsize == 4 ? 0xffffffffu : 0xffffu; }

/* Effective address of the ModRM operand. */
static inline uint32_t insn_ea(const struct cpu *cpu, const struct insn *in) {
  uint32_t ea = in->disp;
  if (in->base != 0xff)
    ea += cpu->gpr[in->base];
  if (in->index != 0xff)
    ea += cpu->gpr[in->index] << in->scale;
  return ea & address_mask(in);
}

/* Raise what a store of `size` bytes would raise; return the linear address. */
static inline uint32_t check_write(struct cpu *cpu, int seg, uint32_t off, unsigned size) {
  uint32_t la = seg_linear(cpu, seg, off, size, true);
  linear_check_write(cpu, la, size, cpu->cpl == 3);
  return la;
}

/*
 * Read-modify-write: rmw_begin raises everything that the store could raise; then rmw_read and rmw_write
 * cannot fault.
 */
static inline uint32_t rmw_begin(struct cpu *cpu, int seg, uint32_t off, int size) {
  uint32_t la = seg_linear(cpu, seg, off, (unsigned)size, true);
  bool user = cpu->cpl == 3;
  if (cpu->tlb[user ? TLB_USER_WRITE : TLB_SUP_WRITE][tlb_index(la, size) & (TLB_ENTRIES - 1)] == 0)
    linear_check_write(cpu, la, (unsigned)size, user);
  return la;
}
static inline uint64_t rmw_read(struct cpu *cpu, uint32_t la, int size) {
  return linear_read(cpu, la, size, cpu->cpl == 3);
}
static inline void rmw_write(struct cpu *cpu, uint32_t la, int size, uint64_t v) {
  linear_write(cpu, la, size, v, cpu->cpl == 3);
}

/* The ModRM r/m operand as a whole: `size` 1, 2 or 4. */
static inline uint32_t read_e(struct cpu *cpu, const struct insn *in, int size) {
  if (in->is_mem)
    return (uint32_t)vmem_read(cpu, in->seg, insn_ea(cpu, in), size);
  return size == 1 ? reg8(cpu, in->rm) : reg_v(cpu, in->rm, size);
}
static inline void write_e(struct cpu *cpu, const struct insn *in, int size, uint32_t v) {
  if (in->is_mem)
    vmem_write(cpu, in->seg, insn_ea(cpu, in), size, v);
  else if (size == 1)
    set_reg8(cpu, in->rm, (uint8_t)v);
  else
    set_reg_v(cpu, in->rm, size, v);
}
/* The same for an operand that is read, then written. *la receives the address in between. */
static inline uint32_t modify_e(struct cpu *cpu, const struct insn *in, int size, uint32_t *la) {
  if (!in->is_mem)
    return read_e(cpu, in, size);
  *la = rmw_begin(cpu, in->seg, insn_ea(cpu, in), size);
  return (uint32_t)rmw_read(cpu, *la, size);
}
static inline void modify_e_done(struct cpu *cpu, const struct insn *in, int size, uint32_t la, uint32_t v) {
  if (in->is_mem)
    rmw_write(cpu, la, size, v);
  else
    write_e(cpu, in, size, v);
}

/* --- stack --- */
static inline uint32_t stack_mask(const struct cpu *cpu) {
  return cpu->seg[SS].attr & SEG_DB ? 0xffffffffu : 0xffffu;
}
static inline void set_sp(struct cpu *cpu, uint32_t sp) {
  uint32_t mask = stack_mask(cpu);
  cpu->gpr[ESP] = (cpu->gpr[ESP] & ~mask) | (sp & mask);
}
static inline void push_v(struct cpu *cpu, int size, uint32_t v) {
  uint32_t sp = (cpu->gpr[ESP] - (uint32_t)size) & stack_mask(cpu);
  vmem_write(cpu, SS, sp, size, v);
  set_sp(cpu, sp);
}
/* The value `depth` bytes above the top; the caller moves ESP when nothing can fault any more. */
static inline uint32_t peek_v(struct cpu *cpu, int size, uint32_t depth) {
  return (uint32_t)vmem_read(cpu, SS, (cpu->gpr[ESP] + depth) & stack_mask(cpu), size);
}

/* --- ports --- */
/* Permission, then I/O breakpoints; before the access. */
static inline void check_port(struct cpu *cpu, uint16_t port, int size) {
  control_check_io(cpu, port, size);
  if (__builtin_expect(cpu->debug_data, 0))
    debug_check_io(cpu, port, (unsigned)size);
}

/* --- control flow --- */
/* Near branch: checks the CS limit, then sets next_eip. */
static inline void branch_check(struct cpu *cpu, uint32_t target) {
  if (target > cpu->seg[CS].limit)
    cpu_raise_error(cpu, EXC_GP, 0);
}
static inline uint32_t branch_target(const struct cpu *cpu, const struct insn *in) {
  uint32_t target = cpu->next_eip + in->imm;
  return in->opsize == 4 ? target : target & 0xffff;
}

/* --- flags --- */
static inline void set_flag(struct cpu *cpu, uint32_t flag, bool on) {
  cpu->eflags = on ? cpu->eflags | flag : cpu->eflags & ~flag;
}

/* Condition codes 0-15 as in Jcc (SDM vol. 1, app. B). */
static inline bool condition(uint32_t eflags, unsigned cc) {
  bool r;
  switch ((cc >> 1) & 7) {
  case 0: r = eflags & FL_OF; break;
  case 1: r = eflags & FL_CF; break;
  case 2: r = eflags & FL_ZF; break;
  case 3: r = eflags & (FL_CF | FL_ZF); break;
  case 4: r = eflags & FL_SF; break;
  case 5: r = eflags & FL_PF; break;
  case 6: r = !(eflags & FL_SF) != !(eflags & FL_OF); break;
  default: r = (eflags & FL_ZF) || !(eflags & FL_SF) != !(eflags & FL_OF); break;
  }
  return r != (cc & 1);
}

/*
 * Arithmetic runs on the host's own instruction, so flags, undefined ones included, are exact by construction. RAX
 * carries them: AH = the low byte as for SAHF, AL = OF. HOST_FLAGS(op) is the assembly around `op`, whose
 * operands must not be RAX; it does not use the stack.
 */
#define HOST_FLAGS(op) "addb $0x7f, %%al\n\tsahf\n\t" op "\n\tlahf\n\tseto %%al\n\t"
static inline uint32_t flags_to_host(uint32_t eflags) { return (eflags & 0xff) << 8 | (eflags >> 11 & 1); }
static inline void flags_from_host(struct cpu *cpu, uint32_t f) {
  cpu->eflags = (cpu->eflags & ~FL_ARITH) | (f >> 8 & (FL_ARITH & 0xff)) | (f & 1) << 11;
}

#endif
