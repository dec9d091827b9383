/* SPDX-License-Identifier: MIT */
/* Segment loads and limit checks, LAR/LSL/VERR/VERW, far transfers, EFLAGS by privilege, I/O permission. */
#include "tests/unit/cpu_fixture.h"

START_TEST(test_real_mode) {
  struct bed b = bed_new("max");
  struct cpu *c = b.cpu;
  ck_assert_uint_eq(c->seg[CS].base, 0xffff0000u);
  ck_assert_uint_eq(c->eip, 0xfff0);
  ck_ok(c, seg_load(c, DS, 0x1234));
  ck_assert_uint_eq(c->seg[DS].base, 0x12340);
  ck_assert_uint_eq(c->seg[DS].limit, 0xffff);
  put32(&b, 0x12340 + 0xfffc, 0xdeadbeef);
  ck_ok(c, ck_assert_uint_eq(vmem_read(c, DS, 0xfffc, 4), 0xdeadbeef));
  ck_fault(c, EXC_GP, 0, vmem_read(c, DS, 0xfffd, 4));
  ck_fault(c, EXC_SS, 0, vmem_read(c, SS, 0xffff, 2));
  ck_assert_uint_eq(c->mode & (MODE_SEG64K | MODE_PE | MODE_CODE32), MODE_SEG64K);
  bed_free(&b);
}
END_TEST

START_TEST(test_unreal_mode) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, control_set_cr0(c, c->cr0 & ~CR0_PE));
  ck_ok(c, seg_load(c, DS, 0x10));
  ck_assert_uint_eq(c->seg[DS].base, 0x100);
  put32(&b, 0x300100, 0x5555);
  ck_ok(c, ck_assert_uint_eq(vmem_read(c, DS, 0x300000, 4), 0x5555));
  bed_free(&b);
}
END_TEST

START_TEST(test_loads) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, seg_load(c, ES, K_DATA));
  ck_fault(c, EXC_GP, GDT_SIZE, seg_load(c, ES, GDT_SIZE));
  ck_fault(c, EXC_GP, S_TSS_A, seg_load(c, ES, S_TSS_A));
  ck_fault(c, EXC_NP, S_ABSENT, seg_load(c, ES, S_ABSENT));
  ck_fault(c, EXC_GP, 0, seg_load(c, SS, 0));
  ck_fault(c, EXC_GP, U_DATA & ~3u, seg_load(c, SS, U_DATA));
  ck_fault(c, EXC_SS, S_ABSENT, seg_load(c, SS, S_ABSENT));
  ck_fault(c, EXC_GP, S_XONLY & ~3u, seg_load(c, DS, S_XONLY));
  ck_fault(c, EXC_GP, 0x64, seg_load(c, DS, 0x66)); /* no LDT */
  ck_ok(c, seg_load(c, FS, 3)); /* null: allowed, but not usable */
  ck_fault(c, EXC_GP, 0, vmem_read(c, FS, 0, 1));
  ck_ok(c, seg_load(c, ES, S_RDONLY)); /* sets the accessed bit */
  ck_assert_uint_eq(b.ram[GDT + (S_RDONLY & ~7) + 5], 0xf1);
  ck_ok(c, vmem_read(c, ES, 0x5000, 4));
  ck_fault(c, EXC_GP, 0, vmem_write(c, ES, 0x5000, 4, 0));
  bed_ring(&b, 3);
  ck_fault(c, EXC_GP, K_DATA, seg_load(c, DS, K_DATA));
  ck_ok(c, seg_load(c, DS, S_SMALL));
  ck_ok(c, vmem_write(c, DS, 0xfc, 4, 0));
  ck_fault(c, EXC_GP, 0, vmem_write(c, DS, 0xfd, 4, 0));
  bed_free(&b);
}
END_TEST

START_TEST(test_expand_down) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, seg_load(c, ES, S_DOWN)); /* valid from 1000h up */
  ck_fault(c, EXC_GP, 0, vmem_read(c, ES, 0xfff, 1));
  ck_ok(c, vmem_write(c, ES, 0x1000, 4, 0x77));
  ck_assert_uint_eq(get32(&b, 0x101000), 0x77);
  ck_fault(c, EXC_GP, 0, vmem_read(c, ES, 0xffe, 4));
  bed_free(&b);
}
END_TEST

