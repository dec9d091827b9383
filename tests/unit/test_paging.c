/* SPDX-License-Identifier: MIT */
/* Page walks, fault codes, accessed and dirty bits, the TLB, accesses across pages (SDM vol. 3, ch. 4). */
#include "tests/unit/cpu_fixture.h"

START_TEST(test_4k) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  put32(&b, bed_pte(0x5000), 0x77000 | 7);
  ck_ok(c, ck_assert_uint_eq(paging_translate(c, 0x5123, 0), 0x77123));
  ck_assert_uint_eq(get32(&b, bed_pte(0x5000)), 0x77027);
  ck_assert_uint_eq(get32(&b, PAGE_DIR) & 0x60, 0x20);
  ck_ok(c, paging_translate(c, 0x5123, PF_WRITE | PF_USER));
  ck_assert_uint_eq(get32(&b, bed_pte(0x5000)), 0x77067);
  bed_free(&b);
}
END_TEST

START_TEST(test_fault_codes) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  put32(&b, bed_pte(0x5000), 0x5000 | 6); /* absent */
  put32(&b, bed_pte(0x6000), 0x6000 | 5); /* user, read-only */
  put32(&b, bed_pte(0x7000), 0x7000 | 3); /* supervisor */
  ck_fault(c, EXC_PF, 0, linear_read(c, 0x5010, 4, false));
  ck_assert_uint_eq(c->cr2, 0x5010);
  ck_fault(c, EXC_PF, PF_USER, linear_read(c, 0x5010, 4, true));
  ck_fault(c, EXC_PF, PF_USER | PF_WRITE, linear_write(c, 0x5010, 4, 0, true));
  ck_fault(c, EXC_PF, PF_USER | PF_WRITE | PF_PRESENT, linear_write(c, 0x6000, 4, 0, true));
  ck_fault(c, EXC_PF, PF_USER | PF_PRESENT, linear_read(c, 0x7ffc, 4, true));
  ck_ok(c, linear_read(c, 0x7ffc, 4, false));
  /* The second page decides; CR2 is its first byte. */
  ck_fault(c, EXC_PF, PF_USER | PF_PRESENT, linear_read(c, 0x6ffe, 4, true));
  ck_assert_uint_eq(c->cr2, 0x7000);
  ck_assert_uint_eq(get32(&b, bed_pte(0x6000)) & 0x40, 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_write_protect) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 5);
  ck_ok(c, linear_write(c, 0x6000, 4, 0x12345678, false));
  ck_assert_uint_eq(get32(&b, 0x6000), 0x12345678);
  control_set_cr0(c, c->cr0 | CR0_WP);
  ck_fault(c, EXC_PF, PF_WRITE | PF_PRESENT, linear_write(c, 0x6000, 4, 0, false));
  put32(&b, bed_pte(0x6000), 0x6007);
  ck_ok(c, linear_write(c, 0x6000, 4, 1, false)); /* a fault never fills the TLB */
  /* The directory entry's rights count too. */
  put32(&b, PAGE_DIR, (PAGE_DIR + 0x1000) | 5);
  tlb_flush(c, false);
  ck_fault(c, EXC_PF, PF_WRITE | PF_PRESENT, linear_write(c, 0x6000, 4, 0, false));
  bed_free(&b);
}
END_TEST

START_TEST(test_cross_page_write) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  put32(&b, bed_pte(0x7000), 0);
  put32(&b, 0x6ffc, 0xaaaaaaaa);
  ck_fault(c, EXC_PF, PF_WRITE, linear_write(c, 0x6ffe, 4, 0, false));
  ck_assert_uint_eq(c->cr2, 0x7000);
  ck_assert_uint_eq(get32(&b, 0x6ffc), 0xaaaaaaaa); /* nothing was stored */
  ck_assert_uint_eq(get32(&b, bed_pte(0x6000)) & 0x60, 0);
  put32(&b, bed_pte(0x7000), 0x9007);
  ck_ok(c, linear_write(c, 0x6ffe, 4, 0x11223344, false));
  ck_assert_uint_eq(get16(&b, 0x6ffe), 0x3344);
  ck_assert_uint_eq(get16(&b, 0x9000), 0x1122);
  ck_ok(c, ck_assert_uint_eq(linear_read(c, 0x6ffe, 4, false), 0x11223344));
  uint8_t block[24];
  ck_ok(c, linear_read_block(c, 0x6ff0, block, 24, false));
  ck_assert_uint_eq(block[17], 0x11);
  bed_free(&b);
}
END_TEST

