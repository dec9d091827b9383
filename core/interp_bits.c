/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: bit tests and scans, SETcc, CMOVcc, POPCNT, CRC32, BSWAP, MOVBE (SDM vol. 2).
 *
 * BT and its kin with a register offset address memory beyond the operand (SDM vol. 2, 3.1.1.9). BSF and
 * BSR of zero leave the destination alone, as every processor does.
 */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

/* op(cpu, value, bit) -> value; sets CF, on the host's instruction. The other undefined flags follow the host. */
#define BIT_OP(name, op) \
  static uint32_t name##_v(struct cpu *cpu, int size, uint32_t v, uint32_t bit) { \
    uint32_t f = flags_to_host(cpu->eflags); \
    if (size == 4) { \
      __asm__(HOST_FLAGS(op "l %[b], %[a]") : [a] "+r"(v), "+&a"(f) : [b] "r"(bit) : "cc"); \
    } else { \
      uint16_t a = (uint16_t)v, b = (uint16_t)bit; \
      __asm__(HOST_FLAGS(op "w %[b], %[a]") : [a] "+r"(a), "+&a"(f) : [b] "r"(b) : "cc"); \
      v = a; \
    } \
    flags_from_host(cpu, f); \
    return v; \
  }

BIT_OP(bt, "bt")
BIT_OP(bts, "bts")
BIT_OP(btr, "btr")
BIT_OP(btc, "btc")

typedef uint32_t bit_fn(struct cpu *cpu, int size, uint32_t v, uint32_t bit);

/* `offset`: signed bit offset; memory far from the operand's address may be meant. */
static inline void bit_op(struct cpu *cpu, const struct insn *in, uint32_t offset, bool far, bit_fn *op, bool store) {
  int size = in->opsize;
  if (!in->is_mem) {
    uint32_t v = op(cpu, size, cpu->gpr[in->rm], offset);
    if (store)
      set_reg_v(cpu, in->rm, size, v);
    return;
  }
  uint32_t ea = insn_ea(cpu, in);
  if (far) {
    int32_t words = size == 4 ? (int32_t)offset >> 5 : (int16_t)offset >> 4;
    ea = (ea + (uint32_t)(words * size)) & address_mask(in);
  }
  if (!store) {
    op(cpu, size, (uint32_t)vmem_read(cpu, in->seg, ea, size), offset);
    return;
  }
  uint32_t la = rmw_begin(cpu, in->seg, ea, size);
  rmw_write(cpu, la, size, op(cpu, size, (uint32_t)rmw_read(cpu, la, size), offset));
}

#define HANDLERS_BIT(ID, name, store) \
  HANDLER(ID##_Ev_Gv) { bit_op(cpu, in, cpu->gpr[in->reg], true, name##_v, store); } \
  HANDLER(ID##_Ev_Ib) { bit_op(cpu, in, in->imm, false, name##_v, store); }

HANDLERS_BIT(BT, bt, false)
HANDLERS_BIT(BTS, bts, true)
HANDLERS_BIT(BTR, btr, true)
HANDLERS_BIT(BTC, btc, true)

#define SCAN(ID, op) \
  HANDLER(ID##_Gv_Ev) { \
    uint32_t src = read_e(cpu, in, in->opsize), dst = cpu->gpr[in->reg], f = flags_to_host(cpu->eflags); \
    if (in->opsize == 4) { \
      __asm__(HOST_FLAGS(op "l %[b], %[a]") : [a] "+r"(dst), "+&a"(f) : [b] "r"(src) : "cc"); \
    } else { \
      uint16_t a = (uint16_t)dst, b = (uint16_t)src; \
      __asm__(HOST_FLAGS(op "w %[b], %[a]") : [a] "+r"(a), "+&a"(f) : [b] "r"(b) : "cc"); \
      dst = a; \
    } \
    if (src != 0) \
      set_reg_v(cpu, in->reg, in->opsize, dst); \
    flags_from_host(cpu, f); \
  }

SCAN(BSF, "bsf")
SCAN(BSR, "bsr")

HANDLER(POPCNT_Gv_Ev) {
  uint32_t src = read_e(cpu, in, in->opsize);
  set_reg_v(cpu, in->reg, in->opsize, (uint32_t)__builtin_popcount(src));
  cpu->eflags = (cpu->eflags & ~FL_ARITH) | (src == 0 ? FL_ZF : 0);
}

/* CRC-32C, bit-reflected, without inversions. */
static uint32_t crc32c(uint32_t crc, uint32_t data, int size) {
  for (int i = 0; i < size; i++, data >>= 8) {
    crc ^= data & 0xff;
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return crc;
}

HANDLER(CRC32_Gd_Eb) { cpu->gpr[in->reg] = crc32c(cpu->gpr[in->reg], read_e(cpu, in, 1), 1); }
HANDLER(CRC32_Gd_Ev) {
  cpu->gpr[in->reg] = crc32c(cpu->gpr[in->reg], read_e(cpu, in, in->opsize), in->opsize);
}

/* BSWAP of a 16-bit register is undefined: as the host does it. */
HANDLER(BSWAP_Zv) {
  uint32_t v = cpu->gpr[in->rm];
  if (in->opsize == 4)
    v = __builtin_bswap32(v);
  else
    __asm__(".byte 0x66\n\tbswapl %0" : "+r"(v));
  cpu->gpr[in->rm] = v;
}

static uint32_t swap_v(int size, uint32_t v) {
  return size == 4 ? __builtin_bswap32(v) : __builtin_bswap16((uint16_t)v);
}
HANDLER(MOVBE_Gv_Mv) { set_reg_v(cpu, in->reg, in->opsize, swap_v(in->opsize, read_e(cpu, in, in->opsize))); }
HANDLER(MOVBE_Mv_Gv) { write_e(cpu, in, in->opsize, swap_v(in->opsize, cpu->gpr[in->reg])); }

/* CMOVcc reads its source whatever the condition. */
#define HANDLERS_CONDITION(CC) \
  HANDLER(SET##CC##_Eb) { write_e(cpu, in, 1, condition(cpu->eflags, in->opcode & 15)); } \
  HANDLER(CMOV##CC##_Gv_Ev) { \
    uint32_t v = read_e(cpu, in, in->opsize); \
    if (condition(cpu->eflags, in->opcode & 15)) \
      set_reg_v(cpu, in->reg, in->opsize, v); \
  }

HANDLERS_CONDITION(O)
HANDLERS_CONDITION(NO)
HANDLERS_CONDITION(B)
HANDLERS_CONDITION(AE)
HANDLERS_CONDITION(E)
HANDLERS_CONDITION(NE)
HANDLERS_CONDITION(BE)
HANDLERS_CONDITION(A)
HANDLERS_CONDITION(S)
HANDLERS_CONDITION(NS)
HANDLERS_CONDITION(P)
HANDLERS_CONDITION(NP)
HANDLERS_CONDITION(L)
HANDLERS_CONDITION(GE)
HANDLERS_CONDITION(LE)
HANDLERS_CONDITION(G)