START_TEST(test_ldt) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  put_desc(&b, LDT_BASE + 8, 0x7000, 0xff, 0x93, 0x4);
  ck_fault(c, EXC_GP, K_DATA, seg_lldt(c, K_DATA));
  ck_ok(c, seg_lldt(c, S_LDT));
  ck_ok(c, seg_load(c, DS, 0x0c));
  ck_assert_uint_eq(c->seg[DS].base, 0x7000);
  ck_fault(c, EXC_GP, 0x44, seg_load(c, DS, 0x44)); /* past its limit */
  ck_ok(c, seg_lldt(c, 0));
  ck_fault(c, EXC_GP, 0x0c, seg_load(c, DS, 0x0c));
  ck_fault(c, EXC_GP, S_TSS_A, seg_ltr(c, S_TSS_A)); /* busy */
  ck_assert_uint_eq(b.ram[GDT + S_TSS_A + 5], 0x8b);
  bed_free(&b);
}
END_TEST

START_TEST(test_inspection) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  uint32_t v = 0;
  ck_assert(seg_lar(c, K_CODE, &v));
  ck_assert_uint_eq(v, 0x00cf9b00);
  ck_assert(seg_lsl(c, K_CODE, &v));
  ck_assert_uint_eq(v, 0xffffffffu);
  ck_assert(seg_lsl(c, S_TSS_A, &v));
  ck_assert_uint_eq(v, 0x87);
  ck_assert(seg_lar(c, S_GATE, &v));
  ck_assert(!seg_lsl(c, S_GATE, &v));
  ck_assert(!seg_lar(c, 0, &v));
  ck_assert(seg_verify(c, K_CODE, false));
  ck_assert(!seg_verify(c, K_CODE, true));
  ck_assert(!seg_verify(c, S_XONLY, false));
  bed_ring(&b, 3);
  ck_assert(!seg_lar(c, K_CODE, &v));
  ck_assert(seg_lar(c, S_CONFORMING, &v));
  ck_assert(!seg_verify(c, K_DATA, false));
  ck_assert(seg_verify(c, U_DATA, true));
  bed_free(&b);
}
END_TEST

START_TEST(test_far_jump) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, far_jump(c, K_CODE16, 0x12345, 2, 0));
  ck_assert_uint_eq(c->eip, 0x2345);
  ck_assert_uint_eq(c->mode & MODE_CODE32, 0);
  ck_fault(c, EXC_GP, 0, far_jump(c, K_CODE16, 0x12345, 4, 0)); /* beyond the limit */
  ck_fault(c, EXC_GP, K_DATA, far_jump(c, K_DATA, 0, 4, 0));
  ck_fault(c, EXC_GP, 0, far_jump(c, 2, 0, 4, 0));
  ck_fault(c, EXC_GP, U_CODE & ~3u, far_jump(c, U_CODE, 0, 4, 0));
  bed_ring(&b, 3);
  ck_fault(c, EXC_GP, K_CODE, far_jump(c, K_CODE, 0, 4, 0));
  ck_ok(c, far_jump(c, S_CONFORMING, 0x500, 4, 0));
  ck_assert_uint_eq(c->seg[CS].sel, S_CONFORMING | 3);
  ck_assert_uint_eq(c->cpl, 3);
  bed_ring(&b, 3);
  ck_fault(c, EXC_GP, K_CODE, far_jump(c, S_GATE, 0, 4, 0)); /* JMP never changes the ring */
  bed_free(&b);
}
END_TEST

START_TEST(test_call_gate) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  put32(&b, STACK_USER, 0x11);
  put32(&b, STACK_USER + 4, 0x22);
  ck_ok(c, far_call(c, S_GATE | 3, 0x9999, 4, 0x4007));
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->seg[CS].sel, K_CODE);
  ck_assert_uint_eq(c->eip, 0x1234);
  ck_assert_uint_eq(c->seg[SS].sel, K_DATA);
  ck_assert_uint_eq(c->gpr[ESP], STACK0 - 24);
  ck_assert_uint_eq(get32(&b, STACK0 - 4), U_DATA);
  ck_assert_uint_eq(get32(&b, STACK0 - 8), STACK_USER);
  ck_assert_uint_eq(get32(&b, STACK0 - 12), 0x22);
  ck_assert_uint_eq(get32(&b, STACK0 - 16), 0x11);
  ck_assert_uint_eq(get32(&b, STACK0 - 20), U_CODE);
  ck_assert_uint_eq(get32(&b, STACK0 - 24), 0x4007);
  /* and back, dropping the parameters; ring 0 data segments do not survive */
  ck_ok(c, seg_load(c, FS, K_DATA));
  ck_ok(c, far_return(c, 4, 8));
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->eip, 0x4007);
  ck_assert_uint_eq(c->gpr[ESP], STACK_USER + 8);
  ck_assert_uint_eq(c->seg[SS].sel, U_DATA);
  ck_assert_uint_eq(c->seg[FS].sel, 0);
  ck_assert_uint_eq(c->seg[DS].sel, U_DATA);
  /* A bad stack in the TSS changes nothing. */
  put32(&b, TSS_A + 8, U_DATA);
  ck_fault(c, EXC_TS, U_DATA & ~3u, far_call(c, S_GATE | 3, 0, 4, 0x4007));
  ck_assert_uint_eq(c->gpr[ESP], STACK_USER + 8);
  ck_assert_uint_eq(c->cpl, 3);
  put32(&b, TSS_A + 8, K_DATA);
  put_gate(&b, GDT + S_GATE, K_CODE, 0x1234, 0x8c, 0); /* DPL 0 */
  ck_fault(c, EXC_GP, S_GATE, far_call(c, S_GATE, 0, 4, 0));
  put_gate(&b, GDT + S_GATE, K_CODE, 0x1234, 0x6c, 0); /* not present */
  ck_fault(c, EXC_NP, S_GATE, far_call(c, S_GATE, 0, 4, 0));
  bed_free(&b);
}
END_TEST

