/* SPDX-License-Identifier: MIT */
/*
 * Page walks and the software TLB (SDM vol. 3, ch. 4; A20 as in the PC/AT). 32-bit paging with 4 KB and
 * 4 MB pages (PSE, PSE-36) and PAE with 4 KB and 2 MB pages, NX. Physical addresses have 36 bits
 * in the tables, 32 in memory: what lies above 4 GiB is redirected to a hole. Not modelled: cache types,
 * stale TLB entries beyond what the guest flushes, SMEP/SMAP.
 */
#include "core/paging.h"

#include <sys/mman.h>

#include "core/desc.h"
#include "core/machine.h"
#include "core/mem.h"

#define PTE_P 0x001u
#define PTE_RW 0x002u
#define PTE_US 0x004u
#define PTE_A 0x020u
#define PTE_D 0x040u
#define PTE_PS 0x080u
#define PTE_G 0x100u
#define PTE_NX (1ull << 63)
#define PAE_ADDR 0x0000000ffffff000ull
#define PAE_RSVD 0x7ffffff000000000ull /* between MAXPHYADDR (36) and bit 63 */

#define HOLE 0xfed90000u /* nothing of this chipset ever answers here */

#define WALK_OK (-1)

struct walk {
  uint32_t pa;
  uint32_t pde_pa, pte_pa; /* of the entries; pte_pa only if !large. Without paging both are 0 */
  uint32_t rights; /* PTE_RW and PTE_US in effect, PTE_D and PTE_G of the last level */
  bool accessed; /* at every level */
  bool nx, large;
};

static inline uint32_t a20_mask(const struct cpu *cpu) { return cpu->a20 ? ~0u : ~0x100000u; }

static inline struct mem_page *page_of(const struct cpu *cpu, uint32_t pa) {
  return &cpu->machine->mem->page[pa >> 12];
}

static inline uint32_t entry_read32(const struct cpu *cpu, uint32_t pa) {
  const struct mem_page *p = page_of(cpu, pa);
  uint32_t value;
  if (__builtin_expect(p->read == NULL, 0))
    return (uint32_t)mem_read(cpu->machine->mem, pa, 4);
  memcpy(&value, p->read + (pa & 0xfff), 4);
  return value;
}

static inline uint64_t entry_read64(const struct cpu *cpu, uint32_t pa) {
  const struct mem_page *p = page_of(cpu, pa);
  uint64_t value;
  if (__builtin_expect(p->read == NULL, 0))
    return mem_read(cpu->machine->mem, pa, 8);
  memcpy(&value, p->read + (pa & 0xfff), 8);
  return value;
}

/* Set bits of an entry's low dword. */
static void entry_set(struct cpu *cpu, uint32_t pa, uint32_t old, uint32_t bits) {
  const struct mem_page *p = page_of(cpu, pa);
  uint32_t value = old | bits;
  if (p->write && (p->flags & ~PAGE_SHADOWED) == 0) /* A and D take no right away: nobody need notice */
    memcpy(p->write + (pa & 0xfff), &value, 4);
  else
    mem_write(cpu->machine->mem, pa, 4, value);
}

static inline bool rights_deny(const struct cpu *cpu, uint32_t rights, bool nx, uint32_t access) {
  if ((access & PF_USER) && !(rights & PTE_US))
    return true;
  if ((access & PF_WRITE) && !(rights & PTE_RW) && ((access & PF_USER) || (cpu->cr0 & CR0_WP)))
    return true;
  return nx && (access & PF_FETCH);
}

static inline uint32_t accessed_bits(uint32_t access) { return access & PF_WRITE ? PTE_A | PTE_D : PTE_A; }

