/* SPDX-License-Identifier: MIT */
/*
 * Segment loads, far transfers, interrupts, task switches, control registers: everything that an
 * instruction does beyond data. All may raise; state is changed only when nothing can fault any more.
 * In all of these, cpu->eip is the address of the current instruction until the call commits;
 * `next` arguments are the address of the following instruction.
 */
#ifndef CORE_SEGMENT_H
#define CORE_SEGMENT_H

#include "core/cpu.h"

/* segment.c */
/* MOV/POP/LxS to ES, SS, DS, FS, GS in any mode; #UD for CS is the caller's. */
void seg_load(struct cpu *cpu, int seg, uint16_t sel);
void seg_load_real(struct cpu *cpu, int seg, uint16_t sel); /* real or V86 mode: base = sel << 4 */
void seg_lldt(struct cpu *cpu, uint16_t sel);
void seg_ltr(struct cpu *cpu, uint16_t sel);
/* LAR, LSL: true and *out if ZF is to be set. VERR, VERW. */
bool seg_lar(struct cpu *cpu, uint16_t sel, uint32_t *out);
bool seg_lsl(struct cpu *cpu, uint16_t sel, uint32_t *out);
bool seg_verify(struct cpu *cpu, uint16_t sel, bool write);
/* Read a descriptor (8 bytes) from GDT or LDT; false if outside the table. */
bool seg_read_descriptor(struct cpu *cpu, uint16_t sel, uint32_t *lo, uint32_t *hi);
void seg_set_cpl(struct cpu *cpu, uint32_t cpl);

/* far.c; opsize 2 or 4 */
void far_jump(struct cpu *cpu, uint16_t sel, uint32_t off, int opsize, uint32_t next);
void far_call(struct cpu *cpu, uint16_t sel, uint32_t off, int opsize, uint32_t next);
void far_return(struct cpu *cpu, int opsize, uint16_t pop_bytes);
void far_iret(struct cpu *cpu, int opsize);
void far_sysenter(struct cpu *cpu);
void far_sysexit(struct cpu *cpu);
/* The same if nothing is out of the ordinary; false: nothing has changed. Neither raises nor reads memory. */
bool far_try_sysenter(struct cpu *cpu);
bool far_try_sysexit(struct cpu *cpu, uint32_t eip, uint32_t esp);

/* exception.c */
enum int_kind { INT_SOFT, INT_SOFT3, INT_ICEBP, INT_HARD, INT_EXCEPTION };
/* INT n, INT3, INTO (INT_SOFT3 for INT3 and INTO): `next` is pushed. Honours VME redirection and IOPL in V86 mode. */
void cpu_software_int(struct cpu *cpu, int vector, enum int_kind kind, uint32_t next);
/* Raise and do not return: the exception is recorded, then delivered by cpu_deliver_exception at fault_env. */
_Noreturn void cpu_raise(struct cpu *cpu, int vector); /* without error code */
_Noreturn void cpu_raise_error(struct cpu *cpu, int vector, uint32_t error);
_Noreturn void cpu_raise_pf(struct cpu *cpu, uint32_t la, uint32_t error); /* sets CR2 */
/*
 * Deliver what cpu_raise* recorded. The engine calls it after sigsetjmp returned non-zero, with fault_env set
 * again (delivery itself may raise: double fault, triple fault -> cpu->shutdown = 1). cpu->eip is the faulting
 * instruction's, state as before it.
 */
void cpu_deliver_exception(struct cpu *cpu);
/*
 * Between instructions: take a pending trap, NMI or external interrupt if the CPU may (IF, shadow, NMI
 * blocking); wakes from HLT. True if one was taken.
 */
bool cpu_deliver_events(struct cpu *cpu);
/* Would cpu_deliver_events do anything now? */
bool cpu_event_deliverable(const struct cpu *cpu);
/* Record a data or I/O breakpoint hit (DR6 bits); a trap after the current instruction. */
void debug_trap(struct cpu *cpu, uint32_t dr6_bits);
void debug_check_access(struct cpu *cpu, uint32_t la, unsigned size, bool write); /* called where DR7 enables any */
void debug_check_io(struct cpu *cpu, uint16_t port, unsigned size);
bool debug_check_execute(struct cpu *cpu, uint32_t la); /* true: #DB fault due before this instruction */

/* task.c */
enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };
/* Switch to the TSS named by sel. `next` is saved as EIP of the outgoing task; has_error: push error on the new
 * stack. */
void task_switch(struct cpu *cpu, uint16_t sel, enum task_reason reason, uint32_t next, bool has_error, uint32_t error);

/* control.c: MOV to and from CR/DR with all checks and consequences (caller checked CPL) */
void control_set_cr0(struct cpu *cpu, uint32_t value);
void control_set_cr3(struct cpu *cpu, uint32_t value);
void control_set_cr4(struct cpu *cpu, uint32_t value);
uint32_t control_read_dr(struct cpu *cpu, int n);
void control_write_dr(struct cpu *cpu, int n, uint32_t value);
void control_set_a20(struct cpu *cpu, bool on);
/* POPF/IRET/VME rules: replace the flags that CPL, IOPL and VM allow (SDM vol. 2, POPF). opsize 2 or 4. */
void control_popf(struct cpu *cpu, uint32_t value, int opsize);
uint32_t control_pushf(struct cpu *cpu); /* image that PUSHF stores; raises #GP in V86 with IOPL < 3 without VME */
void control_cli(struct cpu *cpu); /* with VME/PVI rules */
void control_sti(struct cpu *cpu); /* sets cpu->shadow */
void control_hlt(struct cpu *cpu); /* caller advanced EIP */
/* Port permission (IOPL, TSS I/O bitmap); raises #GP(0). */
void control_check_io(struct cpu *cpu, uint16_t port, int size);

/* msr.c, cpuid.c */
uint64_t msr_read(struct cpu *cpu, uint32_t index); /* #GP(0) for unknown ones */
void msr_write(struct cpu *cpu, uint32_t index, uint64_t value);
uint64_t cpu_tsc(struct cpu *cpu); /* in real mode at 1 GHz nominal or -cpu mhz=; counted: from icount */
void cpuid_execute(struct cpu *cpu); /* EAX, ECX in; EAX, EBX, ECX, EDX out */

#endif