START_TEST(test_far_call_return) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  ck_ok(c, far_call(c, K_CODE16, 0x500, 4, 0x4005));
  ck_assert_uint_eq(get32(&b, STACK1 - 4), K_CODE);
  ck_assert_uint_eq(get32(&b, STACK1 - 8), 0x4005);
  ck_ok(c, far_return(c, 4, 0));
  ck_assert_uint_eq(c->seg[CS].sel, K_CODE);
  ck_assert_uint_eq(c->eip, 0x4005);
  ck_assert_uint_eq(c->gpr[ESP], STACK1);
  /* A 16-bit stack wraps within 64 KB and leaves the upper half of ESP alone. */
  ck_ok(c, seg_load(c, SS, S_STACK16));
  c->gpr[ESP] = 0x00120002;
  ck_fault(c, EXC_SS, 0, far_call(c, K_CODE, 0x600, 4, 0x4005)); /* a doubleword would straddle the limit */
  ck_ok(c, far_call(c, K_CODE, 0x600, 2, 0x4005));
  ck_assert_uint_eq(c->gpr[ESP], 0x0012fffe);
  ck_assert_uint_eq(get16(&b, 0), K_CODE);
  ck_assert_uint_eq(get16(&b, 0xfffe), 0x4005);
  bed_free(&b);
}
END_TEST

START_TEST(test_iret_rings) {
  struct bed b = bed_protected(0);
  struct cpu *c = b.cpu;
  c->gpr[ESP] = STACK0 - 20;
  put32(&b, STACK0 - 20, 0x4444);
  put32(&b, STACK0 - 16, U_CODE);
  put32(&b, STACK0 - 12, FL_1 | FL_IF | FL_IOPL | FL_CF);
  put32(&b, STACK0 - 8, STACK_USER);
  put32(&b, STACK0 - 4, U_DATA);
  ck_ok(c, far_iret(c, 4));
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->eip, 0x4444);
  ck_assert_uint_eq(c->gpr[ESP], STACK_USER);
  ck_assert_uint_eq(c->eflags, FL_1 | FL_IF | FL_IOPL | FL_CF);
  ck_assert_uint_eq(c->seg[DS].sel, 0); /* was ring 0 data */
  ck_assert_uint_eq(c->mode & MODE_USER, MODE_USER);
  /* From ring 3, IRET may not reach an inner ring nor change IOPL. */
  c->gpr[ESP] = STACK_USER - 12;
  put32(&b, STACK_USER - 12, 0x4444);
  put32(&b, STACK_USER - 8, K_CODE);
  ck_fault(c, EXC_GP, K_CODE, far_iret(c, 4));
  c->eflags = FL_1 | FL_IF;
  put32(&b, STACK_USER - 8, U_CODE);
  put32(&b, STACK_USER - 4, FL_1 | FL_IOPL | FL_ZF);
  ck_ok(c, far_iret(c, 4));
  ck_assert_uint_eq(c->eflags, FL_1 | FL_IF | FL_ZF);
  bed_free(&b);
}
END_TEST

START_TEST(test_sysenter) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  ck_fault(c, EXC_GP, 0, far_sysenter(c));
  c->sysenter_cs = K_CODE;
  c->sysenter_esp = 0x7700;
  c->sysenter_eip = 0x6600;
  c->eflags |= FL_IF;
  ck_ok(c, far_sysenter(c));
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->eip, 0x6600);
  ck_assert_uint_eq(c->gpr[ESP], 0x7700);
  ck_assert_uint_eq(c->seg[SS].sel, K_CODE + 8);
  ck_assert_uint_eq(c->eflags & FL_IF, 0);
  c->gpr[EDX] = 0x1111;
  c->gpr[ECX] = 0x2222;
  ck_ok(c, far_sysexit(c));
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->seg[CS].sel, U_CODE);
  ck_assert_uint_eq(c->seg[SS].sel, U_DATA);
  ck_assert_uint_eq(c->eip, 0x1111);
  ck_assert_uint_eq(c->gpr[ESP], 0x2222);
  ck_fault(c, EXC_GP, 0, far_sysexit(c));
  bed_free(&b);
}
END_TEST