/* Both walks return WALK_OK or the P and RSVD bits of the error code; `commit` = update A and D. */
static int walk_32bit(struct cpu *cpu, uint32_t la, uint32_t access, struct walk *w, bool commit) {
  uint32_t a20 = a20_mask(cpu);
  uint32_t pde_pa = ((cpu->cr3 & ~0xfffu) | (la >> 20 & 0xffc)) & a20;
  uint32_t pde = entry_read32(cpu, pde_pa);
  w->pde_pa = pde_pa;
  w->nx = false;
  if (!(pde & PTE_P))
    return 0;
  if ((pde & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
    bool pse36 = cpu_has(cpu, FEAT_PSE36);
    if (pde & (pse36 ? 0x003e0000u : 0x003fe000u))
      return PF_PRESENT | PF_RSVD;
    w->rights = pde & (PTE_RW | PTE_US | PTE_D | PTE_G);
    w->large = true;
    w->accessed = pde & PTE_A;
    if (rights_deny(cpu, pde, false, access))
      return PF_PRESENT;
    uint32_t want = accessed_bits(access);
    if (commit && (pde & want) != want)
      entry_set(cpu, pde_pa, pde, want);
    w->rights |= want & PTE_D;
    w->pa = pse36 && (pde & 0x1e000) ? HOLE | (la & 0xfff) : ((pde & 0xffc00000u) | (la & 0x3fffff)) & a20;
    return WALK_OK;
  }
  uint32_t pte_pa = ((pde & ~0xfffu) | (la >> 10 & 0xffc)) & a20;
  uint32_t pte = entry_read32(cpu, pte_pa);
  w->pte_pa = pte_pa;
  if (!(pte & PTE_P))
    return 0;
  if ((pte & 0x80) && (cpu->cr4 & CR4_PSE) && !cpu_has(cpu, FEAT_PAT))
    return PF_PRESENT | PF_RSVD;
  uint32_t rights = pde & pte;
  if (rights_deny(cpu, rights, false, access))
    return PF_PRESENT;
  uint32_t want = accessed_bits(access);
  if (commit) {
    if (!(pde & PTE_A))
      entry_set(cpu, pde_pa, pde, PTE_A);
    if ((pte & want) != want)
      entry_set(cpu, pte_pa, pte, want);
  }
  w->large = false;
  w->accessed = pde & pte & PTE_A;
  w->rights = (rights & (PTE_RW | PTE_US)) | (pte & (PTE_D | PTE_G)) | (want & PTE_D);
  w->pa = ((pte & ~0xfffu) | (la & 0xfff)) & a20;
  return WALK_OK;
}

static uint32_t pae_pa(uint64_t base, uint32_t offset, uint32_t a20) {
  return base >> 32 ? HOLE | (offset & 0xfff) : ((uint32_t)base | offset) & a20;
}

static int walk_pae(struct cpu *cpu, uint32_t la, uint32_t access, struct walk *w, bool commit) {
  uint32_t a20 = a20_mask(cpu);
  uint64_t rsvd = PAE_RSVD | (cpu->efer & EFER_NXE ? 0 : PTE_NX);
  uint64_t pdpte = cpu->pdpte[la >> 30];
  if (!(pdpte & PTE_P))
    return 0;
  uint32_t pde_pa = pae_pa(pdpte & PAE_ADDR, la >> 18 & 0xff8, a20);
  uint64_t pde = entry_read64(cpu, pde_pa);
  w->pde_pa = pde_pa;
  if (!(pde & PTE_P))
    return 0;
  if (pde & rsvd)
    return PF_PRESENT | PF_RSVD;
  if (pde & PTE_PS) {
    if (pde & 0x1fe000)
      return PF_PRESENT | PF_RSVD;
    w->nx = (pde & PTE_NX) != 0;
    w->large = true;
    w->accessed = pde & PTE_A;
    if (rights_deny(cpu, (uint32_t)pde, w->nx, access))
      return PF_PRESENT;
    uint32_t want = accessed_bits(access);
    if (commit && (pde & want) != want)
      entry_set(cpu, pde_pa, (uint32_t)pde, want);
    w->rights = ((uint32_t)pde & (PTE_RW | PTE_US | PTE_D | PTE_G)) | (want & PTE_D);
    w->pa = pae_pa(pde & PAE_ADDR & ~0x1fffffull, la & 0x1fffff, a20);
    return WALK_OK;
  }
  uint32_t pte_pa = pae_pa(pde & PAE_ADDR, la >> 9 & 0xff8, a20);
  uint64_t pte = entry_read64(cpu, pte_pa);
  w->pte_pa = pte_pa;
  if (!(pte & PTE_P))
    return 0;
  if ((pte & rsvd) || ((pte & 0x80) && !cpu_has(cpu, FEAT_PAT)))
    return PF_PRESENT | PF_RSVD;
  uint32_t rights = (uint32_t)(pde & pte);
  w->nx = ((pde | pte) & PTE_NX) != 0;
  if (rights_deny(cpu, rights, w->nx, access))
    return PF_PRESENT;
  uint32_t want = accessed_bits(access);
  if (commit) {
    if (!(pde & PTE_A))
      entry_set(cpu, pde_pa, (uint32_t)pde, PTE_A);
    if ((pte & want) != want)
      entry_set(cpu, pte_pa, (uint32_t)pte, want);
  }
  w->large = false;
  w->accessed = pde & pte & PTE_A;
  w->rights = (rights & (PTE_RW | PTE_US)) | ((uint32_t)pte & (PTE_D | PTE_G)) | (want & PTE_D);
  w->pa = pae_pa(pte & PAE_ADDR, la & 0xfff, a20);
  return WALK_OK;
}

static inline int walk(struct cpu *cpu, uint32_t la, uint32_t access, struct walk *w, bool commit) {
  if (!(cpu->cr0 & CR0_PG)) {
    *w = (struct walk){.pa = la & a20_mask(cpu), .rights = PTE_RW | PTE_US | PTE_D, .accessed = true};
    return WALK_OK;
  }
  return cpu->cr4 & CR4_PAE ? walk_pae(cpu, la, access, w, commit) : walk_32bit(cpu, la, access, w, commit);
}

static void walk_or_raise(struct cpu *cpu, uint32_t la, uint32_t access, struct walk *w, bool commit) {
  int fault = walk(cpu, la, access, w, commit);
  if (__builtin_expect(fault == WALK_OK, 1))
    return;
  uint32_t error = (uint32_t)fault | (access & (PF_WRITE | PF_USER));
  if ((access & PF_FETCH) && (cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE))
    error |= PF_FETCH;
  cpu_raise_pf(cpu, la, error);
}

uint32_t paging_translate_code(struct cpu *cpu, uint32_t la, uint32_t access, bool *global) {
  struct walk w;
  walk_or_raise(cpu, la, access | PF_FETCH, &w, true);
  *global = (w.rights & PTE_G) && (cpu->cr4 & CR4_PGE);
  if (w.large)
    cpu->tlb_large[la >> 27] |= 1u << (la >> 22 & 31);
  return w.pa;
}

uint32_t paging_translate(struct cpu *cpu, uint32_t la, uint32_t access) {
  struct walk w;
  walk_or_raise(cpu, la, access, &w, true);
  return w.pa;
}

bool paging_probe(const struct cpu *cpu, uint32_t la, uint32_t *pa) {
  struct walk w;
  /* Without `commit` the walk changes nothing. */
  if (walk((struct cpu *)cpu, la, 0, &w, false) != WALK_OK)
    return false;
  *pa = w.pa;
  return true;
}

bool paging_try(struct cpu *cpu, uint32_t la, uint32_t access) {
  struct walk w;
  return walk(cpu, la, access, &w, true) == WALK_OK;
}

bool paging_peek(const struct cpu *cpu, uint32_t la, struct paging_leaf *leaf) {
  struct walk w;
  if (walk((struct cpu *)cpu, la, 0, &w, false) != WALK_OK)
    return false;
  *leaf = (struct paging_leaf){
    .pa = w.pa,
    .pde_pa = w.pde_pa,
    .pte_pa = w.pte_pa,
    .large = w.large,
    .accessed = w.accessed,
    .dirty = (w.rights & PTE_D) != 0,
    .writable = (w.rights & PTE_RW) != 0,
    .user = (w.rights & PTE_US) != 0,
  };
  return true;
}

bool paging_peek_code(const struct cpu *cpu, uint32_t la, uint32_t *pa) {
  struct walk w;
  if (walk((struct cpu *)cpu, la, PF_FETCH | PF_USER, &w, false) != WALK_OK || !w.accessed || w.large)
    return false;
  *pa = w.pa;
  return true;
}

void paging_load_pdptes(struct cpu *cpu, uint32_t cr0, uint32_t cr3, uint32_t cr4) {
  uint64_t pdpte[4];
  if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE))
    return;
  for (unsigned i = 0; i < 4; i++) {
    pdpte[i] = entry_read64(cpu, ((cr3 & ~0x1fu) + i * 8) & a20_mask(cpu));
    if ((pdpte[i] & PTE_P) && (pdpte[i] & (PAE_RSVD | PTE_NX | 0x1e6)))
      cpu_raise_error(cpu, EXC_GP, 0);
  }
  memcpy(cpu->pdpte, pdpte, sizeof pdpte);
}

