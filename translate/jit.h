/* SPDX-License-Identifier: MIT */
/*
 * Inside the translator: blocks, the code cache, the generator's context, and the contract between
 * translated code and C.
 *
 * Host registers while translated code runs:
 *
 *   RAX EAX   RDX EDX   RBX EBX   RBP EBP   RSI ESI   RDI EDI   R10 ECX   R15 ESP   (upper halves zero)
 *   R14 struct cpu      R12 budget: (1 << 44) + instructions left in this slice
 *   R13 constant 44: shift count of the flags-free probes (44 & 31 = 12 in 32-bit shifts)
 *   RCX R8 R9 R11 scratch      RSP host stack, 16-aligned
 *   EFLAGS: the guest's CF PF AF ZF SF OF; DF clear (the guest's DF is in cpu->eflags)
 *
 * ECX does not live in RCX because JRCXZ is the only conditional jump that leaves EFLAGS alone, and
 * every TLB probe, limit check and budget check needs one. Nothing that the generator adds between two
 * guest instructions may change EFLAGS.
 *
 * If cpu->fpu_loaded is FPU_LOADED, the host's x87, MMX, XMM0-7 and MXCSR hold the guest's; if 0, cpu->fx
 * does. While the engine's C code runs it may be FPU_PARKED: what C uses of the unit, XMM0-7 and MXCSR, is in
 * cpu->fx, the rest still in the host's registers, because saving and loading all takes 250 ns. Whoever needs
 * cpu->fx calls jit_fpu_settle first; so does the engine before it returns.
 */
#ifndef TRANSLATE_JIT_H
#define TRANSLATE_JIT_H

#include "core/cpu.h"
#include "core/insn.h"
#include "translate/emit.h"

#define BUDGET_BASE (1ull << 44)
#define FPU_LOADED 1u
#define FPU_PARKED 2u
#define NO_PAGE 0xffffffffu
#define BLOCK_MAX_INSNS 64u
#define INSN_HOST_MAX 512u /* upper bound of hot + cold host bytes of one guest instruction */

struct block;

/*
 * A direct branch from one block to another: a rel32 field that aims at `stub` until linked. There are
 * hundreds of thousands of links and blocks: what they refer to are places in the code cache, counted from
 * its beginning, and numbers of blocks and of links, from 1 on; 0 = none.
 */
struct link {
  uint32_t field;
  uint32_t stub;       /* of the exit */
  uint32_t from, to;   /* blocks */
  uint32_t next, prev; /* links in to->incoming */
  uint8_t leave;       /* behind `stub`, the rel32 of its last jump: to stub_exit_link, or stub_lookup */
  /* To another page, of a window: the exit compares the upper half of jc_key with the one it was linked
   * under, and sets eip_bias; both are immediates in the code, see link_far_key. */
  bool far;
  uint8_t
      thunk; /* 1 + the register that a thunk loads which is in line: then `field` is where the key stands */
  uint8_t relinks;
  uint8_t passes; /* see spread_heat */
};

struct host_map { /* host code from host_off on belongs to guest instruction `index` */
  uint16_t host_off;
  int16_t eip_off;
  uint8_t index;
  uint8_t left; /* instructions not retired, this one included; with those of thunks */
  int16_t sp;   /* ESP is R15 + sp: of the PUSHs and POPs in a row only the last one changes R15 */
};

#define PATCH_SITES 4u

struct block {                      /* what jit_find looks at comes first */
  uint32_t pa, eip, mode, cs_limit; /* the key; eip counts only if !relative */
  uint32_t hash_next;               /* block number */
  uint32_t pa2;                     /* physical page of the bytes beyond the first page; NO_PAGE = none */
  bool relative : 1; /* position-independent: EIP constants are physical addresses + cpu->eip_bias */
  bool valid : 1;
  bool hot : 1; /* translated with window_sites */
  uint8_t insns;
  uint8_t link_count; /* direct exits, from jit->links[link_first] on */
  uint8_t patch_count;
  uint16_t len;          /* guest bytes; of a trace, from its lowest to its highest */
  uint16_t before;       /* bytes of them below pa */
  uint16_t heat;         /* slices that began here */
  uint16_t fills;        /* pages mapped into a window for its sake */
  uint16_t host_size;    /* from the entry on */
  uint16_t map_count;    /* from jit->maps[map_first] on */
  uint64_t window_sites; /* bit per instruction: accesses memory by the window */
  const uint8_t *host; /* entry, executable alias; in front of it are the jumps that its head's jrcxz reach */
  uint32_t page_next[2]; /* lists of blocks with bytes on page pa and on page pa2 */
  uint32_t map_first, link_first;
  uint32_t incoming; /* links */
  /* Immediate operands that the block loads from the guest's memory, see selfmod.c. */
  int16_t patch_off[PATCH_SITES]; /* from the block's first byte */
  uint8_t patch_size[PATCH_SITES];
} __attribute__((aligned(32)));

