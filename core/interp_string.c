/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: string instructions and REP (SDM vol. 2, MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, REP).
 *
 * A repeated instruction runs to its end, except that it stops between two iterations, with EIP still on it, when an
 * event can be taken, when TF asks for a trap after each iteration, and after REP_SLICE iterations (more of them if
 * they are moved in runs). It counts as one retired instruction, when it is done. A fault leaves the registers at the
 * iteration that faulted, and the flags as they were before the instruction. Forward MOVS and STOS over plain memory,
 * and to the memory of displays, move whole runs at once; overlapping moves give byte for byte what single iterations
 * would.
 */
#include "core/interp.h"

#include "core/io.h"
#include "core/machine.h"
#include "core/mem.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

static inline uint32_t index_step(const struct cpu *cpu, int size) {
  return cpu->eflags & FL_DF ? (uint32_t)-size : (uint32_t)size;
}

/* ESI, EDI or ECX += n in the address size. */
static inline void advance(struct cpu *cpu, const struct insn *in, unsigned r, uint32_t n) {
  uint32_t mask = address_mask(in);
  cpu->gpr[r] = (cpu->gpr[r] & ~mask) | ((cpu->gpr[r] + n) & mask);
}

static inline uint32_t index_off(const struct cpu *cpu, const struct insn *in, unsigned r) {
  return cpu->gpr[r] & address_mask(in);
}

/* Would the run loop rather have us stop here? */
static bool must_pause(const struct cpu *cpu, unsigned done) {
  if (done >= REP_SLICE || (cpu->eflags & FL_TF))
    return true;
  return cpu->pending && ((cpu->pending & PEND_EXIT) || cpu_event_deliverable(cpu));
}

/* Of a run moved at once this part counts: it takes no longer than that many iterations one by one. */
#define RUN_LONG 64u
#define RUN_SHARE 16u

/* One iteration; returns the iterations done (runs may do more than one), at most `max`. */
typedef uint32_t iteration_fn(struct cpu *cpu, const struct insn *in, int size, uint32_t max);

static inline __attribute__((always_inline)) void repeat(struct cpu *cpu, const struct insn *in, int size,
                                                         iteration_fn *one) {
  if (!in->rep) {
    one(cpu, in, size, 1);
    return;
  }
  uint32_t done = 0, count;
  while ((count = index_off(cpu, in, ECX)) != 0) {
    if (done > 0 && must_pause(cpu, done)) {
      cpu->next_eip = cpu->eip;
      return;
    }
    uint32_t max = cpu->eflags & FL_TF ? 1 : REP_SLICE - done;
    uint32_t n = one(cpu, in, size, count < max ? count : max);
    advance(cpu, in, ECX, -n);
    done += n < RUN_LONG ? n : n / RUN_SHARE;
  }
}

/* --- MOVS, STOS, LODS --- */

/*
 * How many elements, at most `max`, starting at `off`, lie on one page and inside the segment without
 * wrapping? `room` is the segment's for this kind of access. Sets *la.
 */
static uint32_t plain_run(const struct cpu *cpu, const struct insn *in, int seg, uint32_t off, int size, int64_t room,
                          uint32_t max, uint32_t *la) {
  *la = cpu->seg[seg].base + off;
  uint64_t bytes = 0x1000 - (*la & 0xfff);
  uint64_t wrap = (uint64_t)address_mask(in) + 1 - off;
  if (bytes > wrap)
    bytes = wrap;
  if ((int64_t)off + (int64_t)bytes - 1 + room >= 0) {
    if ((int64_t)off + room >= 0)
      return 0;
    bytes = (uint64_t)-((int64_t)off + room);
  }
  uint64_t n = bytes / (unsigned)size;
  return n < max ? (uint32_t)n : max;
}

/* Copy upwards in elements, as iterations would: a source that overlaps from below is repeated as a pattern. */
static void copy_elements(uint8_t *dst, const uint8_t *src, uint32_t count, int size) {
  size_t bytes = (size_t)count * (unsigned)size;
  if (dst <= src || (size_t)(dst - src) >= bytes) {
    memmove(dst, src, bytes);
    return;
  }
  for (uint32_t i = 0; i < count; i++, dst += size, src += size) {
    uint8_t element[4];
    memcpy(element, src, (size_t)size);
    memcpy(dst, element, (size_t)size);
  }
}

static uint32_t access_kind(const struct cpu *cpu, bool write) {
  return (write ? PF_WRITE : 0) | (cpu->cpl == 3 ? PF_USER : 0);
}

static inline bool runs_allowed(const struct cpu *cpu, uint32_t max) {
  return max > 1 && !(cpu->eflags & FL_DF) && !cpu->debug_data && !cpu->align_check;
}

/* A run to a device's memory, from memory (`from` not NULL) or from the same or another one's. 0: not possible. */
static uint32_t device_run(struct cpu *cpu, const uint8_t *from, uint32_t src_la, const uint8_t *to, uint32_t dst_la,
                           int size, uint32_t n) {
  struct mem *mem = cpu->machine->mem;
  uint32_t src, dst;
  if (to || !tlb_io_page(cpu, dst_la, access_kind(cpu, true), &dst))
    return 0;
  if (from)
    return mem_write_run(mem, dst, size, from, n);
  return tlb_io_page(cpu, src_la, access_kind(cpu, false), &src) ? mem_copy_run(mem, dst, src, size, n) : 0;
}