/* --- TLB --- */

static inline uint32_t slot(uint32_t la) { return (la >> 12) * 2; }

static bool page_is_watched(const struct cpu *cpu, uint32_t la) {
  if (!cpu->debug_data)
    return false;
  for (int i = 0; i < 4; i++)
    if ((cpu->dr[7] >> (i * 2) & 3) && (cpu->dr[i] ^ la) >> 12 == 0)
      return true;
  return false;
}

#define CHUNK_LOCAL 1
#define CHUNK_GLOBAL 2

static void tlb_record(struct cpu *cpu, uint32_t la, bool global) {
  uint32_t *count = global ? &cpu->tlb_used_global_count : &cpu->tlb_used_count;
  if (*count == TLB_USED_MAX)
    tlb_flush(cpu, false);
  (global ? cpu->tlb_used_global : cpu->tlb_used)[(*count)++] = la >> 12;
  uint8_t *chunk = &cpu->tlb_chunk[la / TLB_CHUNK];
  cpu->tlb_chunk_count += *chunk == 0;
  *chunk |= global ? CHUNK_GLOBAL : CHUNK_LOCAL;
}

/* Programs come and go, each at addresses of its own: give back the host memory of chunks without entries. */
static void tlb_trim(struct cpu *cpu) {
  for (uint32_t c = 0; c < sizeof cpu->tlb_chunk; c++) {
    if (cpu->tlb_chunk[c] != CHUNK_LOCAL && (cpu->tlb_used_global_count || !cpu->tlb_chunk[c]))
      continue;
    for (int t = 0; t < TLB_TABLES; t++)
      madvise(&cpu->tlb[t][slot(c * TLB_CHUNK)], MEM_PAGE, MADV_DONTNEED);
    cpu->tlb_chunk[c] = 0;
    cpu->tlb_chunk_count--;
  }
  cpu->tlb_chunk_limit = cpu->tlb_chunk_count + TLB_CHUNKS_KEPT;
}

