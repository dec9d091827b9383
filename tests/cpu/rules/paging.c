/* SPDX-License-Identifier: MIT */
/*
 * Page tables bit by bit: present, writable, user and no-execute at both levels, under WP, for every kind of
 * access from ring 0 and ring 3, with 4 KB, 4 MB and 2 MB pages; error codes, CR2, accessed and dirty bits,
 * reserved bits, and operands that cross into a page with fewer rights (SDM vol. 3, 4.3 to 4.8).
 */
#include "tests/cpu/rules/rules.h"

#define PAGE_DIR 0x100000u
#define TABLE_LOW 0x101000u /* identity, user, writable */
#define TABLE_TEST 0x102000u
#define PDPT 0x110000u
#define PAE_DIR 0x111000u
#define PAE_LOW 0x112000u /* four tables' worth: 8 MB as 2 MB pages */
#define PAE_DIR_TEST 0x116000u
#define PAE_TABLE_TEST 0x117000u
#define LA 0x40000000u  /* the page under test */
#define FRAME 0x400000u /* behind it: code that ends at once, and data */

#define P 1u
#define RW 2u
#define US 4u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define NX (1ull << 63)

enum format { FLAT4K, FLAT4M, PAE4K, PAE2M, FORMATS };
static const char *const format_names[] = {"4K", "4M", "PAE 4K", "PAE 2M"};
static bool is_pae(enum format f) { return f >= PAE4K; }
static bool is_large(enum format f) { return f == FLAT4M || f == PAE2M; }

enum kind { READ, WRITE, MODIFY, PUSH, FETCH, KINDS };
static const char *const kind_names[] = {"read", "write", "modify", "push", "fetch"};
static const uint8_t kind_code[KINDS][4] = {
    {0x8b, 0x06, 0xcc},                                         /* mov eax, [esi] */
    {0x89, 0x06, 0xcc}, {0x01, 0x06, 0xcc}, {0x8b, 0x06, 0xcc}, /* PUSH: made below */
    {0xff, 0xe6, 0xcc},                                         /* jmp esi */
};
#define AT(k) (CODE + 32 * (uint32_t)(k))

/* Tables with everything open but the entries for LA. */
static void tables(struct bed *b) {
  put_zero(b, PAGE_DIR, 0x1000);
  put_zero(b, TABLE_TEST, 0x1000);
  for (uint32_t i = 0; i < 1024; i++)
    put32(b, TABLE_LOW + 4 * i, i << 12 | P | RW | US | A | D);
  put32(b, PAGE_DIR, TABLE_LOW | P | RW | US | A);
  put32(b, PAGE_DIR + 4, FRAME | P | RW | US | A | D | PS); /* the frame itself, at its own address */
  put_zero(b, PDPT, 32);
  put_zero(b, PAE_DIR, 0x1000);
  put_zero(b, PAE_DIR_TEST, 0x1000);
  put_zero(b, PAE_TABLE_TEST, 0x1000);
  put64(b, PDPT, PAE_DIR | P);
  put64(b, PDPT + 8, PAE_DIR_TEST | P);
  for (uint32_t i = 0; i < 4; i++)
    put64(b, PAE_DIR + 8 * i, i << 21 | P | RW | US | A | D | PS);
}

static uint32_t entry_at(enum format f, bool directory) {
  if (directory)
    return is_pae(f) ? PAE_DIR_TEST : PAGE_DIR + 4 * (LA >> 22);
  return is_pae(f) ? PAE_TABLE_TEST : TABLE_TEST;
}

/* Entries for LA and for the page behind it. */
static void put_entry(struct bed *b, enum format f, bool directory, unsigned n, uint64_t value) {
  uint32_t at = entry_at(f, directory) + n * (is_pae(f) ? 8 : 4);
  if (is_pae(f))
    put64(b, at, value);
  else
    put32(b, at, (uint32_t)value);
}

