/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder (SDM vol. 2, ch. 2 and app. A), driven by insn.def.
 *
 * At first use the table is spread over a lookup array indexed by map, opcode, ModRM.reg and "ModRM names
 * memory"; each slot holds a short chain of rows, most specific first, among which only mandatory prefixes and
 * exact ModRM bytes are left to choose. For a row with Zb or Zv, insn.rm holds the register from the opcode's low
 * 3 bits. Rows with Cd or Dd treat ModRM.mod as 3. Encodings that name a register that does not exist (CR1,
 * segment 6) are #UD here.
 */
#include <pthread.h>
#include <string.h>

#include "core/cpu.h"
#include "core/insn.h"
#include "core/log.h"

#define SLOTS (MAP_COUNT * 256 * 16)
#define CHAIN_MAX 32768
#define NO_REG 0xff

struct slot {
  uint16_t first; /* into chain[] */
  uint16_t count;
};

static struct slot slots[SLOTS];
static uint16_t chain[CHAIN_MAX];
static uint8_t opcode_modrm[MAP_COUNT][256]; /* 1: has a ModRM byte; 2: and its mod is ignored */
static uint8_t row_imm[INSN_COUNT]; /* enum insn_op of the row's immediate; OP_NONE: it has none */
#define IMM_SEVERAL 0xff
static pthread_once_t built = PTHREAD_ONCE_INIT;
static bool ready;

static bool has_op(const struct insn_desc *d, enum insn_op a, enum insn_op b) {
  for (int i = 0; i < 3; i++)
    if (d->op[i] == a || d->op[i] == b)
      return true;
  return false;
}

/* Could this row match a ModRM byte with these reg and memory bits? */
static bool ext_admits(uint16_t ext, unsigned reg, bool mem) {
  switch (ext & 0xff00) {
  case X_NONE:
  case X_RM: return true;
  case X_MEM: return mem;
  case X_REG: return !mem;
  case X_R(0): return (ext & 7) == reg;
  case X_MR(0): return mem && (ext & 7) == reg;
  case X_RR(0): return !mem && (ext & 7) == reg;
  case X_B(0): return !mem == ((ext & 0xc0) == 0xc0) && ((ext >> 3) & 7) == reg;
  default: return false;
  }
}

/* Order in a chain: exact ModRM bytes first, rows for a mandatory prefix before P_ANY. */
static int row_rank(const struct insn_desc *d) {
  return ((d->ext & 0xff00) == X_B(0) ? 0 : 2) + (d->pfx == P_ANY ? 1 : 0);
}

static void fill_slot(unsigned map, unsigned opcode, unsigned sub, const uint16_t *rows, unsigned count,
                      unsigned *used) {
  struct slot *s = &slots[(map * 256 + opcode) * 16 + sub];
  s->first = (uint16_t)*used;
  for (int rank = 0; rank < 4; rank++) {
    for (unsigned i = 0; i < count; i++) {
      const struct insn_desc *d = &insn_desc[rows[i]];
      if (row_rank(d) == rank && ext_admits(d->ext, sub & 7, sub >= 8)) {
        DGM_ASSERT(*used < CHAIN_MAX);
        chain[(*used)++] = rows[i];
        s->count++;
      }
    }
  }
}

/* The rows of a map; those that stand for eight opcodes come last. Returns their number. */
static unsigned rows_of_map(unsigned map, uint16_t *rows) {
  unsigned count = 0;
  for (int pass = 0; pass < 2; pass++)
    for (unsigned id = 0; id < INSN_COUNT; id++)
      if (insn_desc[id].map == map && has_op(&insn_desc[id], Zb, Zv) == (pass == 1))
        rows[count++] = (uint16_t)id;
  return count;
}

static bool is_immediate(int op) {
  switch (op) {
  case Ib:
  case Iw:
  case Iv:
  case Ibs:
  case Jb:
  case Jv:
  case Ap:
  case Ob:
  case Ov: return true;
  default: return false;
  }
}

static void note_immediates(void) {
  for (unsigned id = 0; id < INSN_COUNT; id++)
    for (int i = 0; i < 3; i++)
      if (is_immediate(insn_desc[id].op[i]))
        row_imm[id] = row_imm[id] ? IMM_SEVERAL : insn_desc[id].op[i];
}