/* Most entries of the user's tables stay 0: to store that would cost host memory. */
static inline void tlb_set(uint64_t *entry, uint64_t value) {
  if (*entry != value)
    *entry = value;
}

/* Enter the page of la with every right that needs no further walk. */
static void tlb_fill(struct cpu *cpu, uint32_t la, const struct walk *w) {
  const struct mem_page *p = page_of(cpu, w->pa);
  if (p->read == NULL || page_is_watched(cpu, la))
    return;
  uint32_t i = slot(la);
  uint64_t read = (uint64_t)(uintptr_t)p->read - (la & ~0xfffu);
  if (cpu->tlb[TLB_SUP_READ][i] != read) {
    tlb_record(cpu, la, (w->rights & PTE_G) && (cpu->cr4 & CR4_PGE));
    cpu->tlb[TLB_SUP_READ][i] = read;
    if (w->large)
      cpu->tlb_large[la >> 27] |= 1u << (la >> 22 & 31);
  }
  bool user = (w->rights & PTE_US) && !cpu->align_check;
  tlb_set(&cpu->tlb[TLB_USER_READ][i], user ? read : 0);
  uint64_t write = 0;
  if (p->write && p->flags == 0 && (w->rights & PTE_D))
    write = (uint64_t)(uintptr_t)p->write - (la & ~0xfffu);
  bool writable = (w->rights & PTE_RW) != 0;
  tlb_set(&cpu->tlb[TLB_SUP_WRITE][i], writable || !(cpu->cr0 & CR0_WP) ? write : 0);
  tlb_set(&cpu->tlb[TLB_USER_WRITE][i], user && writable ? write : 0);
  cpu->stat.tlb_fills++;
}