static uint32_t movs_one(struct cpu *cpu, const struct insn *in, int size, uint32_t max) {
  uint32_t src = index_off(cpu, in, ESI), dst = index_off(cpu, in, EDI);
  if (runs_allowed(cpu, max)) {
    uint32_t src_la, dst_la;
    uint32_t n = plain_run(cpu, in, in->seg, src, size, cpu->seg[in->seg].room_read, max, &src_la);
    n = plain_run(cpu, in, ES, dst, size, cpu->seg[ES].room_write, n, &dst_la);
    if (n > 1) {
      const uint8_t *from = tlb_lookup(cpu, src_la, access_kind(cpu, false));
      uint8_t *to = tlb_lookup(cpu, dst_la, access_kind(cpu, true));
      if (from && to) {
        copy_elements(to, from, n, size);
        advance(cpu, in, ESI, n * (unsigned)size);
        advance(cpu, in, EDI, n * (unsigned)size);
        return n;
      }
      uint32_t done = device_run(cpu, from, src_la, to, dst_la, size, n);
      if (done) {
        advance(cpu, in, ESI, done * (unsigned)size);
        advance(cpu, in, EDI, done * (unsigned)size);
        return done;
      }
    }
  }
  vmem_write(cpu, ES, dst, size, vmem_read(cpu, in->seg, src, size));
  advance(cpu, in, ESI, index_step(cpu, size));
  advance(cpu, in, EDI, index_step(cpu, size));
  return 1;
}

static uint32_t stos_one(struct cpu *cpu, const struct insn *in, int size, uint32_t max) {
  uint32_t dst = index_off(cpu, in, EDI);
  if (runs_allowed(cpu, max)) {
    uint32_t la, n = plain_run(cpu, in, ES, dst, size, cpu->seg[ES].room_write, max, &la);
    uint8_t *to = n > 1 ? tlb_lookup(cpu, la, access_kind(cpu, true)) : NULL;
    if (to) {
      for (uint32_t i = 0; i < n; i++)
        memcpy(to + (size_t)i * (unsigned)size, &cpu->gpr[EAX], (size_t)size);
      advance(cpu, in, EDI, n * (unsigned)size);
      return n;
    }
    uint32_t pa;
    if (n > 1 && tlb_io_page(cpu, la, access_kind(cpu, true), &pa) &&
        mem_fill_run(cpu->machine->mem, pa, size, cpu->gpr[EAX], n)) {
      advance(cpu, in, EDI, n * (unsigned)size);
      return n;
    }
  }
  vmem_write(cpu, ES, dst, size, cpu->gpr[EAX]);
  advance(cpu, in, EDI, index_step(cpu, size));
  return 1;
}

static uint32_t lods_one(struct cpu *cpu, const struct insn *in, int size, uint32_t max) {
  (void)max;
  uint32_t v = (uint32_t)vmem_read(cpu, in->seg, index_off(cpu, in, ESI), size);
  if (size == 1)
    set_reg8(cpu, EAX, (uint8_t)v);
  else
    set_reg_v(cpu, EAX, size, v);
  advance(cpu, in, ESI, index_step(cpu, size));
  return 1;
}

HANDLER(MOVS_Yb_Xb) { repeat(cpu, in, 1, movs_one); }
HANDLER(MOVS_Yv_Xv) { repeat(cpu, in, in->opsize, movs_one); }
HANDLER(STOS_Yb_AL) { repeat(cpu, in, 1, stos_one); }
HANDLER(STOS_Yv_eAX) { repeat(cpu, in, in->opsize, stos_one); }
HANDLER(LODS_AL_Xb) { repeat(cpu, in, 1, lods_one); }
HANDLER(LODS_eAX_Xv) { repeat(cpu, in, in->opsize, lods_one); }

/* --- CMPS, SCAS: flags are committed when the instruction stops for whatever reason but a fault --- */

static uint32_t compare_flags(int size, uint32_t a, uint32_t b) {
  uint32_t f = flags_to_host(0);
  if (size == 1)
    __asm__(HOST_FLAGS("cmpb %b[b], %b[a]") : "+&a"(f) : [a] "q"(a), [b] "q"(b) : "cc");
  else if (size == 2)
    __asm__(HOST_FLAGS("cmpw %w[b], %w[a]") : "+&a"(f) : [a] "r"(a), [b] "r"(b) : "cc");
  else
    __asm__(HOST_FLAGS("cmpl %[b], %[a]") : "+&a"(f) : [a] "r"(a), [b] "r"(b) : "cc");
  return (f >> 8 & (FL_ARITH & 0xff)) | (f & 1) << 11;
}

/* One comparison; returns the flags. */
typedef uint32_t compare_fn(struct cpu *cpu, const struct insn *in, int size);

