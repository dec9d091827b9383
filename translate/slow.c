/* SPDX-License-Identifier: MIT */
/*
 * What translated code calls in C: accesses that missed the TLB, segment checks that are not plain, and
 * instructions of the core. Each brings cpu->icount up to date first, so that device time is exact and a
 * fault finds the count right.
 */
#include "core/engine.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"
#include "core/segment.h"
#include "translate/jit.h"

#define SITE_FAULTS 4u
#define SITE_FAULTS_HOT 200u /* under hot=on, to have them tried in earnest */
/* Instructions. A fault costs as much as some ten thousand of them, an access by the software TLB a few. */
#define SITE_RARE 200000u     /* faults that are further apart don't count */
#define SITE_RETRY 4000000ull /* programs fault much when they begin, and then no more */
#define SITE_TRIES_MAX 9u     /* the time to the next try doubles so often */
#define SITE_RETRY_COLD                                                                                      \
  16000000ull /* a block that maps more than it gains: its pages will be there some day */

static uint32_t left_of(uint32_t info) { return info >> 8 & 0xff; }

static void sync_count(struct cpu *cpu, uint32_t info) {
  cpu->icount = cpu->icount_limit - (cpu->budget - BUDGET_BASE) - left_of(info);
  jit_retire_rf(cpu);
}

/* Must translated code be left at the end of this instruction? */
static bool must_leave(struct cpu *cpu) {
  return cpu->pending && ((cpu->pending & PEND_EXIT) || cpu_event_deliverable(cpu));
}

/* Is this an access to a device that needs no walk and no splitting? */
static bool io_access(const struct cpu *cpu, uint32_t la, uint32_t size, uint32_t access, uint32_t *pa) {
  return tlb_io_page(cpu, la, access | (cpu->mode & MODE_USER ? PF_USER : 0), pa) && size <= 8 &&
         (size & (size - 1)) == 0 && (la & (MEM_PAGE - 1)) + size <= MEM_PAGE && !cpu->debug_data;
}

uint32_t jit_slow_read(struct cpu *cpu, uint32_t la, uint32_t info) {
  struct jit *j = cpu->engine_data;
  sync_count(cpu, info);
  j->stat.slow_reads++;
  if ((info & SLOW_ALIGN) && (la & 15))
    cpu_raise_error(cpu, EXC_GP, 0);
  unsigned size = info & 63;
  bool user = cpu->mode & MODE_USER;
  uint32_t pa;
  if (io_access(cpu, la, size, 0, &pa)) {
    uint64_t value = mem_read(cpu->machine->mem, pa, (int)size);
    memcpy(cpu->membuf, &value, 8);
  } else if (size <= 8 && (size & (size - 1)) == 0 && (la & 0xfff) + size <= MEM_PAGE) {
    uint64_t value = linear_read(cpu, la, (int)size, user);
    memcpy(cpu->membuf, &value, 8);
  } else {
    linear_read_block(cpu, la, cpu->membuf, size, user);
  }
  return 1;
}

uint32_t jit_slow_write_check(struct cpu *cpu, uint32_t la, uint32_t info) {
  struct jit *j = cpu->engine_data;
  sync_count(cpu, info);
  j->stat.slow_writes++;
  unsigned size = info & 63;
  if ((info & SLOW_ALIGN) && (la & 15))
    cpu_raise_error(cpu, EXC_GP, 0);
  uint32_t user = cpu->mode & MODE_USER ? 1 : 0;
  const struct code_store *cs = jit_find_code_store(j, la, size, user);
  j->slow_la = la;
  j->slow_host = NULL;
  if (cs) {
    j->slow_host = (uint8_t *)(uintptr_t)(cs->addend + la);
    j->slow_pa = cs->pa | (la & (MEM_PAGE - 1));
    if (info & SLOW_RMW)
      memcpy(cpu->membuf, j->slow_host, size);
    return 1;
  }
  linear_check_write(cpu, la, size, cpu->mode & MODE_USER);
  jit_note_code_store(j, la, user);
  if (info & SLOW_RMW)
    linear_read_block(cpu, la, cpu->membuf, size, cpu->mode & MODE_USER);
  return 1;
}

uint32_t jit_slow_write_commit(struct cpu *cpu, uint32_t la, uint32_t info) {
  struct jit *j = cpu->engine_data;
  (void)la; /* the operation may have changed R8 */
  sync_count(cpu, info);
  uint64_t before = j->stat.invalidated;
  uint32_t size = info & 63;
  if (j->slow_host) {
    jit_code_written(j, j->slow_pa, size);
    memcpy(j->slow_host, cpu->membuf, size);
  } else {
    linear_write_block(cpu, j->slow_la, cpu->membuf, size, cpu->mode & MODE_USER);
  }
  if (j->stat.invalidated == before && !j->flush_wanted && !must_leave(cpu))
    return 1;
  cpu->budget += left_of(info) - 1;
  return 0;
}