/* --- pages of devices, which the TLB cannot hold --- */

static inline uint64_t io_key(const struct cpu *cpu, uint32_t la, uint32_t access) {
  return (cpu->io_generation + 1) << 24 | (la >> 12) << 2 | (access & (PF_WRITE | PF_USER)) >> 1;
}

static inline unsigned io_slot(uint32_t la, uint32_t access) {
  return (la >> 12 ^ (access & PF_WRITE) << 2) & (IO_PAGES - 1);
}

/* Did a walk for this kind of access lead to a device? */
static inline bool io_page_known(const struct cpu *cpu, uint32_t la, uint32_t access) {
  return cpu->io_page[io_slot(la, access)].key == io_key(cpu, la, access);
}

static void io_page_note(struct cpu *cpu, uint32_t la, uint32_t access, uint32_t pa) {
  unsigned i = io_slot(la, access);
  cpu->io_page[i].key = io_key(cpu, la, access);
  cpu->io_page[i].pa = pa & ~0xfffu;
}

/* Translate, fill the TLB, and give the host byte for this kind of access (NULL: not plain memory). */
static uint8_t *lookup_slow(struct cpu *cpu, uint32_t la, uint32_t access, uint32_t *pa) {
  struct walk w;
  if (!(access & PF_FETCH) && io_page_known(cpu, la, access)) {
    *pa = cpu->io_page[io_slot(la, access)].pa | (la & 0xfff);
    return NULL;
  }
  walk_or_raise(cpu, la, access, &w, true);
  *pa = w.pa;
  const struct mem_page *p = page_of(cpu, w.pa);
  if (!p->read && !p->write && !(access & PF_FETCH))
    io_page_note(cpu, la, access, w.pa);
  tlb_fill(cpu, la, &w);
  if (page_is_watched(cpu, la))
    return NULL;
  if (!(access & PF_WRITE))
    return p->read ? p->read + (la & 0xfff) : NULL;
  return p->write && p->flags == 0 ? p->write + (la & 0xfff) : NULL;
}

uint8_t *tlb_lookup(struct cpu *cpu, uint32_t la, uint32_t access) {
  uint32_t pa;
  if (!(access & PF_FETCH)) {
    int table = (access & PF_USER ? TLB_USER_READ : TLB_SUP_READ) + (access & PF_WRITE ? 1 : 0);
    uint64_t addend = cpu->tlb[table][slot(la)];
    if (addend)
      return (uint8_t *)(uintptr_t)(addend + la);
  }
  return lookup_slow(cpu, la, access, &pa);
}

bool tlb_io_page(const struct cpu *cpu, uint32_t la, uint32_t access, uint32_t *pa) {
  if (!io_page_known(cpu, la, access))
    return false;
  *pa = cpu->io_page[io_slot(la, access)].pa | (la & 0xfff);
  return true;
}

static void clear_entry(struct cpu *cpu, uint32_t page) {
  uint32_t i = page * 2;
  for (int t = 0; t < TLB_TABLES; t++)
    if (cpu->tlb[t][i])
      cpu->tlb[t][i] = 0;
}

void tlb_flush(struct cpu *cpu, bool keep_global) {
  for (uint32_t i = 0; i < cpu->tlb_used_count; i++)
    clear_entry(cpu, cpu->tlb_used[i] & 0xfffff);
  cpu->tlb_used_count = 0;
  cpu->io_generation++;
  if (!keep_global) {
    for (uint32_t i = 0; i < cpu->tlb_used_global_count; i++)
      clear_entry(cpu, cpu->tlb_used_global[i] & 0xfffff);
    cpu->tlb_used_global_count = 0;
    memset(cpu->tlb_large, 0, sizeof cpu->tlb_large);
  }
  if (cpu->tlb_chunk_count > cpu->tlb_chunk_limit)
    tlb_trim(cpu);
  cpu->fetch_page = 0;
  cpu->stat.tlb_flushes++;
  if (cpu->on_tlb_flush)
    cpu->on_tlb_flush(cpu, keep_global);
}