static void build(void) {
  unsigned used = 0;
  note_immediates();
  for (unsigned map = 0; map < MAP_COUNT; map++) {
    uint16_t all[INSN_COUNT];
    unsigned all_count = rows_of_map(map, all);
    for (unsigned opcode = 0; opcode < 256; opcode++) {
      uint16_t rows[128];
      unsigned count = 0;
      for (unsigned i = 0; i < all_count; i++) {
        const struct insn_desc *d = &insn_desc[all[i]];
        if (d->opcode != opcode && (d->opcode != (opcode & 0xf8) || !has_op(d, Zb, Zv)))
          continue;
        DGM_ASSERT(count < sizeof rows / sizeof rows[0]);
        rows[count++] = all[i];
        if (d->ext != X_NONE)
          opcode_modrm[map][opcode] |= has_op(d, Cd, Dd) ? 3 : 1;
      }
      for (unsigned sub = 0; sub < 16 && count; sub++)
        fill_slot(map, opcode, sub, rows, count, &used);
    }
  }
  __atomic_store_n(&ready, true, __ATOMIC_RELEASE);
}

struct reader {
  const uint8_t *bytes;
  unsigned pos, avail;
  int status; /* INSN_OK until a byte is missing; then zeros are read */
};

static inline uint32_t take(struct reader *r, unsigned n) {
  if (r->pos + n > r->avail || r->pos + n > INSN_MAX) {
    if (r->status == INSN_OK)
      r->status = r->avail >= INSN_MAX ? INSN_TOO_LONG : INSN_MORE; /* all that may count is fetched first */
    return 0;
  }
  uint32_t v = r->bytes[r->pos];
  if (n >= 2)
    v |= (uint32_t)r->bytes[r->pos + 1] << 8;
  if (n == 4)
    v |= (uint32_t)r->bytes[r->pos + 2] << 16 | (uint32_t)r->bytes[r->pos + 3] << 24;
  r->pos += n;
  return v;
}

/* Prefixes in any order and number; the last of a group counts. Returns the first opcode byte. */
static inline uint8_t take_prefixes(struct insn *out, struct reader *r, bool code32) {
  bool p67 = false;
  for (;;) {
    uint8_t b = (uint8_t)take(r, 1);
    if (r->status != INSN_OK)
      return 0;
    switch (b) {
    case 0x26: out->seg_override = ES; continue;
    case 0x2e: out->seg_override = CS; continue;
    case 0x36: out->seg_override = SS; continue;
    case 0x3e: out->seg_override = DS; continue;
    case 0x64: out->seg_override = FS; continue;
    case 0x65: out->seg_override = GS; continue;
    case 0x66: out->p66 = 1; continue;
    case 0x67: p67 = true; continue;
    case 0xf0: out->lock = 1; continue;
    case 0xf2:
    case 0xf3: out->rep = b; continue;
    default:
      out->opsize = code32 != (out->p66 != 0) ? 4 : 2;
      out->addrsize = code32 != p67 ? 4 : 2;
      return b;
    }
  }
}

static inline void take_opcode(struct insn *out, struct reader *r, uint8_t first) {
  out->map = MAP_1;
  out->opcode = first;
  if (first != 0x0f)
    return;
  out->map = MAP_0F;
  out->opcode = (uint8_t)take(r, 1);
  if (out->opcode == 0x38 || out->opcode == 0x3a) {
    out->map = out->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
    out->opcode = (uint8_t)take(r, 1);
  }
}

