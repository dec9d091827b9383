/* SPDX-License-Identifier: MIT */
/* Hardware task switches: JMP, CALL, IRET, interrupts through task gates, 16-bit TSS, faults (SDM vol. 3, ch. 7). */
#include "tests/unit/cpu_fixture.h"

#define BUSY(b, sel) ((b)->ram[GDT + (sel) + 5] >> 1 & 1)

static void tss_b(struct bed *b) {
  memset(b->ram + TSS_B, 0, 0x68);
  put32(b, TSS_B + 0x20, 0x5000); /* EIP */
  put32(b, TSS_B + 0x24, FL_1 | FL_CF);
  for (unsigned i = 0; i < 8; i++)
    put32(b, TSS_B + 0x28 + i * 4, i * 0x1000);
  put32(b, TSS_B + 0x48, K_DATA); /* ES */
  put32(b, TSS_B + 0x4c, K_CODE);
  put32(b, TSS_B + 0x50, K_DATA); /* SS */
  put32(b, TSS_B + 0x54, K_DATA); /* DS */
  put32(b, TSS_B + 0x60, S_LDT);
}

static struct bed bed_tasks(uint32_t cpl) {
  struct bed b = bed_protected(cpl);
  tss_b(&b);
  b.cpu->gpr[EBX] = 0xbbbb;
  return b;
}

START_TEST(test_jump) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  ck_ok(c, far_jump(c, S_TSS_B, 0, 4, 0x4007));
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_B);
  ck_assert_uint_eq(c->eip, 0x5000);
  ck_assert_uint_eq(c->gpr[ECX], 0x1000);
  ck_assert_uint_eq(c->eflags, FL_1 | FL_CF);
  ck_assert_uint_eq(c->seg[LDTR].base, LDT_BASE);
  ck_assert_uint_eq(c->seg[FS].sel, 0);
  ck_assert_uint_eq(c->cr0 & CR0_TS, CR0_TS);
  ck_assert_int_eq(BUSY(&b, S_TSS_A), 0);
  ck_assert_int_eq(BUSY(&b, S_TSS_B), 1);
  ck_assert_uint_eq(get32(&b, TSS_A + 0x20), 0x4007);
  ck_assert_uint_eq(get32(&b, TSS_A + 0x34), 0xbbbb); /* EBX */
  ck_assert_uint_eq(get32(&b, TSS_A + 0x4c), K_CODE);
  ck_fault(c, EXC_GP, S_TSS_B, far_jump(c, S_TSS_B, 0, 4, 0)); /* busy */
  bed_free(&b);
}
END_TEST

START_TEST(test_call_and_return) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  ck_ok(c, far_call(c, S_TASK_GATE, 0, 4, 0x4007));
  ck_assert_uint_eq(c->eflags & FL_NT, FL_NT);
  ck_assert_uint_eq(get16(&b, TSS_B), S_TSS_A);
  ck_assert_int_eq(BUSY(&b, S_TSS_A), 1);
  ck_assert_int_eq(BUSY(&b, S_TSS_B), 1);
  c->next_eip = 0x5001;
  ck_ok(c, far_iret(c, 4));
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_A);
  ck_assert_uint_eq(c->eip, 0x4007);
  ck_assert_uint_eq(c->gpr[EBX], 0xbbbb);
  ck_assert_uint_eq(c->eflags & FL_NT, 0);
  ck_assert_int_eq(BUSY(&b, S_TSS_B), 0);
  ck_assert_uint_eq(get32(&b, TSS_B + 0x20), 0x5001);
  ck_assert_uint_eq(get32(&b, TSS_B + 0x24) & FL_NT, 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_interrupt) {
  struct bed b = bed_tasks(3);
  struct cpu *c = b.cpu;
  put_gate(&b, IDT + EXC_DF * 8, S_TSS_B, 0, 0x85, 0);
  put32(&b, TSS_B + 0x38, 0x7800); /* ESP */
  ck_assert_int_eq(FAULT_OF(c, cpu_raise_error(c, EXC_DF, 0)), EXC_DF);
  bed_deliver(&b);
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_B);
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->gpr[ESP], 0x77fc); /* the error code */
  ck_assert_uint_eq(get32(&b, 0x77fc), 0);
  ck_assert_uint_eq(c->eflags & FL_NT, FL_NT);
  ck_assert_uint_eq(get32(&b, TSS_A + 0x20), 0x4000);
  bed_free(&b);
}
END_TEST