static void map(struct bed *b, enum format f, uint64_t pde, uint64_t pte) {
  if (is_large(f)) {
    put_entry(b, f, true, 0, pde | FRAME | PS);
    return;
  }
  put_entry(b, f, true, 0, pde | (is_pae(f) ? PAE_TABLE_TEST : TABLE_TEST));
  put_entry(b, f, false, 0, pte | FRAME);
}

static void turn_on(struct bed *b, enum format f, bool wp, bool nxe) {
  bed_control(b, CR0_PG | (wp ? CR0_WP : 0), is_pae(f) ? PDPT : PAGE_DIR,
              CR4_OSFXSR | CR4_PSE | (is_pae(f) ? CR4_PAE : 0), nxe ? EFER_NXE : 0);
}

static struct outcome access_page(struct bed *b, enum kind k, uint32_t la) {
  b->cpu->gpr[ESI] = la;
  b->cpu->gpr[EAX] = 0;
  if (k == PUSH) {
    b->cpu->gpr[ESP] = la + 4;
    return run(b, AT(PUSH));
  }
  return run(b, AT(k));
}

/* --- rights --- */

struct rights {
  enum format format;
  enum kind kind;
  uint32_t pde, pte; /* P, RW, US */
  bool pde_nx, pte_nx, wp, user;
};

/* The error code, or -1 if the access is allowed. */
static int rule(const struct rights *r) {
  bool large = is_large(r->format), write = r->kind == WRITE || r->kind == MODIFY || r->kind == PUSH;
  uint32_t both = large ? r->pde : r->pde & r->pte;
  bool nx = r->pde_nx || (!large && r->pte_nx);
  int error = (write ? 2 : 0) | (r->user ? 4 : 0) | (r->kind == FETCH && is_pae(r->format) ? 16 : 0);
  if (!(both & P))
    return error;
  if ((r->user && !(both & US)) || (write && !(both & RW) && (r->user || r->wp)) || (r->kind == FETCH && nx))
    return error | 1;
  return -1;
}

static void check_bits(struct bed *b, const struct rights *r, bool allowed) {
  bool write = r->kind != READ && r->kind != FETCH;
  uint32_t pde = get32(b, entry_at(r->format, true)), pte = get32(b, entry_at(r->format, false));
  uint32_t last = is_large(r->format) ? pde : pte;
  verdict(b, !(last & A) == !allowed, "%s %s: accessed bit %x", format_names[r->format], kind_names[r->kind],
          last);
  verdict(b, !(last & D) == !(allowed && write), "%s %s: dirty bit %x", format_names[r->format],
          kind_names[r->kind], last);
  if (!is_large(r->format) && allowed)
    verdict(b, (pde & (A | D)) == A, "%s: directory entry %x", format_names[r->format], pde);
}

static void rights(struct bed *b, const struct rights *r) {
  bed_ring(b, r->user ? 3 : 0);
  map(b, r->format, r->pde | (r->pde_nx ? NX : 0), r->pte | (r->pte_nx ? NX : 0));
  put8(b, FRAME, 0xcc); /* INT3, for the fetch */
  turn_on(b, r->format, r->wp, true);
  struct outcome o = access_page(b, r->kind, LA);
  int error = rule(r);
  expect(b, &o, error < 0 ? END : EXC_PF, (uint32_t)error, "%s %s: PDE %x%s PTE %x%s WP %d CPL %d",
         format_names[r->format], kind_names[r->kind], r->pde, r->pde_nx ? " NX" : "", r->pte,
         r->pte_nx ? " NX" : "", r->wp, r->user ? 3 : 0);
  if (o.vector != (error < 0 ? END : EXC_PF))
    return;
  if (error >= 0)
    verdict(b, b->cpu->cr2 == LA && o.eip == (r->kind == FETCH ? LA : AT(r->kind)), "CR2 %08x EIP %08x",
            b->cpu->cr2, o.eip);
  check_bits(b, r, error < 0);
}

