/* SPDX-License-Identifier: MIT */
/*
 * The bare machine that the benchmark guest sets up: flat segments for ring 0 and ring 3, 512 MB mapped one
 * to one by 4 KB pages that ring 3 may use too, interrupt 20h from the timer; and a way into real mode.
 */
#ifndef TESTS_BENCH_GUEST_H
#define TESTS_BENCH_GUEST_H

#include "bench.h"

enum {
  KERNEL_CS = 0x08, /* in the order that SYSENTER and SYSEXIT want */
  KERNEL_DS = 0x10,
  USER_CS = 0x1b,
  USER_DS = 0x23,
  TASK = 0x28,
  VECTOR_TIMER = 0x20,
  VECTOR_SYSCALL = 0x80, /* counts */
  VECTOR_LEAVE = 0x81,   /* back from ring 3 */
  PRESENT = 1,
  WRITABLE = 2,
  USER = 4,
  MAPPED = 0x20000000,  /* bytes from 0 on */
  SCRATCH = 0x1f000000, /* pages that the event kernels map and unmap */
};

/* boot.S */
extern volatile u32 ticks;
extern u32 page_directory[1024], other_directory[1024]; /* two address spaces alike */
extern u32 *page_tables; /* 4 MB a table, one behind the other, from address 0 on */
extern void *const exception_stubs[32];
void interrupt_timer(void), interrupt_spurious(void), interrupt_syscall(void), interrupt_leave(void);
void fault_map(void), fault_writable(void), fault_ud2(void);
void sysenter_entry(void);
void enter_user(void (*function)(u32), u32 argument);
void switch_task(u32 *save_esp, u32 load_esp, u32 load_cr3);
u32 far_calls(u32 n), irets(u32 n);

/* real.S: 16-bit code that real.c copies to 10000h, and a way to call it in real mode, interrupts off */
extern u8 real_code[], real_code_end[];
u32 real_call(u32 offset, u32 argument);

/* real.c */
void real_mode_set(u32 video_mode); /* by the BIOS */

/* guest.c */
void gate_set(int vector, void (*handler)(void), int privilege);
void panic(const char *what, u32 a, u32 b);
void map_frame_buffer(u32 pa);

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port) {
  u8 v;
  __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
static inline u32 inl(u16 port) {
  u32 v;
  __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
static inline void load_cr3(u32 *directory) {
  __asm__ volatile("movl %0, %%cr3" : : "r"(directory) : "memory");
}
static inline void invlpg(u32 la) { __asm__ volatile("invlpg (%0)" : : "r"(la) : "memory"); }

#endif