#define BLOCK_FRONT 10u /* bytes in front of the entry */

#define JIT_HASH (1u << 18)

/* The same code page is often mapped at many linear addresses (shared libraries under address space layout
 * randomisation), so flat paged 32-bit code is translated independently of where it is mapped. */
static inline bool mode_relative(uint32_t mode) {
  return (mode & (MODE_CODE32 | MODE_FLAT_CS | MODE_PAGING)) == (MODE_CODE32 | MODE_FLAT_CS | MODE_PAGING);
}
#define RUNS_BITS 17
#define RUNS (1u << RUNS_BITS)
#define JIT_IDS 1024u

/* One (mode, CS base, CS limit, generation) combination in use; see jit_rekey. The generation is that of the
 * window's code, or FLUSH_GEN + the number of flushes so far that concern this privilege. */
struct mode_id {
  uint32_t mode, cs_base, cs_limit, id;
  uint64_t gen;
};

/* What the window strategy has learnt of a block's accesses. */
#define SITE_HINTS 4096u
#define LOCAL_JUMPS 4096u
#define TURNS_BITS 15
#define JC_NEVER                                                                                             \
  1u /* a tag that no EIP + key has as its complement: keys are multiples of 2^32 and never 0 */
struct site_hint {
  uint32_t pa, mode;
  uint16_t faults;    /* that the window could not resolve, since `since` */
  uint16_t tries;     /* how often tlb_sites was found */
  uint64_t tlb_sites; /* bit per instruction: to be accessed by the software TLB */
  uint64_t since;     /* instruction count */
  uint64_t until;     /* the instruction count at which the window is given another chance */
};

/* Data stores to a page that also holds code, by linear page: checked once, then direct (selfmod.c). */
#define CODE_STORES 64u
struct code_store {
  uint32_t key;             /* linear page << 2 | user << 1 | 1; 0 = empty */
  uint32_t pa;              /* of the page */
  uint64_t addend;          /* from linear address to host address */
  const uint64_t *granules; /* in jit->code_granules */
  const uint8_t *flags;     /* of its struct mem_page */
};

/* Immediate operands that were stored to, by physical address; and instructions that were stored to
 * elsewhere. */
#define PATCHES 1024u
struct patched {
  uint32_t pa;
  uint16_t times;
  /* Of an instruction: */
  uint16_t runs;       /* in the interpreter */
  uint16_t chances;    /* how often it was given another chance */
  uint32_t neighbours; /* checksum of what stands around it */
};

struct jit {
  struct cpu *cpu;
  uint8_t *rw;       /* code cache, writable alias */
  const uint8_t *rx; /* the same memory, executable alias */
  size_t size;
  size_t limit;        /* memory for code and what is known of it, before a flush is considered */
  uint64_t flushed_at; /* icount */
  uint8_t *next;       /* first free byte, writable alias */
  uint8_t *stubs_end;

  struct block *blocks; /* in order of host address */
  uint32_t block_count, block_max;
  struct host_map *maps;
  uint32_t map_count, map_max;
  struct link *links;
  uint32_t link_count, link_max;
  struct insn *insns; /* operands of jit_exec calls */
  uint32_t insn_count, insn_max;
  uint32_t *hash;        /* first block of each chain */
  uint32_t *page_blocks; /* by physical page number */
  struct mode_id ids[JIT_IDS];
  uint32_t next_id;
#define FLUSH_GEN (1ull << 32)
  uint64_t user_flushes, supervisor_flushes;
  struct code_space *spaces,
      *space; /* spaces.c; `space`: the one that user code runs in, NULL = to be found */
  bool code_store_used;
  /* Of supervisor code without a window: bit per linear page, the jump cache may have entries there. */
  uint8_t *ran;