static void all_rights(struct bed *b) {
  struct rights r;
  for (r.format = 0; r.format < FORMATS; r.format++)
    for (unsigned bits = 0; bits < 1024; bits++) {
      r.pde = bits & 7;
      r.pte = bits >> 3 & 7;
      r.wp = bits >> 6 & 1;
      r.user = bits >> 7 & 1;
      r.pde_nx = bits >> 8 & 1;
      r.pte_nx = bits >> 9 & 1;
      if (!is_pae(r.format) && bits >> 8)
        break;
      for (r.kind = 0; r.kind < KINDS; r.kind++)
        if (r.user || r.kind != PUSH) /* in ring 0 a fault's frame would go to the same page */
          rights(b, &r);
    }
}

/* --- reserved bits --- */

/* Bits 62:36 of PAE entries are beyond the physical address; NX is reserved while EFER.NXE is clear. */
static bool is_reserved(enum format f, bool directory, unsigned bit, bool nxe) {
  if (bit == 63)
    return !nxe;
  if (bit >= 36)
    return true;
  if (!directory || !is_large(f))
    return false;
  return f == FLAT4M ? bit >= 17 && bit <= 21 : bit >= 13 && bit <= 20;
}

static void reserved_bits(struct bed *b) {
  for (enum format f = 0; f < FORMATS; f++)
    for (unsigned directory = 0; directory < 2; directory++)
      for (unsigned bit = 9; bit < (is_pae(f) ? 64u : 32u); bit++)
        for (unsigned nxe = 0; nxe < 2; nxe++) {
          bool reserved = is_reserved(f, directory, bit, nxe);
          bool address = !reserved && bit >= 12 && bit != 63 && !(f == FLAT4M && bit == 12) &&
                         !(f == PAE2M && bit == 12);
          if (address || (!directory && is_large(f)))
            continue; /* leads elsewhere */
          bed_ring(b, 3);
          map(b, f, P | RW | US | (directory ? 1ull << bit : 0), P | RW | US | (directory ? 0 : 1ull << bit));
          turn_on(b, f, true, nxe);
          struct outcome o = access_page(b, READ, LA);
          expect(b, &o, reserved ? EXC_PF : END, 0xd, "%s: bit %u of the %s, NXE %u", format_names[f], bit,
                 directory ? "directory" : "table", nxe);
        }
}

/* PDPTEs are checked when CR3 is loaded: bits 1, 2, 5-8 and those beyond the physical address. */
static void pdptes(struct bed *b) {
  static const uint8_t code[] = {0x0f, 0x22, 0xd8, 0xcc}; /* mov cr3, eax */
  uint32_t at = CODE + 0x200;
  put_code(b, at, code, sizeof code);
  for (unsigned n = 0; n < 4; n++)
    for (unsigned bit = 0; bit < 64; bit++)
      for (unsigned present = 0; present < 2; present++) {
        bed_ring(b, 0);
        tables(b);
        turn_on(b, PAE4K, false, true);
        put64(b, PDPT + 8 * n,
              (n == 0   ? PAE_DIR
               : n == 1 ? PAE_DIR_TEST
                        : 0) |
                  present | (bit ? 1ull << bit : 0));
        b->cpu->gpr[EAX] = PDPT;
        bool bad = present && (bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 36);
        if (n == 0 && !bad && (!present || bit >= 12))
          continue; /* the code would be gone */
        struct outcome o = run(b, at);
        expect(b, &o, bad ? EXC_GP : END, 0, "PDPTE %u, bit %u, P %u", n, bit, present);
      }
  tables(b);
}

/* --- crossing --- */