START_TEST(test_large_pages) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  put32(&b, PAGE_DIR + 4, 0x00800000 | 0x87);
  ck_ok(c, control_set_cr4(c, CR4_PSE));
  ck_ok(c, ck_assert_uint_eq(paging_translate(c, 0x00412345, PF_WRITE), 0x00812345));
  ck_assert_uint_eq(get32(&b, PAGE_DIR + 4), 0x008000e7);
  ck_ok(c, linear_write(c, 0x00412344, 4, 0xcafe, false));
  ck_assert_uint_eq(get32(&b, 0x812344), 0xcafe);
  /* INVLPG anywhere in a large page drops all of it. */
  ck_ok(c, linear_read(c, 0x00555000, 4, false));
  put32(&b, PAGE_DIR + 4, 0x00c00000 | 0x87);
  tlb_flush_page(c, 0x00400000);
  ck_ok(c, ck_assert_uint_eq(linear_read(c, 0x00412344, 4, false), 0));
  ck_ok(c, ck_assert_ptr_eq(tlb_lookup(c, 0x00555000, 0), b.ram + 0xd55000));
  put32(&b, PAGE_DIR + 8, 0x00200000 | 0x87); /* bit 21 is reserved */
  ck_fault(c, EXC_PF, PF_PRESENT | PF_RSVD, paging_translate(c, 0x00800000, 0));
  bed_free(&b);
}
END_TEST

static void pae_tables(struct bed *b) {
  put64(b, PAGE_DIR, (PAGE_DIR + 0x1000) | 1);
  put64(b, PAGE_DIR + 8, 0);
  put64(b, PAGE_DIR + 16, 0);
  put64(b, PAGE_DIR + 24, 0);
  put64(b, PAGE_DIR + 0x1000, (PAGE_DIR + 0x2000) | 7);
  for (uint32_t i = 0; i < 512; i++)
    put64(b, PAGE_DIR + 0x2000 + i * 8, i << 12 | 7);
}

START_TEST(test_pae) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  pae_tables(&b);
  ck_ok(c, control_set_cr4(c, CR4_PAE));
  ck_ok(c, control_set_cr3(c, PAGE_DIR));
  ck_ok(c, control_set_cr0(c, c->cr0 | CR0_PG | CR0_WP));
  ck_ok(c, ck_assert_uint_eq(paging_translate(c, 0x5123, PF_WRITE), 0x5123));
  ck_assert_uint_eq(get32(&b, PAGE_DIR + 0x2000 + 5 * 8), 0x5067);
  ck_fault(c, EXC_PF, 0, paging_translate(c, 0x40000000, 0));
  put64(&b, PAGE_DIR + 0x1008, 0x00800000 | 0x87);
  ck_ok(c, ck_assert_uint_eq(paging_translate(c, 0x00234567, 0), 0x00834567));
  put64(&b, PAGE_DIR + 0x2000 + 6 * 8, 1ull << 63 | 0x6007); /* NX without NXE is reserved */
  ck_fault(c, EXC_PF, PF_PRESENT | PF_RSVD, paging_translate(c, 0x6000, 0));
  ck_ok(c, msr_write(c, 0xc0000080u, EFER_NXE));
  ck_ok(c, paging_translate(c, 0x6000, 0));
  ck_fault(c, EXC_PF, PF_PRESENT | PF_FETCH, paging_translate(c, 0x6000, PF_FETCH));
  uint8_t buf[15];
  c->eip = 0x6100;
  ck_fault(c, EXC_PF, PF_PRESENT | PF_FETCH, cpu_fetch(c, buf, 1));
  c->eip = 0x5ffd;
  ck_ok(c, ck_assert_uint_eq(cpu_fetch(c, buf, 1), 3));
  ck_fault(c, EXC_PF, PF_PRESENT | PF_FETCH, cpu_fetch(c, buf, 4));
  put64(&b, PAGE_DIR + 0x2000 + 7 * 8, 1ull << 40 | 0x7007);
  ck_fault(c, EXC_PF, PF_PRESENT | PF_RSVD, paging_translate(c, 0x7000, 0));
  put64(&b, PAGE_DIR + 8, 0x1e1); /* reserved bits of a PDPTE */
  ck_fault(c, EXC_GP, 0, control_set_cr3(c, PAGE_DIR));
  bed_free(&b);
}
END_TEST