  /* Stubs, writable alias addresses (the relative distances are the same in both). */
  const uint8_t *stub_exit;      /* eip is in memory */
  const uint8_t *stub_exit_link; /* R8D = link number + 1; eip is in memory */
  const uint8_t *stub_lookup;    /* eip is in memory: jump there through the jump cache */
  const uint8_t *stub_miss;      /* R8D = eip: no jump cache entry */
  const uint8_t *stub_read, *stub_write, *stub_write_check, *stub_write_commit, *stub_seg_check;
  const uint8_t *stub_exec;       /* R8D = index into insns */
  const uint8_t *stub_code_store; /* selfmod.c */
  const uint8_t *stub_fpu_load;
  const uint8_t *stub_pushf, *stub_popf[4]; /* by user * 2 + wide; see gen_system.c */
  const uint8_t *stub_sysenter, *stub_sysexit;
  const uint8_t *stub_seg_load;   /* R11D = selector, R8D = segment register; RCX = 0: not done */
  const uint8_t *stub_host_fault; /* RCX = host address of the faulting instruction */
  struct windows *windows;        /* NULL = this engine has none */
  unsigned hot;                   /* slices that make a block worth its window */
  struct site_hint *hints;
  bool cold_block; /* host fault: the block maps more than it gains */
  bool exact_step; /* host fault: nothing against the window, but the interpreter must make this access */
  void (*enter)(struct cpu *cpu, const uint8_t *host);

  uint32_t exit_link;    /* set by C after enter() returned */
  uint64_t known_icount; /* see enter_known */
  uint64_t rf_icount;    /* EFLAGS.RF, if set, is for the instruction that this count is reached with */
  struct code_store code_store[CODE_STORES];
  uint64_t *code_granules; /* per physical page: bit n = blocks cover bytes n * 64 to n * 64 + 63 */
  uint8_t *slow_host;      /* the checked store goes here, unless NULL */
  uint32_t slow_pa;
  struct patched patched[PATCHES], unstable[PATCHES];
  bool patched_any, unstable_any;
  uint32_t slow_la;  /* linear address between write check and commit */
  bool flush_wanted; /* physical memory was remapped: drop all blocks before the next one runs */
  bool step_wanted;  /* a host fault: the interpreter shall execute the instruction at EIP */
  struct {
    uint64_t blocks, bytes, flushes, invalidated, links, lookups, exec_calls, slow_reads, slow_writes,
        host_faults, smc_writes, steps, exec_class[16], promoted, demoted;
  } stat;
  /* By hash of a block's address and mode: its exits to other pages lead elsewhere all the time
   * (jit_link_far); and it is a hot one. */
  uint8_t turns[(1u << TURNS_BITS) / 8], hot_turns[(1u << TURNS_BITS) / 8];
  uint16_t local_jumps[LOCAL_JUMPS]; /* jump cache entries of supervisor code on pages that are not global */
  unsigned local_jump_count;
  /* By hash of a block's address and mode: it was there before the last flush; it has been since. */
  uint8_t known[2][1u << 16];
  uint32_t known_blocks, known_again;
  bool hold_windows; /* no hot blocks until the slice ends */
  bool slice_begins; /* the next block found begins a slice */
  uint8_t *runs;     /* by hash of address and mode: runs of code by the interpreter, see is_cold */
  uint32_t runs_used;
  unsigned cold; /* so many runs until it is translated */
  bool run_cold; /* find_block: no block yet, for the code is cold */
  bool verify;   /* check every block with verify.h before it may run */
};

/* ECX of the slow-path stubs. */
#define SLOW_SIZE(n) ((uint32_t)(n)) /* bits 5:0 */
#define SLOW_WRITE 0x40u
#define SLOW_RMW 0x80u
#define SLOW_LEFT(n) ((uint32_t)(n) << 8) /* bits 15:8: instructions not retired, this one included */
#define SLOW_ALIGN 0x10000u               /* #GP(0) unless 16-byte aligned */
#define SLOW_SEG(s) ((uint32_t)(s) << 24)

/* Slots of cpu->scratch that stubs and C share. */
enum { SCR_INFO, SCR_R8, SCR_R11, SCR_ENTRY, SCR_LINK, SCR_HOSTPC, SCR_STAY };

/* --- stubs.c --- */
void jit_make_stubs(struct jit *j);
void jit_emit_lookup(struct emitter *e, int table, const uint8_t *miss);

/* --- slow.c: C called from stubs. All set cpu->icount first. --- */
uint32_t jit_slow_read(struct cpu *cpu, uint32_t la, uint32_t info);
uint32_t jit_slow_write(struct cpu *cpu, uint32_t la, uint32_t info); /* 0 = leave after this instruction */
uint32_t jit_slow_write_check(struct cpu *cpu, uint32_t la, uint32_t info);
uint32_t jit_slow_write_commit(struct cpu *cpu, uint32_t la,
                               uint32_t info); /* 0 = leave after this instruction */