/* 16-bit forms: SDM vol. 2, table 2-1. */
static void take_address16(struct insn *out, struct reader *r) {
  static const uint8_t base[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
  static const uint8_t index[8] = {ESI, EDI, ESI, EDI, NO_REG, NO_REG, NO_REG, NO_REG};
  if (out->mod == 0 && out->rm == 6) {
    out->disp = take(r, 2);
    return;
  }
  out->base = base[out->rm];
  out->index = index[out->rm];
  if (out->base == EBP)
    out->seg = SS;
  if (out->mod == 1)
    out->disp = (uint32_t)(int8_t)take(r, 1);
  else if (out->mod == 2)
    out->disp = (uint32_t)(int16_t)take(r, 2);
}

/* 32-bit forms: SDM vol. 2, tables 2-2 and 2-3. */
static void take_address32(struct insn *out, struct reader *r) {
  uint8_t base = out->rm;
  if (base == 4) {
    uint8_t sib = (uint8_t)take(r, 1);
    base = sib & 7;
    if (((sib >> 3) & 7) != 4) {
      out->index = (sib >> 3) & 7;
      out->scale = sib >> 6;
    }
  }
  if (base == EBP && out->mod == 0) {
    out->disp = take(r, 4);
    return;
  }
  out->base = base;
  if (base == ESP || base == EBP)
    out->seg = SS;
  if (out->mod == 1)
    out->disp = (uint32_t)(int8_t)take(r, 1);
  else if (out->mod == 2)
    out->disp = take(r, 4);
}

static inline const struct insn_desc *select_row(struct insn *out, uint64_t features) {
  unsigned sub = out->has_modrm ? out->reg + (out->is_mem ? 8u : 0u) : 0;
  const struct slot *s = &slots[((unsigned)out->map * 256 + out->opcode) * 16 + sub];
  uint8_t pfx = out->rep == 0xf3 ? P_F3 : out->rep == 0xf2 ? P_F2 : out->p66 ? P_66 : P_NP;
  for (unsigned i = 0; i < s->count; i++) {
    uint16_t id = chain[s->first + i];
    const struct insn_desc *d = &insn_desc[id];
    if (d->pfx != P_ANY && d->pfx != pfx)
      continue;
    if ((d->ext & 0xff00) == X_B(0) && (d->ext & 0xff) != out->modrm)
      continue;
    out->id = id;
    return (d->feature & ~features) == 0 ? d : NULL;
  }
  return NULL;
}

static inline void take_immediate(struct insn *out, struct reader *r, int op, uint32_t *imm) {
  if (op == Ib) {
    *imm = take(r, 1);
  } else if (op == Iv) {
    *imm = take(r, out->opsize);
  } else if (op == Ibs || op == Jb) {
    *imm = (uint32_t)(int8_t)take(r, 1);
  } else if (op == Jv) {
    *imm = out->opsize == 4 ? take(r, 4) : (uint32_t)(int16_t)take(r, 2);
  } else if (op == Iw) {
    *imm = take(r, 2);
  } else if (op == Ap) {
    out->imm = take(r, out->opsize);
    out->imm2 = take(r, 2);
  } else { /* Ob, Ov */
    out->disp = take(r, out->addrsize);
  }
}

static void take_immediates(struct insn *out, struct reader *r, const struct insn_desc *d) {
  uint32_t *imm = &out->imm;
  for (int i = 0; i < 3; i++)
    if (is_immediate(d->op[i])) {
      take_immediate(out, r, d->op[i], imm);
      imm = &out->imm2;
    }
}

/* Registers that do not exist. CR4 came with the Pentium. */
static inline bool bad_register(const struct insn *in, const struct insn_desc *d, uint64_t features) {
  if (d->op[0] == Sw || d->op[1] == Sw)
    return in->reg > GS;
  if (d->op[0] == Cd || d->op[1] == Cd)
    return in->reg == 1 || in->reg > 4 || (in->reg == 4 && !(features & FEAT_PENTIUM));
  return false;
}

int insn_decode(struct insn *out, const uint8_t *bytes, unsigned avail, bool code32, uint64_t features) {
  if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
    pthread_once(&built, build);
  struct reader r = {bytes, 0, avail, INSN_OK};
  memset(out, 0, sizeof *out);
  out->seg_override = out->base = out->index = NO_REG;
  take_opcode(out, &r, take_prefixes(out, &r, code32));
  out->seg = DS;
  if (r.status == INSN_OK && opcode_modrm[out->map][out->opcode]) {
    out->has_modrm = 1;
    out->modrm = (uint8_t)take(&r, 1);
    out->mod = opcode_modrm[out->map][out->opcode] & 2 ? 3 : out->modrm >> 6;
    out->reg = (out->modrm >> 3) & 7;
    out->rm = out->modrm & 7;
    out->is_mem = out->mod != 3;
  }
  if (r.status != INSN_OK)
    return r.status;

  const struct insn_desc *d = select_row(out, features);
  out->length = (uint8_t)r.pos;
  if (!d)
    return INSN_UD;
  if (d->attr & A_F32)
    out->opsize = 4;
  if (out->is_mem) {
    if (out->addrsize == 4)
      take_address32(out, &r);
    else
      take_address16(out, &r);
  } else if (!out->has_modrm) {
    out->rm = out->opcode & 7;
  }
  if (out->seg_override != NO_REG)
    out->seg = out->seg_override;
  if (row_imm[out->id] == IMM_SEVERAL)
    take_immediates(out, &r, d);
  else if (row_imm[out->id])
    take_immediate(out, &r, row_imm[out->id], &out->imm);
  if (r.status != INSN_OK)
    return r.status;

  out->length = (uint8_t)r.pos;
  memcpy(out->bytes, bytes, r.pos);
  if ((out->lock && !((d->attr & A_LOCK) && out->is_mem)) || bad_register(out, d, features))
    return INSN_UD;
  return INSN_OK;
}
