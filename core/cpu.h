/* SPDX-License-Identifier: MIT */
/*
 * Architectural state of one guest CPU (Intel SDM vol. 1 ch. 3, vol. 3 ch. 2).
 *
 * Translated code addresses this structure from one reserved host register, so the hot fields come
 * first and the software TLB and the jump cache are members at fixed offsets (the whole structure is
 * one sparse mmap, see cpu_new). Nothing about a CPU is global: a machine may hold several.
 *
 * Rule for faults: cpu_raise*() does not return (it longjmps to cpu->fault_env) and is legal only
 * before the current instruction has changed any guest state.
 */
#ifndef CORE_CPU_H
#define CORE_CPU_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;
struct cpu_model;
struct field;

enum gpr { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum segreg { ES, CS, SS, DS, FS, GS, LDTR, TR, SEG_COUNT };

/* EFLAGS (SDM vol. 1, 3.4.3) */
#define FL_CF 0x00000001u
#define FL_1 0x00000002u /* always one */
#define FL_PF 0x00000004u
#define FL_AF 0x00000010u
#define FL_ZF 0x00000040u
#define FL_SF 0x00000080u
#define FL_TF 0x00000100u
#define FL_IF 0x00000200u
#define FL_DF 0x00000400u
#define FL_OF 0x00000800u
#define FL_IOPL 0x00003000u
#define FL_NT 0x00004000u
#define FL_RF 0x00010000u
#define FL_VM 0x00020000u
#define FL_AC 0x00040000u
#define FL_VIF 0x00080000u
#define FL_VIP 0x00100000u
#define FL_ID 0x00200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE 0x00000001u
#define CR0_MP 0x00000002u
#define CR0_EM 0x00000004u
#define CR0_TS 0x00000008u
#define CR0_ET 0x00000010u
#define CR0_NE 0x00000020u
#define CR0_WP 0x00010000u
#define CR0_AM 0x00040000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u

#define CR4_VME 0x001u
#define CR4_PVI 0x002u
#define CR4_TSD 0x004u
#define CR4_DE 0x008u
#define CR4_PSE 0x010u
#define CR4_PAE 0x020u
#define CR4_MCE 0x040u
#define CR4_PGE 0x080u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u

#define EFER_SCE 0x001u
#define EFER_NXE 0x800u

/* Exception vectors (SDM vol. 3, 6.3) */
enum {
  EXC_DE = 0, EXC_DB = 1, EXC_NMI = 2, EXC_BP = 3, EXC_OF = 4, EXC_BR = 5, EXC_UD = 6, EXC_NM = 7,
  EXC_DF = 8, EXC_TS = 10, EXC_NP = 11, EXC_SS = 12, EXC_GP = 13, EXC_PF = 14, EXC_MF = 16,
  EXC_AC = 17, EXC_MC = 18, EXC_XM = 19,
};

/*
 * A segment register with its descriptor cache. `attr` holds descriptor bytes 5 and 6 as in the
 * upper dword shifted right by 8: type 3:0, S 4, DPL 6:5, P 7, AVL 12, D/B 14, G 15. `limit` is in bytes
 * (granularity applied). Real mode keeps attr = 0x0093, limit = 0xffff unless a descriptor was
 * loaded before ("unreal").
 *
 * room_read/room_write serve the flags-free limit check of translated code and the interpreter's
 * fast path: they hold -(limit + 1) as a 64-bit number when the segment may be read/written and
 * grows up, else 0. An access of n bytes at offset off is allowed if (off + n - 1 + room) < 0;
 * otherwise take the slow path (expand-down segments, null selectors, faults).
 *
 * full is base + 1 if all 4 GiB may be read and written (offsets wrap around then), else 0.
 *
 * In expand-down segments that may be written, room_down holds -(number of offsets above the limit), else 0, and
 * down is -(limit + 1): off is allowed if (uint32_t)(off + down) + n - 1 + room_down < 0.
 *
 * seg_update_room() keeps them all right.
 */
struct seg {
  uint16_t sel;
  uint16_t attr;
  uint32_t base;
  uint32_t limit;
  uint32_t full;
  int64_t room_read;
  int64_t room_write;
  int64_t room_down;
  uint32_t down;
};
#define SEG_TYPE 0x000fu
#define SEG_A 0x0001u /* accessed */
#define SEG_RW 0x0002u /* data: writable; code: readable */
#define SEG_EC 0x0004u /* data: expand-down; code: conforming */
#define SEG_CODE 0x0008u
#define SEG_S 0x0010u /* code or data (not system) */
#define SEG_DPL_SHIFT 5
#define SEG_P 0x0080u
#define SEG_AVL 0x1000u
#define SEG_DB 0x4000u
#define SEG_G 0x8000u

struct dtr {
  uint32_t base;
  uint16_t limit;
};

/* x87/MMX/SSE state in the layout of FXSAVE (SDM vol. 1, 10.5). FIP/FDP fields are kept with guest
 * addresses here; see struct cpu.fpu_*. */
struct fxsave {
  uint16_t fcw, fsw;
  uint8_t ftw, rsvd1; /* abridged tag word: one bit per register, 1 = not empty */
  uint16_t fop;
  uint32_t fip;
  uint16_t fcs, rsvd2;
  uint32_t fdp;
  uint16_t fds, rsvd3;
  uint32_t mxcsr, mxcsr_mask;
  uint8_t st[8][16]; /* ST(0..7), 10 bytes each; MM0-7 alias by physical number */
  uint8_t xmm[16][16]; /* guest sees 0-7 */
  uint8_t pad[96];
} __attribute__((aligned(64)));

/*
 * Mode bits that change generated code; one half of a translated block's key. cpu_update_mode()
 * recomputes it from the architectural state.
 */
#define MODE_CODE32 0x0001u /* CS.D */
#define MODE_STACK32 0x0002u /* SS.B */
#define MODE_USER 0x0004u /* CPL 3: user pages only */
#define MODE_PE 0x0008u /* protected mode (CR0.PE) */
#define MODE_V86 0x0010u
#define MODE_PAGING 0x0020u
#define MODE_FLAT_DS 0x0040u /* base 0, limit 4 GiB - 1, present, readable and writable */
#define MODE_FLAT_ES 0x0080u
#define MODE_FLAT_SS 0x0100u
#define MODE_FLAT_CS 0x0200u /* base 0, limit 4 GiB - 1, readable (for CS-relative reads) */
#define MODE_NOFPU 0x0400u /* CR0.EM or CR0.TS: x87/MMX/SSE raise #NM or #UD */
#define MODE_EM 0x0800u /* CR0.EM: MMX/SSE raise #UD */
#define MODE_OSFXSR 0x1000u
#define MODE_SINGLE 0x2000u /* TF, enabled debug breakpoints, ...: the interpreter steps */
#define MODE_BASE0_CS 0x4000u /* CS base is 0 (limit may be smaller) */
#define MODE_SEG64K 0x8000u /* DS, ES, SS are readable, writable, expand-up, limit >= 0xffff */
#define MODE_DF 0x20000u /* EFLAGS.DF; kept by the translator only */
#define MODE_WINDOW 0x40000u /* the address space has a window; kept by the translator only */
#define MODE_ENGINE (MODE_DF | MODE_WINDOW)
#define MODE_MP_TS 0x10000u /* CR0.MP and CR0.TS: WAIT raises #NM */

/* Reasons to leave translated code or the interpreter's inner loop; bits of cpu->pending. */
#define PEND_INTR 0x01u /* level of the INTR pin */
#define PEND_NMI 0x02u /* edge-latched */
#define PEND_INIT 0x04u
#define PEND_EXIT 0x08u /* machine asks the engine to return to machine_run */
#define PEND_TRAP 0x10u /* single-step or data breakpoint trap (DR6 bits in trap_dr6) after this instruction */
#define PEND_SMI 0x20u /* not modelled; kept for the APIC */

enum shadow { SHADOW_NONE, SHADOW_STI, SHADOW_MOVSS };

/*
 * Software TLB, shared by interpreter and translator (DESIGN.md, address strategy "tlb").
 *
 * tlb[t][i]: addend from linear address to host pointer, 0 = take the slow path. The index of an
 * access of n bytes at la is (la >> 12) + ((la + n - 1) >> 12) modulo 2^21: even = both ends on one
 * page, odd = the access crosses a page (those stay 0, unless both pages are adjacent in
 * host memory with equal rights). Entries exist only for RAM-like pages; a write entry exists only
 * if the page's dirty bit is set in the guest's table, and the page holds no translated code and
 * needs no dirty logging.
 */
enum { TLB_SUP_READ, TLB_SUP_WRITE, TLB_USER_READ, TLB_USER_WRITE, TLB_TABLES };
#define TLB_ENTRIES (1u << 21)
#define TLB_USED_MAX 131072u /* 512 MB in use at once */
#define TLB_CHUNK (1u << 20) /* linear addresses whose entries take a host page of each table */
#define TLB_CHUNKS_KEPT 256u
#define IO_PAGES 16u

/* Jump cache of the translator: next EIP -> host code. tag = -(eip + jc_key). Host code lies below 4 GiB. */
#define JC_ENTRIES 65536u
#define JC_TABLES 4u
#define JC_TABLE(mode) (((mode) & MODE_USER ? 1u : 0) | ((mode) & MODE_WINDOW ? 2u : 0))
struct jc_entry {
  uint64_t tag;
  uint32_t host;
  uint32_t eip_bias;
};

struct cpu {
  /* --- hot: addressed by translated code; offsets below 128 take a one-byte displacement --- */
  uint32_t gpr[8];
  uint32_t eip;
  uint32_t eflags; /* complete and current whenever C code runs */
  uint32_t mode; /* MODE_* */
  uint32_t cpl;
  uint64_t budget; /* translate: (1 << 44) + instructions left in this slice, see engine.h */
  uint32_t fpu_loaded; /* translate: the guest's FPU state lives in the host's registers, not in fx */
  uint64_t jc_key; /* translate: (unique id of mode, CS and TLB generation) << 32 */
  uint64_t jc_table; /* translate: offset of the jump cache's table for the mode from its beginning, in units of 8 */
  uint32_t eip_bias; /* translate: EIP - physical address, of the code page that runs */
  struct seg seg[SEG_COUNT];
  uint8_t membuf[64] __attribute__((aligned(64))); /* translate: operand of a slow memory access */
  uint64_t scratch[8]; /* translate: spill slots */