uint32_t jit_slow_seg_check(struct cpu *cpu, uint32_t off, uint32_t info);
uint32_t jit_exec(struct cpu *cpu, uint32_t index, uint32_t info); /* 0 = leave; EIP and budget are set */
uint32_t jit_host_fault(struct cpu *cpu, uint32_t unused, uint32_t info);
/* Is it time to try again whether the block's accesses go by the window? Then its hint is gone: translate it
 * anew. */
bool jit_retry_sites(struct jit *j, const struct block *b);

/* --- selfmod.c --- */
void jit_note_code_store(struct jit *j, uint32_t la,
                         uint32_t user); /* stores to this code page are allowed */
void jit_forget_code_stores(struct jit *j);
/* The same noted page, or NULL. */
const struct code_store *jit_find_code_store(const struct jit *j, uint32_t la, uint32_t size, uint32_t user);
/* A store to a page with code is about to be made: drop the blocks that it changes. */
void jit_code_written(struct jit *j, uint32_t pa, uint32_t size);
/* Block b is dropped because of a store to `size` bytes at pa, not made yet. */
void jit_note_patch(struct jit *j, const struct block *b, uint32_t pa, uint32_t size);
/* Is the instruction at pa one that is stored to so often that it had better not be translated? */
bool jit_unstable(const struct jit *j, uint32_t pa);
/* It is, and the interpreter runs it. Now and then it is given another chance. */
void jit_ran_unstable(struct jit *j, uint32_t pa);
/* Are the bytes at pa only operands that b loads when it runs? */
bool jit_patch_site(const struct block *b, uint32_t pa, uint64_t size);
/* Have immediate operands that keep being stored to loaded at run time, by instructions that do that. */
void jit_apply_patches(struct jit *j, struct block *b, struct insn *insns, const int16_t *off,
                       unsigned count);
#define BASE_EIP                                                                                             \
  0xfe /* insn.base: the operand is at CS:EIP of the instruction + disp; only the generator knows it */
void jit_make_code_store(struct jit *j, struct emitter *e); /* its stub */

/* --- cache.c --- */
static inline struct block *jit_block(const struct jit *j, uint32_t number) {
  return number ? &j->blocks[number - 1] : NULL;
}
static inline uint32_t jit_block_number(const struct jit *j, const struct block *b) {
  return (uint32_t)(b - j->blocks) + 1;
}
static inline uint8_t *link_field(const struct jit *j, const struct link *l) {
  return l->thunk ? NULL : j->rw + l->field;
}
static inline uint8_t *link_leave(const struct jit *j, const struct link *l) {
  return j->rw + l->stub + l->leave;
}
/* Of a far link: `lea ecx, [rcx - key]; jrcxz` are in front of the stub, the store of the bias is in front of
 * the jump. NULL: it is none. */
static inline uint8_t *link_far_key(const struct jit *j, const struct link *l) {
  return !l->far ? NULL : j->rw + (l->thunk ? l->field : l->stub - 6);
}
static inline uint8_t *link_far_bias(const struct jit *j, const struct link *l) {
  return l->far && !l->thunk ? j->rw + l->field - 5 : NULL;
}
int jit_cache_init(struct jit *j, size_t size); /* -errno */
void jit_cache_free(struct jit *j);
void jit_sparse_free(void *p, size_t size);
void *jit_sparse(size_t size); /* zeroed memory of which only what is touched exists; NULL: none */
void jit_flush(struct jit *j); /* drop every block */
/* The block for the CPU's mode. pa2: page of the bytes beyond the first page if the caller knows, else
 * NO_PAGE; *crosses: it matters. */