START_TEST(test_faults) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  /* In the outgoing task: nothing has changed. */
  put_desc(&b, GDT + S_TSS_B, TSS_B, 0x66, 0x89, 0);
  ck_fault(c, EXC_TS, S_TSS_B, far_jump(c, S_TSS_B, 0, 4, 0x4007));
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_A);
  ck_assert_int_eq(BUSY(&b, S_TSS_A), 1);
  put_desc(&b, GDT + S_TSS_B, TSS_B, 0x67, 0x09, 0);
  ck_fault(c, EXC_NP, S_TSS_B, far_jump(c, S_TSS_B, 0, 4, 0x4007));
  /* In the incoming task: its EIP is what the handler sees. */
  put_desc(&b, GDT + S_TSS_B, TSS_B, 0x67, 0x89, 0);
  put32(&b, TSS_B + 0x54, S_ABSENT);
  ck_fault(c, EXC_NP, S_ABSENT, far_jump(c, S_TSS_B, 0, 4, 0x4007));
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_B);
  ck_assert_uint_eq(c->eip, 0x5000);
  ck_assert_int_eq(BUSY(&b, S_TSS_A), 0);
  bed_free(&b);
  b = bed_tasks(0);
  put32(&b, TSS_B + 0x50, U_DATA);
  ck_fault(b.cpu, EXC_TS, U_DATA & ~3u, far_jump(b.cpu, S_TSS_B, 0, 4, 0x4007));
  bed_free(&b);
  b = bed_tasks(3);
  ck_fault(b.cpu, EXC_GP, S_TSS_B, far_jump(b.cpu, S_TSS_B, 0, 4, 0x4007)); /* DPL 0 */
  bed_free(&b);
}
END_TEST

START_TEST(test_outgoing_page_fault) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  put_desc(&b, GDT + S_TSS_B, 0x50000 - 0x10, 0x67, 0x89, 0); /* across a page end */
  put32(&b, bed_pte(0x50000), 0);
  ck_assert_int_eq(FAULT_OF(c, far_jump(c, S_TSS_B, 0, 4, 0x4007)), EXC_PF);
  ck_assert_uint_eq(c->seg[TR].sel, S_TSS_A);
  ck_assert_int_eq(BUSY(&b, S_TSS_A), 1);
  ck_assert_uint_eq(get32(&b, TSS_A + 0x20), 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_v86_task) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  put32(&b, TSS_B + 0x24, FL_1 | FL_VM);
  put32(&b, TSS_B + 0x4c, 0x1000);
  put32(&b, TSS_B + 0x5c, 0x1234);
  put16(&b, TSS_B + 0x64, 1); /* T */
  ck_ok(c, far_jump(c, S_TSS_B, 0, 4, 0x4007));
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->seg[CS].base, 0x10000);
  ck_assert_uint_eq(c->seg[GS].base, 0x12340);
  ck_assert_uint_eq(c->pending & PEND_TRAP, PEND_TRAP);
  ck_assert_uint_eq(c->trap_dr6, 0x8000);
  bed_free(&b);
}
END_TEST

START_TEST(test_16_bit) {
  struct bed b = bed_tasks(0);
  struct cpu *c = b.cpu;
  put16(&b, TSS_16 + 0x0e, 0x5555);
  put16(&b, TSS_16 + 0x10, FL_ZF);
  put16(&b, TSS_16 + 0x12, 0xabcd); /* AX */
  put16(&b, TSS_16 + 0x22, K_DATA);
  put16(&b, TSS_16 + 0x24, K_CODE16);
  put16(&b, TSS_16 + 0x26, S_STACK16);
  put16(&b, TSS_16 + 0x28, K_DATA);
  ck_ok(c, far_call(c, S_TSS_16, 0, 4, 0x4007));
  ck_assert_uint_eq(c->eip, 0x5555);
  ck_assert_uint_eq(c->gpr[EAX] & 0xffff, 0xabcd);
  ck_assert_uint_eq(c->eflags, FL_1 | FL_ZF | FL_NT);
  ck_assert_uint_eq(c->mode & (MODE_CODE32 | MODE_STACK32), 0);
  c->gpr[ESI] = 0x1357;
  c->next_eip = 0x5556;
  ck_ok(c, far_iret(c, 2));
  ck_assert_uint_eq(c->eip, 0x4007);
  ck_assert_uint_eq(get16(&b, TSS_16 + 0x1e), 0x1357);
  ck_assert_uint_eq(get16(&b, TSS_16 + 0x0e), 0x5556);
  bed_free(&b);
}
END_TEST

Suite *suite_task(void) {
  Suite *s = suite_create("task");
  TCase *t = tcase_create("task");
  tcase_add_test(t, test_jump);
  tcase_add_test(t, test_call_and_return);
  tcase_add_test(t, test_interrupt);
  tcase_add_test(t, test_faults);
  tcase_add_test(t, test_outgoing_page_fault);
  tcase_add_test(t, test_v86_task);
  tcase_add_test(t, test_16_bit);
  suite_add_tcase(s, t);
  return s;
}