void tlb_flush_page(struct cpu *cpu, uint32_t la) {
  cpu->io_generation++;
  if (cpu->tlb_large[la >> 27] >> (la >> 22 & 31) & 1) {
    uint32_t first = la >> 22 << 10;
    for (uint32_t page = first; page < first + 1024; page++)
      clear_entry(cpu, page);
    cpu->tlb_large[la >> 27] &= ~(1u << (la >> 22 & 31));
    cpu->fetch_page = 0;
    if (cpu->on_tlb_flush)
      cpu->on_tlb_flush(cpu, false);
    return;
  }
  clear_entry(cpu, la >> 12);
  cpu->fetch_page = 0;
  if (cpu->on_tlb_flush_page)
    cpu->on_tlb_flush_page(cpu, la);
}

static void protect_entries(struct cpu *cpu, const uint32_t *pages, uint32_t count, const uint8_t *host_page) {
  for (uint32_t n = 0; n < count; n++) {
    uint32_t i = pages[n] * 2;
    uint64_t addend = (uint64_t)(uintptr_t)host_page - ((uint64_t)pages[n] << 12);
    if (cpu->tlb[TLB_SUP_WRITE][i] == addend)
      cpu->tlb[TLB_SUP_WRITE][i] = 0;
    if (cpu->tlb[TLB_USER_WRITE][i] == addend)
      cpu->tlb[TLB_USER_WRITE][i] = 0;
  }
}

void tlb_protect_host_page(struct cpu *cpu, const uint8_t *host_page) {
  protect_entries(cpu, cpu->tlb_used, cpu->tlb_used_count, host_page);
  protect_entries(cpu, cpu->tlb_used_global, cpu->tlb_used_global_count, host_page);
  if (cpu->on_protect)
    cpu->on_protect(cpu, host_page);
}

static void protect_entries_of(struct cpu *cpu, const uint32_t *pages, uint32_t count, uint64_t host, uint64_t size) {
  for (uint32_t n = 0; n < count; n++) {
    uint64_t i = pages[n] * 2ull, la = (uint64_t)pages[n] << 12;
    if (cpu->tlb[TLB_SUP_WRITE][i] && cpu->tlb[TLB_SUP_WRITE][i] + la - host < size)
      cpu->tlb[TLB_SUP_WRITE][i] = 0;
    if (cpu->tlb[TLB_USER_WRITE][i] && cpu->tlb[TLB_USER_WRITE][i] + la - host < size)
      cpu->tlb[TLB_USER_WRITE][i] = 0;
  }
}

void tlb_protect_host_range(struct cpu *cpu, const uint8_t *host, uint64_t size) {
  uint64_t first = (uint64_t)(uintptr_t)host & ~(uint64_t)(MEM_PAGE - 1), end = (uint64_t)(uintptr_t)host + size;
  protect_entries_of(cpu, cpu->tlb_used, cpu->tlb_used_count, first, end - first);
  protect_entries_of(cpu, cpu->tlb_used_global, cpu->tlb_used_global_count, first, end - first);
  for (uint64_t page = first; cpu->on_protect && page < end; page += MEM_PAGE)
    cpu->on_protect(cpu, (const uint8_t *)(uintptr_t)page);
}

/* --- accesses --- */

static inline uint32_t access_of(bool write, bool user) {
  return (write ? PF_WRITE : 0) | (user ? PF_USER : 0);
}

static void slow_checks(struct cpu *cpu, uint32_t la, unsigned size, bool write, bool user) {
  if (user && cpu->align_check && (la & (size - 1)))
    cpu_raise_error(cpu, EXC_AC, 0);
  if (cpu->debug_data)
    debug_check_access(cpu, la, size, write);
}

/* What goes to a device at once: an operand as it is, of longer or odd blocks the aligned double words. */
static unsigned bus_piece(uint32_t pa, unsigned size) {
  if (size == 2 || size == 4 || size == 8)
    return size;
  return size >= 4 && (pa & 3) == 0 ? 4 : 1;
}

/* So many bytes, 1, 2, 4 or 8; cheaper than a memcpy of a size that the compiler doesn't know. */
static inline uint64_t load_bytes(const uint8_t *from, unsigned n) {
  uint64_t value = 0;
  switch (n) {
  case 1: return *from;
  case 2: memcpy(&value, from, 2); return value;
  case 4: memcpy(&value, from, 4); return value;
  default: memcpy(&value, from, 8); return value;
  }
}

