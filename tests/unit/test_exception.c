/* SPDX-License-Identifier: MIT */
/* Interrupt delivery in real, protected and V86 mode, double and triple faults, NMI, shadows, traps. */
#include "tests/unit/cpu_fixture.h"

#define HANDLER 0x6000u

static void idt_gate(struct bed *b, unsigned vector, uint16_t sel, unsigned access) {
  put_gate(b, IDT + vector * 8, sel, HANDLER + vector, access, 0);
}

/* Ring 0 interrupt gates for all vectors. */
static struct bed bed_with_idt(uint32_t cpl) {
  struct bed b = bed_protected(cpl);
  for (unsigned v = 0; v < 256; v++)
    idt_gate(&b, v, K_CODE, 0x8e);
  return b;
}

static int ack_20h(void *opaque) { return opaque ? 0x20 : -1; }

START_TEST(test_real_mode) {
  struct bed b = bed_new("max");
  struct cpu *c = b.cpu;
  put32(&b, 0x21 * 4, 0x1234 << 16 | 0x5678);
  c->gpr[ESP] = 0x100;
  c->eflags |= FL_IF | FL_TF | FL_CF;
  ck_ok(c, cpu_software_int(c, 0x21, INT_SOFT, 0x102));
  ck_assert_uint_eq(c->seg[CS].sel, 0x1234);
  ck_assert_uint_eq(c->eip, 0x5678);
  ck_assert_uint_eq(c->eflags, FL_1 | FL_CF);
  ck_assert_uint_eq(c->gpr[ESP], 0xfa);
  ck_assert_uint_eq(get16(&b, 0xfa), 0x102);
  ck_assert_uint_eq(get16(&b, 0xfc), 0xf000);
  ck_assert_uint_eq(get16(&b, 0xfe), FL_1 | FL_IF | FL_TF | FL_CF);
  ck_ok(c, far_iret(c, 2));
  ck_assert_uint_eq(c->eip, 0x102);
  ck_assert_uint_eq(c->eflags, FL_1 | FL_IF | FL_TF | FL_CF);
  bed_free(&b);
}
END_TEST

