/* SPDX-License-Identifier: MIT */
/*
 * One guest CPU: allocation, RESET# (SDM vol. 3, 9.1), the mode word that keys translated code, and the
 * pins. The structure is one sparse mapping; its TLB tables cost memory only where they are touched.
 */
#include "core/cpu.h"

#include <string.h>
#include <sys/mman.h>

#include "core/desc.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/paging.h"
#include "core/segment.h"
#include "core/state.h"

struct cpu *cpu_new(struct machine *machine, const struct cpu_model *model) {
  struct cpu *cpu = mmap(NULL, sizeof *cpu, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (cpu == MAP_FAILED)
    return NULL;
  cpu->machine = machine;
  cpu->model = model;
  cpu->features = model->features;
  cpu_reset(cpu);
  return cpu;
}

void cpu_free(struct cpu *cpu) {
  if (cpu)
    munmap(cpu, sizeof *cpu);
}

static void reset_segments(struct cpu *cpu) {
  for (int i = 0; i < SEG_COUNT; i++) {
    struct seg *s = &cpu->seg[i];
    *s = (struct seg){.limit = 0xffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A};
    if (i == LDTR)
      s->attr = SEG_P | 2;
    if (i == TR)
      s->attr = SEG_P | 11;
    seg_update_room(s, false);
  }
  cpu->seg[CS].sel = 0xf000;
  cpu->seg[CS].base = 0xffff0000u;
  cpu->gdtr = cpu->idtr = (struct dtr){.base = 0, .limit = 0xffff};
}

static void reset_fpu(struct cpu *cpu) {
  cpu->fx = (struct fxsave){.fcw = 0x0040, .ftw = 0xff, .mxcsr = 0x1f80};
  cpu->fx.mxcsr_mask = cpu_has(cpu, FEAT_SSE2) ? 0xffff : 0xffbf;
  cpu->ferr = cpu->ignne = 0;
}

static void reset_msrs(struct cpu *cpu) {
  cpu->efer = 0;
  cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
  cpu->apic_base = cpu_has(cpu, FEAT_APIC) ? 0xfee00900u : 0; /* enabled, bootstrap processor */
  cpu->pat = 0x0007040600070406ull;
  cpu->misc_enable = 1; /* fast strings */
  cpu->tsc_offset = 0;
  cpu->ucode_rev = 0;
  cpu->mtrr_def_type = 0;
  memset(cpu->mtrr_fix, 0, sizeof cpu->mtrr_fix);
  memset(cpu->mtrr_var, 0, sizeof cpu->mtrr_var);
  memset(cpu->perf_ctr, 0, sizeof cpu->perf_ctr);
  memset(cpu->perf_evt, 0, sizeof cpu->perf_evt);
  memset(cpu->mc_ctl, 0, sizeof cpu->mc_ctl);
  cpu->debugctl = 0;
}

void cpu_init(struct cpu *cpu) {
  memset(cpu->gpr, 0, sizeof cpu->gpr);
  cpu->gpr[EDX] = (uint32_t)cpu->model->family << 8 | (cpu->model->model & 15u) << 4 | cpu->model->stepping;
  if (cpu->model->model > 15)
    cpu->gpr[EDX] |= (uint32_t)(cpu->model->model >> 4) << 16;
  cpu->eip = cpu->next_eip = 0xfff0;
  cpu->eflags = FL_1;
  cpu->cpl = 0;
  reset_segments(cpu);
  cpu->cr0 = (cpu->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
  cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
  memset(cpu->pdpte, 0, sizeof cpu->pdpte);
  memset(cpu->dr, 0, sizeof cpu->dr);
  cpu->dr[6] = 0xffff0ff0u;
  cpu->dr[7] = 0x400;
  __atomic_and_fetch(&cpu->pending, PEND_EXIT | PEND_INTR, __ATOMIC_SEQ_CST);
  cpu->shadow = SHADOW_NONE;
  cpu->halted = cpu->shutdown = cpu->nmi_blocked = 0;
  cpu->trap_dr6 = 0;
  cpu->exc_depth_vector = ~0u;
  cpu->exc_ext = cpu->exc_has_error = 0;
  tlb_flush(cpu, false);
  cpu_update_mode(cpu);
  if (log_on(LOG_CPU_RESET))
    log_print(LOG_CPU_RESET, "CPU reset\n");
}

void cpu_reset(struct cpu *cpu) {
  cpu->cr0 = CR0_CD | CR0_NW;
  cpu->a20 = 1;
  reset_fpu(cpu);
  reset_msrs(cpu);
  cpu_init(cpu);
}

static bool seg_is_flat(const struct seg *s, bool writable) {
  int64_t full = -((int64_t)1 << 32);
  return s->base == 0 && s->room_read == full && (!writable || s->room_write == full);
}

static bool seg_covers_64k(const struct seg *s) { return s->room_read <= -0x10000 && s->room_write <= -0x10000; }

static uint32_t compute_mode(const struct cpu *cpu) {
  const struct seg *seg = cpu->seg;
  uint32_t mode = 0;
  mode |= seg[CS].attr & SEG_DB ? MODE_CODE32 : 0;
  mode |= seg[SS].attr & SEG_DB ? MODE_STACK32 : 0;
  mode |= cpu->cpl == 3 ? MODE_USER : 0;
  mode |= cpu->cr0 & CR0_PE ? MODE_PE : 0;
  mode |= cpu->eflags & FL_VM ? MODE_V86 : 0;
  mode |= cpu->cr0 & CR0_PG ? MODE_PAGING : 0;
  mode |= seg_is_flat(&seg[DS], true) ? MODE_FLAT_DS : 0;
  mode |= seg_is_flat(&seg[ES], true) ? MODE_FLAT_ES : 0;
  mode |= seg_is_flat(&seg[SS], true) ? MODE_FLAT_SS : 0;
  mode |= seg_is_flat(&seg[CS], false) ? MODE_FLAT_CS : 0;
  mode |= seg[CS].base == 0 ? MODE_BASE0_CS : 0;
  mode |= cpu->cr0 & (CR0_EM | CR0_TS) ? MODE_NOFPU : 0;
  mode |= cpu->cr0 & CR0_EM ? MODE_EM : 0;
  mode |= (cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS) ? MODE_MP_TS : 0;
  mode |= cpu->cr4 & CR4_OSFXSR ? MODE_OSFXSR : 0;
  if ((cpu->eflags & FL_TF) || (cpu->dr[7] & 0xff) || cpu->align_check)
    mode |= MODE_SINGLE;
  if (seg_covers_64k(&seg[DS]) && seg_covers_64k(&seg[ES]) && seg_covers_64k(&seg[SS]))
    mode |= MODE_SEG64K;
  return mode;
}

static void announce_mode(struct cpu *cpu, uint32_t mode);

void cpu_update_mode(struct cpu *cpu) {
  uint8_t align_check = (cpu->cr0 & CR0_AM) && (cpu->eflags & FL_AC) && cpu->cpl == 3;
  if (align_check != cpu->align_check) {
    cpu->align_check = align_check;
    tlb_flush(cpu, false);
  }
  announce_mode(cpu, compute_mode(cpu) | (cpu->mode & MODE_ENGINE));
}

/* What a flat code and a flat stack segment make of the mode. */
#define MODE_FLAT_BITS (MODE_CODE32 | MODE_STACK32 | MODE_FLAT_CS | MODE_FLAT_SS | MODE_BASE0_CS | MODE_SEG64K)

void cpu_update_mode_flat(struct cpu *cpu) {
  uint32_t mode = cpu->mode, data = MODE_FLAT_DS | MODE_FLAT_ES;
  if ((mode & data) != data || (mode & (MODE_V86 | MODE_SINGLE)) || ((cpu->cr0 & CR0_AM) && (cpu->eflags & FL_AC)))
    cpu_update_mode(cpu);
  else
    announce_mode(cpu, (mode & ~MODE_USER) | MODE_FLAT_BITS | (cpu->cpl == 3 ? MODE_USER : 0));
}

static void announce_mode(struct cpu *cpu, uint32_t mode) {
  const struct seg *cs = &cpu->seg[CS];
  if (mode == cpu->mode && cs->base == cpu->mode_cs_base && cs->limit == cpu->mode_cs_limit)
    return;
  cpu->mode = mode;
  cpu->mode_cs_base = cs->base;
  cpu->mode_cs_limit = cs->limit;
  if (cpu->on_mode_change)
    cpu->on_mode_change(cpu);
}

void cpu_set_intr(struct cpu *cpu, bool level) {
  if (level)
    __atomic_or_fetch(&cpu->pending, PEND_INTR, __ATOMIC_SEQ_CST);
  else
    __atomic_and_fetch(&cpu->pending, ~PEND_INTR, __ATOMIC_SEQ_CST);
  if (level && cpu->halted && cpu->machine)
    machine_kick(cpu->machine);
}

void cpu_pulse_nmi(struct cpu *cpu) {
  __atomic_or_fetch(&cpu->pending, PEND_NMI, __ATOMIC_SEQ_CST);
  if (cpu->halted && cpu->machine)
    machine_kick(cpu->machine);
}

void cpu_forget_code(struct cpu *cpu) {
  cpu->mode &= ~MODE_ENGINE;
  cpu->fpu_loaded = 0;
  cpu->jc_key = cpu->jc_table = 0;
  cpu->eip_bias = 0;
  /* Whole pages, which are zeros then as at the beginning. */
  _Static_assert(offsetof(struct cpu, jump_cache) % 4096 == 0 && sizeof cpu->jump_cache % 4096 == 0, "pages");
  if (madvise(cpu->jump_cache, sizeof cpu->jump_cache, MADV_DONTNEED) < 0)
    memset(cpu->jump_cache, 0, sizeof cpu->jump_cache);
}

uint64_t cpu_icount(const struct cpu *cpu) { return cpu->icount; }

#define SEG_FIELDS(n, name) \
  {FIELD_U16, name, offsetof(struct cpu, seg) + (n) * sizeof(struct seg) + offsetof(struct seg, sel), 1}, \
  {FIELD_U16, name ".attr", offsetof(struct cpu, seg) + (n) * sizeof(struct seg) + offsetof(struct seg, attr), 1}, \
  {FIELD_U32, name ".base", offsetof(struct cpu, seg) + (n) * sizeof(struct seg) + offsetof(struct seg, base), 1}, \
  {FIELD_U32, name ".limit", offsetof(struct cpu, seg) + (n) * sizeof(struct seg) + offsetof(struct seg, limit), 1}

static const struct field fields[] = {
  FIELD_ARRAY(U32, struct cpu, gpr),
  FIELD(U32, struct cpu, eip),
  FIELD(U32, struct cpu, eflags),
  FIELD(U32, struct cpu, cpl),
  SEG_FIELDS(ES, "es"),
  SEG_FIELDS(CS, "cs"),
  SEG_FIELDS(SS, "ss"),
  SEG_FIELDS(DS, "ds"),
  SEG_FIELDS(FS, "fs"),
  SEG_FIELDS(GS, "gs"),
  SEG_FIELDS(LDTR, "ldtr"),
  SEG_FIELDS(TR, "tr"),
  FIELD(U32, struct cpu, gdtr.base),
  FIELD(U16, struct cpu, gdtr.limit),
  FIELD(U32, struct cpu, idtr.base),
  FIELD(U16, struct cpu, idtr.limit),
  FIELD(U32, struct cpu, cr0),
  FIELD(U32, struct cpu, cr2),
  FIELD(U32, struct cpu, cr3),
  FIELD(U32, struct cpu, cr4),
  FIELD_ARRAY(U32, struct cpu, dr),
  FIELD(U64, struct cpu, efer),
  FIELD_ARRAY(U64, struct cpu, pdpte),
  FIELD(U32, struct cpu, sysenter_cs),
  FIELD(U32, struct cpu, sysenter_esp),
  FIELD(U32, struct cpu, sysenter_eip),
  FIELD(U64, struct cpu, apic_base),
  FIELD(U64, struct cpu, pat),
  FIELD(U64, struct cpu, misc_enable),
  FIELD(U64, struct cpu, mtrr_def_type),
  FIELD_ARRAY(U64, struct cpu, mtrr_fix),
  FIELD_ARRAY(U64, struct cpu, mtrr_var),
  FIELD_BUFFER(struct cpu, fx),
  FIELD(U8, struct cpu, ferr),
  FIELD(U8, struct cpu, shadow),
  FIELD(U8, struct cpu, halted),
  FIELD(U8, struct cpu, nmi_blocked),
  FIELD(U8, struct cpu, a20),
  FIELD(U32, struct cpu, trap_dr6),
  FIELDS_END,
};

const struct field *cpu_fields(void) { return fields; }

static const struct field more_fields[] = {
  FIELD(U64, struct cpu, icount),
  FIELD(U64, struct cpu, tsc_offset),
  FIELD(U64, struct cpu, ucode_rev),
  FIELD_ARRAY(U64, struct cpu, perf_ctr),
  FIELD_ARRAY(U64, struct cpu, perf_evt),
  FIELD(U64, struct cpu, debugctl),
  FIELD_ARRAY(U64, struct cpu, mc_ctl),
  FIELD(U8, struct cpu, ignne),
  FIELD(U32, struct cpu, pending),
  FIELD(U8, struct cpu, shutdown),
  FIELD(U32, struct cpu, idle_calls.count),
  FIELD(U64, struct cpu, idle_calls.at),
  FIELD(U32, struct cpu, key_calls.count),
  FIELD(U64, struct cpu, key_calls.at),
  FIELDS_END,
};

const struct field *cpu_more_fields(void) { return more_fields; }

/* A file may say anything: nothing in here may be what the host cannot stand. */
void cpu_loaded(struct cpu *cpu) {
  cpu->eflags |= FL_1;
  cpu->cpl &= 3;
  cpu->a20 = cpu->a20 != 0;
  cpu->halted = cpu->halted != 0;
  cpu->shadow = cpu->shadow <= SHADOW_MOVSS ? cpu->shadow : SHADOW_NONE;
  cpu->pending &= PEND_INTR | PEND_NMI | PEND_INIT | PEND_TRAP;
  cpu->pending |= PEND_EXIT;
  cpu->fx.mxcsr &= 0xffff;             /* the host faults on other bits */
  cpu->icount &= UINT64_MAX >> 2;      /* so that limits beyond it can be told */
  cpu->icount_limit = cpu->icount;
  cpu->exc_depth_vector = ~0u;
  cpu->exc_ext = cpu->exc_has_error = 0;
  cpu->idle_wanted = false;
  cpu->next_eip = cpu->eip;
  for (int i = 0; i < SEG_COUNT; i++)
    seg_update_room(&cpu->seg[i], false);
  control_update_debug(cpu);
  tlb_flush(cpu, false);
  cpu_update_mode(cpu);
}