/* Bytes of one page, by physical address. */
static void phys_read(struct cpu *cpu, uint32_t pa, uint8_t *buf, unsigned size) {
  const struct mem_page *p = page_of(cpu, pa);
  if (p->read) {
    memcpy(buf, p->read + (pa & 0xfff), size);
    return;
  }
  while (size > 0) {
    unsigned n = bus_piece(pa, size);
    uint64_t value = mem_read(cpu->machine->mem, pa, (int)n);
    memcpy(buf, &value, n);
    buf += n, pa += n, size -= n;
  }
}

static void phys_write(struct cpu *cpu, uint32_t pa, const uint8_t *buf, unsigned size) {
  const struct mem_page *p = page_of(cpu, pa);
  if (p->write && p->flags == 0) {
    memcpy(p->write + (pa & 0xfff), buf, size);
    return;
  }
  while (size > 0) {
    unsigned n = bus_piece(pa, size);
    uint64_t value = load_bytes(buf, n);
    mem_write(cpu->machine->mem, pa, (int)n, value);
    buf += n, pa += n, size -= n;
  }
}

static inline unsigned bytes_in_page(uint32_t la, unsigned size) {
  unsigned room = 0x1000 - (la & 0xfff);
  return size < room ? size : room;
}

void linear_read_block(struct cpu *cpu, uint32_t la, void *buf, unsigned size, bool user) {
  uint32_t access = access_of(false, user);
  unsigned first = bytes_in_page(la, size);
  uint32_t pa1 = 0, pa0 = 0;
  /* Translate all before the first read: a read of MMIO has effects. */
  const uint8_t *host0 = lookup_slow(cpu, la, access, &pa0);
  const uint8_t *host1 = first < size ? lookup_slow(cpu, la + first, access, &pa1) : NULL;
  if (cpu->debug_data)
    debug_check_access(cpu, la, size, false);
  if (host0)
    memcpy(buf, host0, first);
  else
    phys_read(cpu, pa0, buf, first);
  if (first == size)
    return;
  if (host1)
    memcpy((uint8_t *)buf + first, host1, size - first);
  else
    phys_read(cpu, pa1, (uint8_t *)buf + first, size - first);
}

void linear_write_block(struct cpu *cpu, uint32_t la, const void *buf, unsigned size, bool user) {
  uint32_t access = access_of(true, user);
  unsigned first = bytes_in_page(la, size);
  uint32_t pa0 = 0, pa1 = 0;
  if (first < size) /* no A or D bit may change if the second page faults */
    linear_check_write(cpu, la, size, user);
  lookup_slow(cpu, la, access, &pa0);
  if (first < size)
    lookup_slow(cpu, la + first, access, &pa1);
  if (cpu->debug_data)
    debug_check_access(cpu, la, size, true);
  phys_write(cpu, pa0, buf, first);
  if (first < size)
    phys_write(cpu, pa1, (const uint8_t *)buf + first, size - first);
}

void linear_check_write(struct cpu *cpu, uint32_t la, unsigned size, bool user) {
  int table = user ? TLB_USER_WRITE : TLB_SUP_WRITE;
  uint32_t access = access_of(true, user);
  struct walk w;
  for (uint32_t done = 0; done < size;) {
    if (cpu->tlb[table][slot(la + done)] == 0 && !io_page_known(cpu, la + done, access))
      walk_or_raise(cpu, la + done, access, &w, false);
    done += bytes_in_page(la + done, size - done);
  }
}

uint64_t linear_read_slow(struct cpu *cpu, uint32_t la, int size, bool user) {
  uint64_t value = 0;
  uint32_t pa;
  if ((la & 0xfff) + (uint32_t)size > 0x1000) {
    linear_read_block(cpu, la, &value, (unsigned)size, user);
    if (cpu->align_check && user)
      cpu_raise_error(cpu, EXC_AC, 0);
    return value;
  }
  const uint8_t *host = lookup_slow(cpu, la, access_of(false, user), &pa);
  if (cpu->align_check || cpu->debug_data)
    slow_checks(cpu, la, (unsigned)size, false, user);
  if (host == NULL)
    return mem_read(cpu->machine->mem, pa, size);
  switch (size) {
  case 1: return *host;
  case 2: memcpy(&value, host, 2); break;
  case 4: memcpy(&value, host, 4); break;
  default: memcpy(&value, host, 8); break;
  }
  return value;
}