START_TEST(test_same_ring) {
  struct bed b = bed_with_idt(0);
  struct cpu *c = b.cpu;
  c->eflags |= FL_IF;
  idt_gate(&b, 0x80, K_CODE, 0x8f); /* trap gate keeps IF */
  ck_ok(c, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  ck_assert_uint_eq(c->eip, HANDLER + 0x80);
  ck_assert_uint_eq(c->eflags & FL_IF, FL_IF);
  ck_assert_uint_eq(c->gpr[ESP], STACK1 - 12);
  ck_assert_uint_eq(get32(&b, STACK1 - 12), 0x4002);
  idt_gate(&b, 0x81, K_CODE, 0x86); /* 16-bit interrupt gate */
  c->gpr[ESP] = STACK1;
  ck_ok(c, cpu_software_int(c, 0x81, INT_SOFT, 0x4002));
  ck_assert_uint_eq(c->gpr[ESP], STACK1 - 6);
  ck_assert_uint_eq(c->eip, HANDLER + 0x81);
  ck_assert_uint_eq(c->eflags & FL_IF, 0);
  bed_free(&b);
}
END_TEST

START_TEST(test_inner_ring) {
  struct bed b = bed_with_idt(3);
  struct cpu *c = b.cpu;
  ck_fault(c, EXC_GP, 0x80 * 8 + 2, cpu_software_int(c, 0x80, INT_SOFT, 0x4002)); /* DPL 0 */
  ck_assert_uint_eq(c->gpr[ESP], STACK_USER);
  idt_gate(&b, 0x80, K_CODE, 0xee);
  c->eflags |= FL_IF | FL_NT;
  ck_ok(c, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->gpr[ESP], STACK0 - 20);
  ck_assert_uint_eq(get32(&b, STACK0 - 4), U_DATA);
  ck_assert_uint_eq(get32(&b, STACK0 - 8), STACK_USER);
  ck_assert_uint_eq(get32(&b, STACK0 - 12), FL_1 | FL_IF | FL_NT);
  ck_assert_uint_eq(get32(&b, STACK0 - 16), U_CODE);
  ck_assert_uint_eq(get32(&b, STACK0 - 20), 0x4002);
  ck_assert_uint_eq(c->eflags, FL_1);
  bed_ring(&b, 3);
  idt_gate(&b, 0x80, K_CODE, 0x6e);
  ck_fault(c, EXC_NP, 0x80 * 8 + 2, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  idt_gate(&b, 0x80, 0, 0xee);
  ck_fault(c, EXC_GP, 0, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  idt_gate(&b, 0x80, K_DATA, 0xee);
  ck_fault(c, EXC_GP, K_DATA, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  c->idtr.limit = 0x3ff;
  ck_fault(c, EXC_GP, 0x80 * 8 + 2, cpu_software_int(c, 0x80, INT_SOFT, 0x4002));
  bed_free(&b);
}
END_TEST

START_TEST(test_fault_frame) {
  struct bed b = bed_with_idt(3);
  struct cpu *c = b.cpu;
  ck_assert_int_eq(FAULT_OF(c, cpu_raise_error(c, EXC_GP, 0x1238)), EXC_GP);
  bed_deliver(&b);
  ck_assert_uint_eq(c->eip, HANDLER + EXC_GP);
  ck_assert_uint_eq(c->gpr[ESP], STACK0 - 24);
  ck_assert_uint_eq(get32(&b, STACK0 - 24), 0x1238);
  ck_assert_uint_eq(get32(&b, STACK0 - 20), 0x4000); /* the faulting instruction */
  ck_assert_uint_eq(get32(&b, STACK0 - 12), FL_1 | FL_RF);
  ck_assert_uint_eq(c->exc_depth_vector, ~0u);
  bed_free(&b);
}
END_TEST

START_TEST(test_double_fault) {
  struct bed b = bed_with_idt(0);
  struct cpu *c = b.cpu;
  /* #GP whose gate is absent: #NP while delivering a contributory fault. */
  idt_gate(&b, EXC_GP, K_CODE, 0x0e);
  ck_assert_int_eq(FAULT_OF(c, cpu_raise_error(c, EXC_GP, 0)), EXC_GP);
  bed_deliver(&b);
  ck_assert_uint_eq(c->eip, HANDLER + EXC_DF);
  ck_assert_uint_eq(get32(&b, c->gpr[ESP]), 0);
  /* A benign first exception is just replaced; the error code says EXT. */
  bed_ring(&b, 0);
  idt_gate(&b, EXC_UD, K_CODE, 0x0e);
  ck_assert_int_eq(FAULT_OF(c, cpu_raise(c, EXC_UD)), EXC_UD);
  bed_deliver(&b);
  ck_assert_uint_eq(c->eip, HANDLER + EXC_NP);
  ck_assert_uint_eq(get32(&b, c->gpr[ESP]), EXC_UD * 8 + 3);
  /* No gate for #DF either: shutdown. */
  bed_ring(&b, 0);
  c->idtr.limit = 0;
  ck_assert_int_eq(FAULT_OF(c, cpu_raise_error(c, EXC_GP, 0)), EXC_GP);
  bed_deliver(&b);
  ck_assert_uint_eq(c->shutdown, 1);
  bed_free(&b);
}
END_TEST

START_TEST(test_page_fault_on_stack) {
  struct bed b = bed_with_idt(3);
  struct cpu *c = b.cpu;
  bed_paging(&b, 7);
  c->cpl = 3;
  put32(&b, bed_pte(STACK0 - 4), 0); /* ring 0 stack absent: #PF in #PF = #DF, again = shutdown */
  ck_assert_int_eq(FAULT_OF(c, linear_read(c, 0x800000, 4, true)), EXC_PF);
  bed_deliver(&b);
  ck_assert_uint_eq(c->shutdown, 1);
  ck_assert_uint_eq(c->cr2 & ~0xfffu, (STACK0 - 4) & ~0xfffu);
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->gpr[ESP], STACK_USER);
  bed_free(&b);
}
END_TEST

START_TEST(test_events) {
  struct bed b = bed_with_idt(0);
  struct cpu *c = b.cpu;
  c->intr_ack = ack_20h;
  c->intr_ack_opaque = c;
  cpu_set_intr(c, true);
  ck_assert(!cpu_event_deliverable(c));
  ck_ok(c, control_sti(c));
  ck_assert(!cpu_event_deliverable(c)); /* STI's shadow */
  c->shadow = SHADOW_NONE;
  c->halted = 1;
  cpu_pulse_nmi(c);
  ck_ok(c, ck_assert(cpu_deliver_events(c)));
  ck_assert_uint_eq(c->eip, HANDLER + EXC_NMI);
  ck_assert_uint_eq(c->halted, 0);
  cpu_pulse_nmi(c);
  ck_assert(!cpu_event_deliverable(c)); /* blocked until IRET; IF is clear */
  ck_ok(c, far_iret(c, 4));
  ck_assert(cpu_event_deliverable(c));
  ck_ok(c, ck_assert(cpu_deliver_events(c)));
  ck_ok(c, far_iret(c, 4));
  ck_assert_uint_eq(c->eflags & FL_IF, FL_IF);
  ck_ok(c, ck_assert(cpu_deliver_events(c)));
  ck_assert_uint_eq(c->eip, HANDLER + 0x20);
  c->eflags |= FL_IF;
  c->shadow = SHADOW_MOVSS;
  debug_trap(c, 0x4000);
  ck_assert(!cpu_event_deliverable(c));
  c->shadow = SHADOW_NONE;
  ck_ok(c, ck_assert(cpu_deliver_events(c)));
  ck_assert_uint_eq(c->eip, HANDLER + EXC_DB);
  ck_assert_uint_eq(c->dr[6] & 0x4000, 0x4000);
  bed_free(&b);
}
END_TEST

/* Enter V86 mode by IRET at 1000:0010, SS:SP = 2000:0100. */
static struct bed bed_v86(uint32_t flags) {
  struct bed b = bed_with_idt(0);
  static const uint32_t frame[9] = {0x10, 0x1000, 0, 0x100, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000};
  b.cpu->gpr[ESP] = STACK0 - 36;
  for (unsigned i = 0; i < 9; i++)
    put32(&b, STACK0 - 36 + i * 4, i == 2 ? flags | FL_VM | FL_1 : frame[i]);
  ck_ok(b.cpu, far_iret(b.cpu, 4));
  return b;
}

START_TEST(test_v86) {
  struct bed b = bed_v86(FL_IF | FL_IOPL);
  struct cpu *c = b.cpu;
  ck_assert_uint_eq(c->cpl, 3);
  ck_assert_uint_eq(c->eip, 0x10);
  ck_assert_uint_eq(c->seg[CS].base, 0x10000);
  ck_assert_uint_eq(c->seg[GS].base, 0x60000);
  ck_assert_uint_eq(c->gpr[ESP], 0x100);
  ck_assert_uint_eq(c->mode & (MODE_V86 | MODE_USER | MODE_PE), MODE_V86 | MODE_USER | MODE_PE);
  idt_gate(&b, 0x21, K_CODE, 0xee);
  ck_ok(c, cpu_software_int(c, 0x21, INT_SOFT, 0x12));
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->gpr[ESP], STACK0 - 36);
  ck_assert_uint_eq(get32(&b, STACK0 - 4), 0x6000); /* GS */
  ck_assert_uint_eq(get32(&b, STACK0 - 16), 0x3000); /* ES */
  ck_assert_uint_eq(get32(&b, STACK0 - 20), 0x2000);
  ck_assert_uint_eq(get32(&b, STACK0 - 36), 0x12);
  ck_assert_uint_eq(c->eflags & (FL_VM | FL_IF), 0);
  ck_assert_uint_eq(c->seg[DS].sel, 0);
  ck_fault(c, EXC_GP, 0, vmem_read(c, DS, 0, 1));
  ck_ok(c, far_iret(c, 4)); /* back again */
  ck_assert_uint_eq(c->eflags & FL_VM, FL_VM);
  ck_assert_uint_eq(c->eip, 0x12);
  ck_assert_uint_eq(c->seg[ES].sel, 0x3000);
  bed_free(&b);
}
END_TEST

START_TEST(test_v86_iopl) {
  struct bed b = bed_v86(FL_IF);
  struct cpu *c = b.cpu;
  idt_gate(&b, 0x21, K_CODE, 0xee);
  ck_fault(c, EXC_GP, 0, cpu_software_int(c, 0x21, INT_SOFT, 0x12));
  ck_fault(c, EXC_GP, 0, control_pushf(c));
  ck_fault(c, EXC_GP, 0, control_popf(c, 0, 2));
  ck_fault(c, EXC_GP, 0, control_cli(c));
  ck_fault(c, EXC_GP, 0, far_iret(c, 2));
  idt_gate(&b, 3, K_CODE, 0xee);
  ck_ok(c, cpu_software_int(c, 3, INT_SOFT3, 0x11)); /* INT3 does not ask for IOPL */
  ck_assert_uint_eq(c->eip, HANDLER + 3);
  bed_free(&b);
}
END_TEST

START_TEST(test_vme) {
  struct bed b = bed_v86(FL_IF | FL_VIF);
  struct cpu *c = b.cpu;
  c->cr4 |= CR4_VME;
  put16(&b, TSS_A + 0x66, 0x88); /* redirection bitmap at 68h, all zero: to the 8086 handler */
  put32(&b, 0x21 * 4, 0x1234 << 16 | 0x5678);
  ck_ok(c, cpu_software_int(c, 0x21, INT_SOFT, 0x12));
  ck_assert_uint_eq(c->seg[CS].sel, 0x1234);
  ck_assert_uint_eq(c->eip, 0x5678);
  ck_assert_uint_eq(c->eflags & (FL_VM | FL_IF | FL_VIF), FL_VM | FL_IF);
  ck_assert_uint_eq(c->gpr[ESP], 0xfa);
  ck_assert_uint_eq(get16(&b, 0x200fe), FL_1 | FL_IF | FL_IOPL); /* VIF as IF, IOPL 3 */
  ck_ok(c, far_iret(c, 2));
  ck_assert_uint_eq(c->eflags & (FL_IF | FL_VIF | FL_IOPL), FL_IF | FL_VIF);
  ck_assert_uint_eq(c->eip, 0x12);
  ck_ok(c, control_cli(c));
  ck_assert_uint_eq(c->eflags & (FL_IF | FL_VIF), FL_IF);
  c->eflags |= FL_VIP;
  ck_fault(c, EXC_GP, 0, control_popf(c, FL_IF, 2));
  b.ram[TSS_A + 0x68 + 0x21 / 8] = 1 << (0x21 & 7); /* not redirected: the monitor decides */
  ck_fault(c, EXC_GP, 0, cpu_software_int(c, 0x21, INT_SOFT, 0x12));
  bed_free(&b);
}
END_TEST

START_TEST(test_debug_registers) {
  struct bed b = bed_with_idt(0);
  struct cpu *c = b.cpu;
  ck_ok(c, control_write_dr(c, 0, 0x4000));
  ck_ok(c, control_write_dr(c, 7, 1));
  ck_assert(debug_check_execute(c, 0x4000));
  ck_assert_uint_eq(c->dr[6] & 15, 1);
  ck_assert(!debug_check_execute(c, 0x4001));
  c->eflags |= FL_RF;
  ck_assert(!debug_check_execute(c, 0x4000));
  ck_ok(c, control_write_dr(c, 7, 0x2000));
  ck_assert_int_eq(FAULT_OF(c, control_read_dr(c, 3)), EXC_DB);
  bed_deliver(&b);
  ck_assert_uint_eq(c->dr[6] & 0x2000, 0x2000);
  ck_assert_uint_eq(c->dr[7] & 0x2000, 0);
  ck_ok(c, ck_assert_uint_eq(control_read_dr(c, 4), c->dr[6]));
  ck_ok(c, control_set_cr4(c, CR4_DE));
  ck_assert_int_eq(FAULT_OF(c, control_read_dr(c, 4)), EXC_UD);
  bed_free(&b);
}
END_TEST

/* INIT#: as RESET#, but what SDM vol. 3, table 9-1 calls unchanged. */
START_TEST(test_init) {
  struct bed b = bed_protected(3);
  struct cpu *c = b.cpu;
  control_set_cr0(c, c->cr0 | CR0_CD);
  c->fx.fcw = 0x027f;
  c->fx.mxcsr = 0x1fa0;
  c->sysenter_eip = 0x1234;
  c->tsc_offset = 77;
  control_set_a20(c, false);
  c->halted = 1;
  c->nmi_blocked = 1;
  __atomic_or_fetch(&c->pending, PEND_INIT | PEND_NMI, __ATOMIC_SEQ_CST);
  ck_assert(cpu_deliver_events(c));
  ck_assert_uint_eq(c->cr0, CR0_CD | CR0_ET);
  ck_assert_uint_eq(c->seg[CS].base + c->eip, 0xfffffff0u);
  ck_assert_uint_eq(c->eflags, FL_1);
  ck_assert_uint_eq(c->cpl, 0);
  ck_assert_uint_eq(c->halted, 0);
  ck_assert_uint_eq(c->fx.fcw, 0x027f);
  ck_assert_uint_eq(c->fx.mxcsr, 0x1fa0);
  ck_assert_uint_eq(c->sysenter_eip, 0x1234);
  ck_assert_uint_eq(c->tsc_offset, 77);
  ck_assert_uint_eq(c->a20, 0);
  cpu_reset(c);
  ck_assert_uint_eq(c->cr0, CR0_CD | CR0_NW | CR0_ET);
  ck_assert_uint_eq(c->fx.fcw, 0x0040);
  ck_assert_uint_eq(c->sysenter_eip, 0);
  ck_assert_uint_eq(c->a20, 1);
  bed_free(&b);
}
END_TEST

Suite *suite_exception(void) {
  Suite *s = suite_create("exception");
  TCase *t = tcase_create("exception");
  tcase_add_test(t, test_real_mode);
  tcase_add_test(t, test_same_ring);
  tcase_add_test(t, test_inner_ring);
  tcase_add_test(t, test_fault_frame);
  tcase_add_test(t, test_double_fault);
  tcase_add_test(t, test_page_fault_on_stack);
  tcase_add_test(t, test_events);
  tcase_add_test(t, test_init);
  tcase_add_test(t, test_v86);
  tcase_add_test(t, test_v86_iopl);
  tcase_add_test(t, test_vme);
  tcase_add_test(t, test_debug_registers);
  suite_add_tcase(s, t);
  return s;
}