/* Both in one for a plain store, whose value is in membuf already. */
uint32_t jit_slow_write(struct cpu *cpu, uint32_t la, uint32_t info) {
  struct jit *j = cpu->engine_data;
  uint32_t pa, size = info & 63;
  if (!io_access(cpu, la, size, PF_WRITE, &pa)) {
    jit_slow_write_check(cpu, la, info);
    return jit_slow_write_commit(cpu, la, info);
  }
  sync_count(cpu, info);
  j->stat.slow_writes++;
  uint64_t value;
  memcpy(&value, cpu->membuf, 8);
  mem_write(cpu->machine->mem, pa, (int)size, value);
  if (!j->flush_wanted && !must_leave(cpu))
    return 1;
  cpu->budget += left_of(info) - 1;
  return 0;
}

uint32_t jit_slow_seg_check(struct cpu *cpu, uint32_t off, uint32_t info) {
  sync_count(cpu, info);
  seg_check_slow(cpu, (int)(info >> 24), off, info & 63, info & SLOW_WRITE);
  return 1;
}

uint32_t jit_exec(struct cpu *cpu, uint32_t index, uint32_t info) {
  struct jit *j = cpu->engine_data;
  const struct insn *in = &j->insns[index];
  uint32_t left = left_of(info), start = cpu->eip, mode = cpu->mode;
  uint64_t before = j->stat.invalidated, key = cpu->jc_key;
  sync_count(cpu, info);
  enum insn_class cls = insn_describe(in)->cls;
  if (cls == CL_FPU || cls == CL_MMX || cls == CL_SSE)
    jit_fpu_settle(cpu);
  j->stat.exec_calls++;
  j->stat.exec_class[cls]++;
  uint32_t rf = cpu->eflags & FL_RF;
  bool retired = interp_execute(cpu, in);
  if (__builtin_expect((rf | cpu->eflags) & FL_RF, 0) && retired) {
    if (in->id != INSN_IRET)
      cpu->eflags &= ~rf;
    j->rf_icount = cpu->icount + 1; /* if it is set now, then for the next instruction */
  }
  jit_sync_mode(cpu);
  /* Nothing can arrive before the next instruction, so a shadow has nothing to hold off. */
  if (retired && !cpu->pending && cpu->icount + 1 < cpu->icount_limit)
    cpu->shadow = SHADOW_NONE;
  uint32_t next = start + in->length;
  bool in_sequence =
      cpu->eip == next && cpu->mode == mode && cpu->jc_key == key && j->stat.invalidated == before;
  bool ends = insn_describe(in)->attr & A_END;
  if (retired && (in_sequence || ends) && cpu->shadow == SHADOW_NONE && !cpu->halted && !cpu->shutdown &&
      !j->flush_wanted && !(cpu->mode & MODE_SINGLE) && !must_leave(cpu)) {
    if (ends) /* what follows is an exit */
      cpu->budget += left - 1;
    return 1;
  }
  cpu->budget += retired ? left - 1 : left;
  return 0;
}

/* The offset of a memory operand, from the guest's registers. */
static uint32_t operand_offset(const struct cpu *cpu, const struct insn *in) {
  uint32_t off = in->disp;
  if (in->base != 0xff)
    off += cpu->gpr[in->base];
  if (in->index != 0xff)
    off += cpu->gpr[in->index] << in->scale;
  return off;
}

static unsigned operand_gprs(const struct insn *in) {
  return (in->base != 0xff ? 1u << in->base : 0) | (in->index != 0xff ? 1u << in->index : 0);
}

/* The x87 pointers of the last x87 instruction before the faulting one may not be in memory yet (struct
 * fp_pointers): find them again. */