static uint32_t cmps_one(struct cpu *cpu, const struct insn *in, int size) {
  uint32_t a = (uint32_t)vmem_read(cpu, in->seg, index_off(cpu, in, ESI), size);
  uint32_t b = (uint32_t)vmem_read(cpu, ES, index_off(cpu, in, EDI), size);
  advance(cpu, in, ESI, index_step(cpu, size));
  advance(cpu, in, EDI, index_step(cpu, size));
  return compare_flags(size, a, b);
}

static uint32_t scas_one(struct cpu *cpu, const struct insn *in, int size) {
  uint32_t b = (uint32_t)vmem_read(cpu, ES, index_off(cpu, in, EDI), size);
  advance(cpu, in, EDI, index_step(cpu, size));
  return compare_flags(size, size == 1 ? reg8(cpu, EAX) : cpu->gpr[EAX], b);
}

/*
 * REP SCAS upwards over plain memory: how many elements, at most `max`, until the one that stops it (included) or
 * the end of the page. 0: one by one.
 */
static uint32_t scas_run(struct cpu *cpu, const struct insn *in, int size, uint32_t max, bool stop_equal) {
  uint32_t la, n = plain_run(cpu, in, ES, index_off(cpu, in, EDI), size, cpu->seg[ES].room_read, max, &la);
  if (n < 2)
    return 0;
  const uint8_t *p = tlb_lookup(cpu, la, access_kind(cpu, false));
  if (!p)
    return 0;
  const uint32_t want = cpu->gpr[EAX];
  if (size == 1 && stop_equal) {
    const uint8_t *found = memchr(p, (int)(want & 0xff), n);
    return found ? (uint32_t)(found - p) + 1 : n;
  }
  for (uint32_t i = 0; i < n; i++)
    if ((memcmp(p + (size_t)i * (unsigned)size, &want, (size_t)size) == 0) == stop_equal)
      return i + 1;
  return n;
}

static inline __attribute__((always_inline)) void repeat_compare(struct cpu *cpu, const struct insn *in, int size,
                                                                 compare_fn *one) {
  uint32_t flags = cpu->eflags & FL_ARITH, done = 0;
  if (!in->rep) {
    flags = one(cpu, in, size);
  } else {
    uint32_t stop_zf = in->rep == 0xf2 ? FL_ZF : 0;
    while (index_off(cpu, in, ECX) != 0) {
      if (done > 0 && must_pause(cpu, done)) {
        cpu->next_eip = cpu->eip;
        break;
      }
      uint32_t left = index_off(cpu, in, ECX), room = REP_SLICE - done;
      if (one == scas_one && done < REP_SLICE && runs_allowed(cpu, left)) { /* all but the last of a run at once */
        uint32_t n = scas_run(cpu, in, size, left < room ? left : room, stop_zf != 0);
        if (n > 1) {
          advance(cpu, in, EDI, (n - 1) * (unsigned)size);
          advance(cpu, in, ECX, -(n - 1));
          done += n - 1;
        }
      }
      flags = one(cpu, in, size);
      advance(cpu, in, ECX, (uint32_t)-1);
      done++;
      if ((flags & FL_ZF) == stop_zf)
        break;
    }
  }
  cpu->eflags = (cpu->eflags & ~FL_ARITH) | flags;
}

HANDLER(CMPS_Xb_Yb) { repeat_compare(cpu, in, 1, cmps_one); }
HANDLER(CMPS_Xv_Yv) { repeat_compare(cpu, in, in->opsize, cmps_one); }
HANDLER(SCAS_AL_Yb) { repeat_compare(cpu, in, 1, scas_one); }
HANDLER(SCAS_eAX_Yv) { repeat_compare(cpu, in, in->opsize, scas_one); }

/* --- INS, OUTS: the port is checked first, then memory, then the transfer happens --- */

static uint32_t ins_one(struct cpu *cpu, const struct insn *in, int size, uint32_t max) {
  (void)max;
  uint16_t port = reg16(cpu, EDX);
  check_port(cpu, port, size);
  uint32_t la = rmw_begin(cpu, ES, index_off(cpu, in, EDI), size);
  rmw_write(cpu, la, size, io_read(cpu->machine->io, port, size));
  advance(cpu, in, EDI, index_step(cpu, size));
  return 1;
}

static uint32_t outs_one(struct cpu *cpu, const struct insn *in, int size, uint32_t max) {
  (void)max;
  uint16_t port = reg16(cpu, EDX);
  check_port(cpu, port, size);
  uint32_t v = (uint32_t)vmem_read(cpu, in->seg, index_off(cpu, in, ESI), size);
  io_write(cpu->machine->io, port, size, v);
  advance(cpu, in, ESI, index_step(cpu, size));
  return 1;
}

HANDLER(INS_Yb_DX) { repeat(cpu, in, 1, ins_one); }
HANDLER(INS_Yv_DX) { repeat(cpu, in, in->opsize, ins_one); }
HANDLER(OUTS_DX_Xb) { repeat(cpu, in, 1, outs_one); }
HANDLER(OUTS_DX_Xv) { repeat(cpu, in, in->opsize, outs_one); }