  /* --- system registers --- */
  struct dtr gdtr, idtr;
  uint32_t cr0, cr2, cr3, cr4;
  uint32_t dr[8];
  uint64_t efer;
  uint64_t pdpte[4]; /* PAE: loaded by MOV CR3 (SDM vol. 3, 4.4.1) */
  uint32_t sysenter_cs, sysenter_esp, sysenter_eip;
  uint64_t apic_base, pat, misc_enable, tsc_offset, ucode_rev;
  uint64_t mtrr_def_type, mtrr_fix[11], mtrr_var[16];
  uint64_t perf_ctr[2], perf_evt[2], debugctl, mc_ctl[5];

  struct fxsave fx;
  uint8_t ferr; /* level of FERR#, for IRQ13 */
  uint8_t ignne; /* level of IGNNE# */
  uint8_t shadow; /* enum shadow: interrupts inhibited until after the next instruction; away from what is tested
                   * together with it, or one wide load would wait for this byte's store */

  /* --- events --- */
  volatile uint32_t pending; /* PEND_*, written with atomic builtins by other threads */
  uint8_t halted; /* HLT; leaves on an interrupt, NMI, INIT or reset */
  uint8_t shutdown; /* triple fault: machine decides */
  uint8_t nmi_blocked; /* until IRET */
  uint8_t a20; /* 1 = A20 passes */
  uint32_t next_eip; /* of the instruction being executed by C code; branches overwrite it */
  uint32_t trap_dr6; /* DR6 bits of the pending #DB trap */
  uint32_t exc_depth_vector; /* vector being delivered, for double faults; ~0 = none */
  uint32_t exc_vector, exc_error; /* what cpu_raise*() recorded */
  uint8_t exc_has_error;
  uint8_t exc_ext; /* EXT bit for error codes raised while an event is being delivered */
  uint8_t debug_data; /* DR7 enables a data or I/O breakpoint */
  uint8_t align_check; /* CR0.AM, EFLAGS.AC and CPL 3: user accesses take the slow path, which checks */
  uint32_t mode_cs_base, mode_cs_limit; /* as last announced by on_mode_change */
  uint32_t fetch_page; /* cpu_fetch's page: la | user (bit 0) | valid (bit 1) */
  const uint8_t *fetch_host;