START_TEST(test_global) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  ck_ok(c, control_set_cr4(c, CR4_PGE));
  put32(&b, bed_pte(0x5000), 0x5107);
  ck_ok(c, linear_read(c, 0x5000, 4, false));
  ck_ok(c, linear_read(c, 0x6000, 4, false));
  put32(&b, bed_pte(0x5000), 0);
  put32(&b, bed_pte(0x6000), 0);
  ck_ok(c, linear_read(c, 0x6000, 4, false)); /* stale until flushed */
  ck_ok(c, control_set_cr3(c, PAGE_DIR));
  ck_ok(c, linear_read(c, 0x5000, 4, false)); /* global survives */
  ck_fault(c, EXC_PF, 0, linear_read(c, 0x6000, 4, false));
  tlb_flush_page(c, 0x5000);
  ck_fault(c, EXC_PF, 0, linear_read(c, 0x5000, 4, false));
  bed_free(&b);
}
END_TEST

START_TEST(test_a20) {
  struct bed b = bed_new("max");
  struct cpu *c = b.cpu;
  put32(&b, 0x10, 0x1111);
  put32(&b, 0x100010, 0x2222);
  ck_ok(c, ck_assert_uint_eq(linear_read(c, 0x100010, 4, false), 0x2222));
  control_set_a20(c, false);
  ck_ok(c, ck_assert_uint_eq(linear_read(c, 0x100010, 4, false), 0x1111));
  ck_ok(c, ck_assert_uint_eq(paging_translate(c, 0x300010, 0), 0x200010));
  control_set_a20(c, true);
  ck_ok(c, ck_assert_uint_eq(linear_read(c, 0x100010, 4, false), 0x2222));
  bed_free(&b);
}
END_TEST

static void touch_pages(struct cpu *cpu, uint32_t la, uint32_t count) {
  sigjmp_buf env;
  cpu->fault_env = &env;
  ck_assert_int_eq(sigsetjmp(env, 0), 0);
  for (uint32_t i = 0; i < count; i++)
    linear_read(cpu, la + (i << 12), 1, false);
  cpu->fault_env = NULL;
}