START_TEST(test_flags) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  ck_ok(c, control_popf(c, 0xffffffffu, 4));
  ck_assert_uint_eq(c->eflags, FL_1 | FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID);
  ck_assert_uint_eq(c->mode & MODE_SINGLE, MODE_SINGLE);
  ck_fault(c, EXC_GP, 0, control_cli(c));
  ck_fault(c, EXC_GP, 0, control_sti(c));
  ck_ok(c, control_set_cr4(c, CR4_PVI)); /* as ring 0 would */
  ck_ok(c, control_sti(c));
  ck_assert_uint_eq(c->eflags & (FL_IF | FL_VIF), FL_VIF);
  c->eflags |= FL_VIP;
  ck_fault(c, EXC_GP, 0, control_sti(c));
  bed_ring(&b, 0);
  c->eflags = FL_1;
  ck_ok(c, control_sti(c));
  ck_assert_uint_eq(c->shadow, SHADOW_STI);
  ck_ok(c, control_popf(c, FL_IOPL, 2));
  ck_assert_uint_eq(c->eflags, FL_1 | FL_IOPL);
  bed_free(&b);
}
END_TEST

START_TEST(test_io_permission) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  memset(b.ram + TSS_A + 0x68, 0xff, 0x20);
  b.ram[TSS_A + 0x68 + 2] = 0xf0; /* ports 10h-13h */
  ck_ok(c, control_check_io(c, 0x10, 4));
  ck_fault(c, EXC_GP, 0, control_check_io(c, 0x12, 4));
  ck_fault(c, EXC_GP, 0, control_check_io(c, 0x60, 1));
  ck_fault(c, EXC_GP, 0, control_check_io(c, 0x3f8, 1)); /* past the limit */
  c->eflags |= FL_IOPL;
  ck_ok(c, control_check_io(c, 0x60, 1));
  bed_free(&b);
}
END_TEST

START_TEST(test_models) {
  struct bed b = bed_new("386");
  struct cpu *c = b.cpu;
  ck_assert_uint_eq(c->gpr[EDX], 0x308);
  ck_ok(c, control_popf(c, 0xffffffffu, 4));
  ck_assert_uint_eq(c->eflags & (FL_AC | FL_ID), 0);
  ck_ok(c, control_set_cr0(c, 0xffffffffu & ~(CR0_PG | CR0_NW)));
  ck_assert_uint_eq(c->cr0, CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET);
  bed_free(&b);
  b = bed_new("pentium3");
  c = b.cpu;
  c->gpr[EAX] = 1;
  cpuid_execute(c);
  ck_assert_uint_eq(c->gpr[EAX], 0x673);
  ck_assert_uint_eq(c->gpr[EDX] & (1u << 25 | 1u << 26), 1u << 25);
  ck_fault(c, EXC_GP, 0, msr_read(c, 0xc0000080u));
  ck_fault(c, EXC_GP, 0, control_set_cr4(c, 1u << 20));
  ck_ok(c, msr_write(c, 0x277, 0x0007010600070106ull));
  ck_ok(c, ck_assert_uint_eq(msr_read(c, 0x277), 0x0007010600070106ull));
  ck_fault(c, EXC_GP, 0, msr_write(c, 0x277, 2));
  bed_free(&b);
  ck_assert_ptr_null(cpu_model_find("z80"));
}
END_TEST

Suite *suite_segment(void) {
  Suite *s = suite_create("segment");
  TCase *t = tcase_create("segment");
  tcase_add_test(t, test_real_mode);
  tcase_add_test(t, test_unreal_mode);
  tcase_add_test(t, test_loads);
  tcase_add_test(t, test_expand_down);
  tcase_add_test(t, test_ldt);
  tcase_add_test(t, test_inspection);
  tcase_add_test(t, test_far_jump);
  tcase_add_test(t, test_call_gate);
  tcase_add_test(t, test_far_call_return);
  tcase_add_test(t, test_iret_rings);
  tcase_add_test(t, test_sysenter);
  tcase_add_test(t, test_flags);
  tcase_add_test(t, test_io_permission);
  tcase_add_test(t, test_models);
  suite_add_tcase(s, t);
  return s;
}