  /* Calls by which DOS and its programs say that they only wait, see note_idle_call. */
  bool idle_wanted; /* the machine may let the host rest until something happens */
  struct idle_calls {
    uint32_t count; /* in a row */
    uint64_t at;    /* icount of the last one */
  } idle_calls, key_calls;

  /* --- time and counters --- */
  uint64_t icount; /* instructions retired; engines bring it up to date before C code looks */
  uint64_t icount_limit; /* stop before this count (exactly) */
  bool slice_continues; /* it was interrupted by somebody of the host: engines take no sample */
  struct {
    uint64_t interp_insns; /* executed by the interpreter */
    uint64_t exceptions, interrupts, tlb_fills, tlb_flushes, page_faults;
  } stat;

  int (*intr_ack)(void *opaque); /* INTA cycle: vector from PIC or local APIC; set by the board */
  void *intr_ack_opaque;
  sigjmp_buf *fault_env; /* where cpu_raise() goes (siglongjmp without signal mask) */
  struct machine *machine;
  const struct cpu_model *model;
  uint64_t features; /* FEAT_* of the model */
  void *engine_data; /* owned by the engine */
  /* Engine hooks, NULL under the interpreter: translated code depends on what is announced here. */
  void (*on_tlb_flush_page)(struct cpu *, uint32_t la); /* INVLPG */
  void (*on_tlb_flush)(struct cpu *, bool keep_global); /* linear to physical mapping changed */
  void (*on_mode_change)(struct cpu *); /* mode, CS base or limit changed */
  void (*on_protect)(struct cpu *, const uint8_t *host_page); /* it must not be written unnoticed any more */
  void (*on_ferr)(struct cpu *, int level); /* FERR# changed (x87 error with CR0.NE clear); set by the board */
  void (*on_apic_base)(struct cpu *, uint64_t value); /* WRMSR IA32_APIC_BASE; set by the board, may be NULL */