START_TEST(test_tlb_entries) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  ck_ok(c, linear_read(c, 0x5004, 4, true));
  ck_assert_uint_ne(c->tlb[TLB_USER_READ][10], 0);
  ck_assert_uint_eq(c->tlb[TLB_USER_WRITE][10], 0); /* not dirty */
  ck_assert_uint_eq(c->tlb[TLB_USER_READ][11], 0);
  ck_ok(c, linear_write(c, 0x5004, 4, 1, true));
  ck_assert_uint_ne(c->tlb[TLB_USER_WRITE][10], 0);
  ck_assert_uint_ne(c->tlb[TLB_SUP_WRITE][10], 0);
  tlb_protect_host_page(c, b.ram + 0x5000);
  ck_assert_uint_eq(c->tlb[TLB_USER_WRITE][10] | c->tlb[TLB_SUP_WRITE][10], 0);
  ck_assert_uint_ne(c->tlb[TLB_USER_READ][10], 0);
  tlb_flush(c, false);
  ck_assert_uint_eq(c->tlb[TLB_USER_READ][10] | c->tlb[TLB_SUP_READ][10], 0);
  /* A page of translated code takes no write entry. */
  mem_set_code(b.m->mem, 0x5000, true);
  ck_ok(c, linear_write(c, 0x5004, 4, 2, true));
  ck_assert_uint_eq(c->tlb[TLB_USER_WRITE][10], 0);
  ck_assert_uint_eq(get32(&b, 0x5004), 2);
  /* More pages than the list holds. */
  control_set_cr0(c, c->cr0 & ~CR0_PG);
  for (unsigned i = 0; i < TLB_USED_MAX / 4096 + 1; i++) /* the same 16 MB again and again */
    mem_map_ram(b.m->mem, (1u << 30) + (i << 24), 16 << 20, b.m->ram, 0);
  touch_pages(c, 1 << 30, TLB_USED_MAX + 100);
  ck_assert_uint_le(c->tlb_used_count, 200);
  ck_assert_uint_ne(c->tlb_used_count, 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_data_breakpoint) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, linear_write(c, 0x5004, 4, 1, false));
  ck_ok(c, control_write_dr(c, 1, 0x5006));
  ck_ok(c, control_write_dr(c, 7, 0x00500004 | 0x400)); /* L1, write, two bytes */
  ck_assert_uint_eq(c->mode & MODE_SINGLE, MODE_SINGLE);
  ck_ok(c, linear_read(c, 0x5004, 4, false));
  ck_ok(c, linear_write(c, 0x5004, 2, 1, false));
  ck_assert_uint_eq(c->pending & PEND_TRAP, 0);
  ck_ok(c, linear_write(c, 0x5004, 4, 1, false));
  ck_assert_uint_eq(c->pending & PEND_TRAP, PEND_TRAP);
  ck_assert_uint_eq(c->trap_dr6, 2);
  ck_ok(c, control_write_dr(c, 7, 0x400));
  ck_assert_uint_eq(c->mode & MODE_SINGLE, 0);
  ck_ok(c, linear_write(c, 0x5004, 4, 1, false));
  ck_assert_uint_ne(c->tlb[TLB_SUP_WRITE][10], 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_alignment_check) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  ck_ok(c, linear_read(c, 0x5001, 4, true));
  control_set_cr0(c, c->cr0 | CR0_AM);
  c->cpl = 3; /* control_set_cr0 is ring 0's business */
  ck_ok(c, control_popf(c, FL_AC, 4));
  ck_fault(c, EXC_AC, 0, linear_read(c, 0x5001, 4, true));
  ck_fault(c, EXC_AC, 0, linear_write(c, 0x5fff, 2, 0, true));
  ck_ok(c, linear_read(c, 0x5002, 2, true));
  ck_ok(c, linear_read(c, 0x5001, 4, false));
  bed_free(&b);
}
END_TEST

START_TEST(test_probe) {
  struct bed b = bed_protected(0);
  uint32_t pa = 0;
  bed_paging(&b, 7);
  put32(&b, bed_pte(0x5000), 0x77007);
  ck_assert(paging_probe(b.cpu, 0x5123, &pa));
  ck_assert_uint_eq(pa, 0x77123);
  ck_assert_uint_eq(get32(&b, bed_pte(0x5000)), 0x77007);
  ck_assert(!paging_probe(b.cpu, 0x80000000u, &pa));
  bed_free(&b);
}
END_TEST

Suite *suite_paging(void) {
  Suite *s = suite_create("paging");
  TCase *t = tcase_create("paging");
  tcase_add_test(t, test_4k);
  tcase_add_test(t, test_fault_codes);
  tcase_add_test(t, test_write_protect);
  tcase_add_test(t, test_cross_page_write);
  tcase_add_test(t, test_large_pages);
  tcase_add_test(t, test_pae);
  tcase_add_test(t, test_global);
  tcase_add_test(t, test_a20);
  tcase_add_test(t, test_tlb_entries);
  tcase_add_test(t, test_data_breakpoint);
  tcase_add_test(t, test_alignment_check);
  tcase_add_test(t, test_probe);
  suite_add_tcase(s, t);
  return s;
}