void linear_write_slow(struct cpu *cpu, uint32_t la, int size, uint64_t value, bool user) {
  uint32_t pa;
  if ((la & 0xfff) + (uint32_t)size > 0x1000) {
    if (cpu->align_check && user) {
      linear_check_write(cpu, la, (unsigned)size, user);
      cpu_raise_error(cpu, EXC_AC, 0);
    }
    linear_write_block(cpu, la, &value, (unsigned)size, user);
    return;
  }
  uint8_t *host = lookup_slow(cpu, la, access_of(true, user), &pa);
  if (cpu->align_check || cpu->debug_data)
    slow_checks(cpu, la, (unsigned)size, true, user);
  if (host == NULL) {
    mem_write(cpu->machine->mem, pa, size, value);
    return;
  }
  switch (size) {
  case 1: *host = (uint8_t)value; break;
  case 2: memcpy(host, &value, 2); break;
  case 4: memcpy(host, &value, 4); break;
  default: memcpy(host, &value, 8); break;
  }
}

/* --- instruction fetch --- */

/* Host page for fetches at la, cached until the next flush; NULL: MMIO, *pa is its address. */
static const uint8_t *fetch_page(struct cpu *cpu, uint32_t la, uint32_t *pa) {
  uint32_t key = (la & ~0xfffu) | (cpu->cpl == 3) | 2;
  if (cpu->fetch_page == key)
    return cpu->fetch_host;
  const uint8_t *host = lookup_slow(cpu, la, PF_FETCH | (cpu->cpl == 3 ? PF_USER : 0), pa);
  if (host == NULL) {
    const struct mem_page *p = page_of(cpu, *pa);
    host = p->read ? p->read + (la & 0xfff) : NULL;
  }
  if (host == NULL)
    return NULL;
  cpu->fetch_page = key;
  cpu->fetch_host = host - (la & 0xfff);
  return cpu->fetch_host;
}

static void fetch_bytes(struct cpu *cpu, uint32_t la, uint8_t *buf, unsigned size) {
  uint32_t pa = 0;
  const uint8_t *host = fetch_page(cpu, la, &pa);
  if (host)
    memcpy(buf, host + (la & 0xfff), size);
  else
    phys_read(cpu, pa, buf, size);
}

static __attribute__((noinline)) unsigned fetch_slow(struct cpu *cpu, uint8_t buf[15], unsigned need) {
  const struct seg *cs = &cpu->seg[CS];
  uint32_t off = cpu->eip, la = cs->base + off;
  unsigned avail = 15;
  if (off > cs->limit)
    cpu_raise_error(cpu, EXC_GP, 0);
  if (cs->limit - off < 14)
    avail = cs->limit - off + 1;
  if (need > avail && cs->limit != 0xffffffffu)
    cpu_raise_error(cpu, EXC_GP, 0);
  unsigned first = bytes_in_page(la, avail);
  fetch_bytes(cpu, la, buf, first);
  if (need <= first)
    return first;
  if (cs->limit == 0xffffffffu)
    avail = 15; /* flat segments wrap around */
  fetch_bytes(cpu, la + first, buf + first, avail - first);
  return avail;
}

unsigned cpu_fetch(struct cpu *cpu, uint8_t buf[15], unsigned need) {
  const struct seg *cs = &cpu->seg[CS];
  uint32_t off = cpu->eip, la = cs->base + off;
  uint32_t key = (la & ~0xfffu) | (cpu->cpl == 3) | 2;
  if (__builtin_expect(key == cpu->fetch_page && (la & 0xfff) <= 0x1000 - 15 && (uint64_t)off + 14 <= cs->limit, 1)) {
    memcpy(buf, cpu->fetch_host + (la & 0xfff), 15);
    return 15;
  }
  return fetch_slow(cpu, buf, need);
}