  /* --- TLB bookkeeping: the entries that are filled, so that a flush touches only those --- */
  uint32_t tlb_used_count, tlb_used_global_count;
  uint32_t tlb_used[TLB_USED_MAX]; /* la >> 12 */
  uint32_t tlb_used_global[TLB_USED_MAX];
  uint8_t tlb_chunk[(1ull << 32) / TLB_CHUNK]; /* has, or had, entries; see tlb_trim */
  uint32_t tlb_chunk_count, tlb_chunk_limit;
  /* Pages of devices: where walks led that allowed the access, until the next flush (paging.c). */
  struct {
    uint64_t key; /* generation, linear page, kind of access */
    uint32_t pa;
  } io_page[IO_PAGES];
  uint64_t io_generation;
  uint32_t tlb_large[32]; /* one bit per 4 MB: entries there come from a large page (INVLPG drops all) */

  uint64_t tlb[TLB_TABLES][TLB_ENTRIES] __attribute__((aligned(4096)));
  /* By privilege and whether a window is in use: kernel and user, and blocks of either kind, don't displace each
   * other. */
  struct jc_entry jump_cache[JC_TABLES][JC_ENTRIES];
};

/* --- CPU models and features --- */
#define FEAT_FPU (1ull << 0)
#define FEAT_486 (1ull << 1) /* CMPXCHG, XADD, INVLPG, INVD, AC and ID flags */
#define FEAT_CPUID (1ull << 2)
#define FEAT_VME (1ull << 3)
#define FEAT_DE (1ull << 4)
#define FEAT_PSE (1ull << 5)
#define FEAT_TSC (1ull << 6)
#define FEAT_MSR (1ull << 7)
#define FEAT_PAE (1ull << 8)
#define FEAT_CX8 (1ull << 9)
#define FEAT_APIC (1ull << 10)
#define FEAT_SEP (1ull << 11)
#define FEAT_MTRR (1ull << 12)
#define FEAT_PGE (1ull << 13)
#define FEAT_CMOV (1ull << 14)
#define FEAT_PAT (1ull << 15)
#define FEAT_PSE36 (1ull << 16)
#define FEAT_MMX (1ull << 17)
#define FEAT_FXSR (1ull << 18)
#define FEAT_SSE (1ull << 19)
#define FEAT_SSE2 (1ull << 20)
#define FEAT_SSE3 (1ull << 21)
#define FEAT_SSSE3 (1ull << 22)
#define FEAT_SSE41 (1ull << 23)
#define FEAT_SSE42 (1ull << 24)
#define FEAT_POPCNT (1ull << 25)
#define FEAT_NX (1ull << 26)
#define FEAT_CLFLUSH (1ull << 27)
#define FEAT_PENTIUM (1ull << 28) /* RDMSR class instructions, CR4 */
#define FEAT_P6 (1ull << 29) /* UD2, RDPMC, FCOMI, multi-byte NOP */
#define FEAT_MOVBE (1ull << 30)
#define FEAT_FIRMWARE (1ull << 31) /* BSWAP, WBINVD: of the 486, but SeaBIOS needs them on the 386 too */

struct cpu_model {
  const char *name; /* as in -cpu */
  uint64_t features;
  uint8_t family, model, stepping;
  const char *vendor; /* twelve characters; NULL without CPUID */
  const char *brand; /* NULL: no leaves 80000002h-4h */
  uint32_t max_leaf;
  uint8_t clocks; /* that ten instructions take on the average; for -cpu NAME,mhz=N */
};

const struct cpu_model *cpu_model_find(const char *name); /* NULL if unknown */
const struct cpu_model *cpu_model_list(size_t *count);

/* Allocate (sparse, zeroed) and free a CPU. NULL when out of memory. */
struct cpu *cpu_new(struct machine *machine, const struct cpu_model *model);
void cpu_free(struct cpu *cpu);
void cpu_reset(struct cpu *cpu); /* RESET# (SDM vol. 3, 9.1): F000:FFF0 with base FFFF0000h */
void cpu_init(struct cpu *cpu); /* INIT#: the same, but the FPU, MSRs, cache control and A20 keep their state */
void cpu_update_mode(struct cpu *cpu); /* after any change of CR0, CR4, CS, SS, DS, ES, CPL, EFLAGS.VM/TF, DR7 */
void cpu_update_mode_flat(struct cpu *cpu); /* after a change of CPL and to flat 32-bit CS and SS, and of no more */
void seg_update_room(struct seg *seg, bool null_selector);

/* Pins; callable from any thread that holds the machine lock. */
void cpu_set_intr(struct cpu *cpu, bool level);
void cpu_pulse_nmi(struct cpu *cpu);

const struct field *cpu_fields(void); /* architectural state, for state.h */
const struct field *cpu_more_fields(void); /* what snapshots save besides */
void cpu_forget_code(struct cpu *cpu); /* no engine is there any more: nothing may lead to its code */
void cpu_loaded(struct cpu *cpu); /* both were loaded: derive the rest */

/* Instructions retired so far, exact at instruction boundaries seen by C code. */
uint64_t cpu_icount(const struct cpu *cpu);

static inline bool cpu_has(const struct cpu *cpu, uint64_t feature) {
  return (cpu->features & feature) != 0;
}
static inline bool cpu_protected(const struct cpu *cpu) { /* PE set and not V86 */
  return (cpu->cr0 & CR0_PE) && !(cpu->eflags & FL_VM);
}
static inline bool cpu_v86(const struct cpu *cpu) { return (cpu->eflags & FL_VM) != 0; }
static inline uint32_t cpu_iopl(const struct cpu *cpu) { return (cpu->eflags & FL_IOPL) >> 12; }

#endif