static void restore_fp_pointers(struct cpu *cpu, const struct block *b, const struct host_map *at) {
  const struct jit *j = cpu->engine_data;
  struct insn code = {0}, data = {0}; /* the last ones that set them */
  int32_t code_off = 0;
  bool code_waits = false, data_waits = false;
  for (const struct host_map *m = &j->maps[b->map_first]; m->index < at->index; m++) {
    uint8_t bytes[INSN_MAX];
    struct insn in;
    if (insn_decode(&in, bytes, jit_block_bytes(j, b, m->eip_off, bytes), b->mode & MODE_CODE32,
                    cpu->features) != INSN_OK)
      return;
    if (data_waits && (insn_may_write(&in) & operand_gprs(&data)))
      data_waits = false; /* they were stored then */
    if (fpu_sets_pointers(&in)) {
      code_waits = true;
      code = in;
      code_off = m->eip_off;
      if (in.is_mem) {
        data_waits = in.addrsize == 4 && mode_flat(b->mode, in.seg);
        data = in;
      }
    } else if (fpu_core_only(&in)) {
      code_waits = data_waits = false; /* the core's: what it left in memory counts */
    }
  }
  if (code_waits) {
    cpu->fx.fip = cpu->eip - (uint32_t)(int32_t)at->eip_off + (uint32_t)code_off;
    cpu->fx.fop = (uint16_t)((code.opcode & 7) << 8 | code.modrm);
    cpu->fx.fcs = cpu->seg[CS].sel;
  }
  if (data_waits) {
    cpu->fx.fdp = operand_offset(cpu, &data);
    cpu->fx.fds = cpu->seg[data.seg].sel;
  }
}

/* An access that the window could not make (a device, code, a guest's page fault): once in a while is fine,
 * more often the software TLB is the better way. */
static void note_window_fault(struct jit *j, struct block *b, unsigned index) {
  struct site_hint *h = jit_hint(j, b->pa, b->mode);
  if (j->exact_step) { /* the next access will find the page accessed and dirty */
    j->exact_step = false;
    return;
  }
  if (!(b->window_sites >> index & 1))
    return; /* an arithmetic fault, say */
  uint64_t now = j->cpu->icount;
  if (h->pa != b->pa || h->mode != b->mode)
    *h = (struct site_hint){.pa = b->pa, .mode = b->mode, .since = now};
  h->faults++;
  if (h->faults < (j->hot ? SITE_FAULTS : SITE_FAULTS_HOT) && !j->cold_block)
    return;
  if (j->hot && !j->cold_block && now - h->since > SITE_FAULTS * SITE_RARE) {
    h->faults = 0;
    h->since = now;
    return;
  }
  if (j->cold_block) {
    h->tlb_sites = ~0ull;
    h->until = now + SITE_RETRY_COLD;
  } else {
    /* With its neighbours: one penalty. Soon after the last one's end: twice as long. */
    if (now >= h->until) {
      bool soon = h->until && now - h->until < SITE_RETRY << (h->tries + 2);
      h->tries = soon ? h->tries + (h->tries < SITE_TRIES_MAX) : 0;
      h->until = now + (SITE_RETRY << h->tries);
    }
    h->tlb_sites |= 1ull << index;
  }
  h->faults = 0;
  h->since = now;
  j->cold_block = false;
  j->stat.demoted++;
  jit_block_invalidate(j, b);
}

bool jit_retry_sites(struct jit *j, const struct block *b) {
  struct site_hint *h = jit_hint(j, b->pa, b->mode);
  if (h->pa == b->pa && h->mode == b->mode) {
    if (j->cpu->icount < h->until)
      return false;
    h->tlb_sites = 0;
  } /* else another block's has taken its place */
  return true;
}

/*
 * The host raised SIGFPE (division, unmasked x87 or SSE exception) or #GP (misaligned SSE operand) in
 * translated code: find the guest instruction, and let the interpreter execute it, which raises exactly.
 */
uint32_t jit_host_fault(struct cpu *cpu, uint32_t unused, uint32_t info) {
  struct jit *j = cpu->engine_data;
  (void)unused, (void)info;
  const uint8_t *pc = (const uint8_t *)(uintptr_t)cpu->scratch[SCR_HOSTPC];
  const struct block *b = jit_block_at(j, pc);
  DGM_ASSERT(b != NULL);
  uint32_t off = (uint32_t)(pc - b->host);
  const struct host_map *found = NULL;
  for (uint32_t i = 0; i < b->map_count; i++) {
    const struct host_map *m = &j->maps[b->map_first + i];
    if (m->host_off > off)
      break;
    found = m;
  }
  DGM_ASSERT(found != NULL);
  cpu->eip = (b->relative ? b->pa + cpu->eip_bias : b->eip) + (uint32_t)(int32_t)found->eip_off;
  if (!(b->mode & MODE_NOFPU))
    restore_fp_pointers(cpu, b, found);
  cpu->budget += found->left;
  cpu->gpr[ESP] += (uint32_t)(int32_t)found->sp;
  if (b->hot)
    note_window_fault(j, (struct block *)b, found->index);
  j->step_wanted = true;
  j->stat.host_faults++;
  return 0;
}