struct block *jit_find(struct jit *j, uint32_t pa, uint32_t eip, uint32_t pa2, bool *crosses);
struct block *jit_block_new(struct jit *j);
void jit_block_insert(struct jit *j, struct block *b);
void jit_block_invalidate(struct jit *j, struct block *b);
void jit_invalidate_range(struct jit *j, uint32_t pa, uint64_t size);
/* Where the byte at off is, from the block's first byte on; its bytes from there on, up to INSN_MAX of them. */
uint32_t jit_block_pa(const struct block *b, int off);
unsigned jit_block_bytes(const struct jit *j, const struct block *b, int off, uint8_t *buf);
/* The granules of a page that pa .. pa + size - 1 touches; does not cross the page. */
static inline uint64_t granule_mask(uint32_t pa, uint32_t size) {
  uint32_t first = pa >> 6 & 63, last = (pa + size - 1) >> 6 & 63;
  return (~0ull >> (63 - last)) & (~0ull << first);
}
void jit_link(struct jit *j, struct link *l, struct block *to);
#define FAR_RELINKS 8u
/* The code of a "get_pc_thunk": mov reg, [esp]; ret. In line: the register, or -1. */
#define THUNK_BYTES 4u
#define THUNK_INSNS 2u
int jit_thunk(const uint8_t *code);
/* Is the block at pa one whose exits to other pages should not be linked? */
bool jit_takes_turns(const struct jit *j, uint32_t pa, uint32_t mode, bool *hot);
void jit_link_far(struct jit *j, struct link *l, struct block *to);         /* under the CPU's key and EIP */
const struct block *jit_block_at(const struct jit *j, const uint8_t *host); /* by executable alias address */
void jit_rekey(struct cpu *cpu);
static inline struct site_hint *jit_hint(struct jit *j, uint32_t pa, uint32_t mode) {
  return &j->hints[(pa * 0x9e3779b1u ^ mode * 0x85ebca6bu) >> 20 & (SITE_HINTS - 1)];
}

void jit_fpu_settle(struct cpu *cpu); /* the guest's FPU state to cpu->fx; stubs.c */

/* RF holds for one instruction. Without breakpoints only what pushes EFLAGS can see it, so translated code
 * runs with it set, and it is cleared as soon as C looks. */
static inline void jit_retire_rf(struct cpu *cpu) {
  if (__builtin_expect(cpu->eflags & FL_RF, 0) && cpu->icount > ((struct jit *)cpu->engine_data)->rf_icount)
    cpu->eflags &= ~FL_RF;
}

/* Bring MODE_DF in line with EFLAGS. */
static inline void jit_sync_mode(struct cpu *cpu) {
  uint32_t want = cpu->eflags & FL_DF ? MODE_DF : 0;
  if ((cpu->mode ^ want) & MODE_DF) {
    cpu->mode ^= MODE_DF;
    jit_rekey(cpu);
  }
}

/* --- gen_fpu.c --- */
/* CL_FPU rows that are always executed by the core. */
bool fpu_core_only(const struct insn *in);
bool fpu_sets_pointers(const struct insn *in); /* changes FIP, FCS and FOP */

/* General registers (a bit each) that the instruction may write; perhaps some that it does not. */
unsigned insn_may_write(const struct insn *in);

/* --- spaces.c --- */
bool spaces_init(struct jit *j);
void spaces_free(struct jit *j);
/* The generation of user code without a window, in the space that is in use. */
uint64_t spaces_user_gen(struct jit *j);
/* It ran on the page of la, which is at pa. */
void spaces_ran(struct jit *j, uint32_t la, uint32_t pa);
/* INVLPG. True: the generation is another one. */
bool spaces_flush_page(struct jit *j, uint32_t la);

/* --- translate.c --- */
/* Translate the block at the CPU's EIP, whose first byte is at pa. hot: its accesses are worth a window.
 * NULL: not translatable, interpret one. */
struct block *jit_translate(struct jit *j, uint32_t pa, bool hot);
/* The physical page behind the one at CS:EIP, if code may be fetched there without anybody's noticing. */
bool jit_next_page(struct cpu *cpu, uint32_t *pa);

static inline uint8_t *jit_to_rw(const struct jit *j, const uint8_t *rx) { return j->rw + (rx - j->rx); }
static inline const uint8_t *jit_to_rx(const struct jit *j, const uint8_t *rw) {
  return j->rx + (rw - j->rw);
}

static inline struct host_mem hm_cpu(size_t offset) { return hm_base(R14, (int32_t)offset); }
#define CPU_FIELD(member) hm_cpu(offsetof(struct cpu, member))

/* Does the mode say that the segment is flat (core/cpu.h)? Of FS and GS it says nothing. */
static inline bool mode_flat(uint32_t mode, int seg) {
  static const uint32_t bit[SEG_COUNT] = {MODE_FLAT_ES, MODE_FLAT_CS, MODE_FLAT_SS, MODE_FLAT_DS};
  return mode & bit[seg];
}

/* Host register of a guest register. */
extern const int8_t host_gpr[8];

#endif