/* Two pages with rights of their own; the operand lies `before` bytes in the first. */
static void crossing(struct bed *b, enum format f, enum kind k, uint32_t first, uint32_t second,
                     uint32_t before) {
  struct rights one = {f, k, P | RW | US, first, false, false, true, true}, two = one;
  two.pte = second;
  bed_ring(b, 3);
  map(b, f, P | RW | US, first);
  put_entry(b, f, false, 1, second | (FRAME + 0x1000));
  put_zero(b, FRAME + 0xff0, 0x20);
  turn_on(b, f, true, true);
  if (k == FETCH) /* MOV EAX, imm32; INT3, from here across the end */
    put(b, FRAME + 0x1000 - before, (uint8_t[]){0xb8, 1, 2, 3, 4, 0xcc}, 6);
  uint32_t la = LA + 0x1000 - before;
  struct outcome o = access_page(b, k, la);
  int error = rule(&one);
  uint32_t cr2 = la;
  if (error < 0) {
    error = rule(&two);
    cr2 = LA + 0x1000;
  }
  expect(b, &o, error < 0 ? END : EXC_PF, (uint32_t)error, "%s %s: pages %x and %x, %u bytes before the end",
         format_names[f], kind_names[k], first, second, before);
  if (error < 0 || o.vector != EXC_PF)
    return;
  verdict(b, b->cpu->cr2 == cr2, "%s across pages: CR2 %08x, not %08x", kind_names[k], b->cpu->cr2, cr2);
  if (k == FETCH)
    return;
  for (uint32_t i = 0; i < 8; i += 4)
    verdict(b, get32(b, FRAME + 0xffc + i) == 0, "%s across pages: a part was written", kind_names[k]);
  uint32_t at = entry_at(f, false);
  verdict(b, !(get32(b, at) & D), "%s across pages: the first page is dirty", kind_names[k]);
}

static void all_crossings(struct bed *b) {
  for (unsigned pae = 0; pae < 2; pae++)
    for (enum kind k = 0; k < KINDS; k++)
      for (uint32_t first = 0; first < 8; first++)
        for (uint32_t second = 0; second < 8; second++)
          for (uint32_t before = 1; before < 4; before++)
            crossing(b, pae ? PAE4K : FLAT4K, k, first, second, before);
}

/* --- caching --- */

/* An entry made present, or given more rights that a fault asks for, works with no INVLPG: nothing caches
 * absence. */
static void no_invlpg(struct bed *b) {
  for (enum format f = 0; f < FORMATS; f++)
    for (enum kind k = 0; k < KINDS; k++)
      for (uint32_t from = 0; from < 8; from++) {
        uint32_t open = P | RW | US;
        struct rights r = {f, k, is_large(f) ? from : open, from, false, false, true, true};
        if (rule(&r) < 0)
          continue;
        bed_ring(b, 3);
        map(b, f, is_large(f) ? from : open, from);
        put8(b, FRAME, 0xcc);
        turn_on(b, f, true, true);
        struct outcome o = access_page(b, k, LA);
        verdict(b, o.vector == EXC_PF, "%s %s: no fault with %x", format_names[f], kind_names[k], from);
        map(b, f, open, open);
        uint32_t cr0 = b->cpu->cr0, cr3 = b->cpu->cr3;
        sigjmp_buf env; /* back to ring 3 as IRET would, and no more than that */
        b->cpu->fault_env = &env;
        for (int i = ES; i <= GS; i++) {
          uint16_t sel = (uint16_t)(i == CS ? R_CODE(3) : R_DATA(3));
          seg_from_desc(&b->cpu->seg[i], sel, (struct desc){0xffff, i == CS ? 0xcffb00 : 0xcff300});
        }
        b->cpu->halted = 0;
        seg_set_cpl(b->cpu, 3);
        verdict(b, cr0 == b->cpu->cr0 && cr3 == b->cpu->cr3, "control registers");
        b->cpu->gpr[ESP] = STACK(3) - 0x100;
        o = access_page(b, k, LA);
        expect(b, &o, END, 0, "%s %s: %x opened without INVLPG", format_names[f], kind_names[k], from);
      }
}

void rules_paging(struct bed *b) {
  for (enum kind k = 0; k < KINDS; k++)
    put_code(b, AT(k), kind_code[k], sizeof kind_code[k]);
  put_code(b, AT(PUSH), (uint8_t[]){0x50, 0xcc}, 2); /* push eax */
  tables(b);
  all_rights(b);
  reserved_bits(b);
  pdptes(b);
  all_crossings(b);
  no_invlpg(b);
}
