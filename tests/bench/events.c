/* SPDX-License-Identifier: MIT */
/*
 * System events, which only a guest of its own can cause: system calls, faults, address spaces, privileged
 * instructions, ports, display memory. Each iteration is one event unless the name says otherwise.
 */
#include "guest.h"

static u32 result;

static BENCH_NOINLINE void int80(u32 n) {
  u32 eax = 0;
  for (; n; n--)
    __asm__ volatile("int $0x80" : "+a"(eax));
  result = eax;
}

static u32 run_int_kernel(u32 n) {
  int80(n);
  return result;
}

static u32 run_int_user(u32 n) {
  enter_user(int80, n);
  return result;
}

static void user_sysenter(u32 n) {
  u32 eax = 0;
  for (; n; n--)
    __asm__ volatile("movl %%esp, %%ecx\n movl $1f, %%edx\n sysenter\n 1:"
                     : "+a"(eax)
                     :
                     : "ecx", "edx", "memory");
  result = eax;
}

static void wrmsr(u32 msr, u32 value) { __asm__ volatile("wrmsr" : : "c"(msr), "a"(value), "d"(0)); }

static void init_sysenter(void) {
  extern u8 kernel_stack_top[];
  wrmsr(0x174, KERNEL_CS);
  wrmsr(0x175, (u32)kernel_stack_top - 2048);
  wrmsr(0x176, (u32)sysenter_entry);
}

static u32 run_sysenter(u32 n) {
  enter_user(user_sysenter, n);
  return result;
}

static void init_fault_map(void) { gate_set(14, fault_map, 0); }
static void init_fault_writable(void) { gate_set(14, fault_writable, 0); }
static void init_ud2(void) { gate_set(6, fault_ud2, 0); }

static u32 run_fault_map(u32 n) {
  volatile u32 *p = (volatile u32 *)SCRATCH;
  page_tables[SCRATCH >> 12] = 0;
  invlpg(SCRATCH);
  for (u32 i = 0; i < n; i++) {
    *p = i;
    page_tables[SCRATCH >> 12] = 0;
    invlpg(SCRATCH);
  }
  page_tables[SCRATCH >> 12] = SCRATCH | USER | WRITABLE | PRESENT;
  return *p;
}

static u32 run_fault_writable(u32 n) {
  volatile u32 *p = (volatile u32 *)SCRATCH;
  for (u32 i = 0; i < n; i++) {
    page_tables[SCRATCH >> 12] &= ~(u32)WRITABLE;
    invlpg(SCRATCH);
    *p = i;
  }
  return *p;
}

static u32 run_ud2(u32 n) {
  for (u32 i = 0; i < n; i++)
    __asm__ volatile("ud2");
  return n;
}

static u32 cr3_and_touch(u32 n, u32 pages) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++) {
    load_cr3(page_directory);
    for (u32 k = 0; k < pages; k++)
      sum += *(volatile u32 *)(SCRATCH + k * 4096);
  }
  return sum;
}

static void init_touch(void) {
  for (u32 k = 0; k < 1024; k++)
    *(volatile u32 *)(SCRATCH + k * 4096) = k;
}

static u32 run_cr3_16(u32 n) { return cr3_and_touch(n, 16); }
static u32 run_cr3_1024(u32 n) { return cr3_and_touch(n, 1024); }

/* Two tasks, each with an address space, that touch eight pages in turn. */

static u32 main_esp, task_esp, turns;
static u32 task_stack[1024];

static void task_main(void) {
  for (;;) {
    for (u32 k = 0; k < 8; k++)
      turns += *(volatile u32 *)(SCRATCH + k * 4096);
    switch_task(&task_esp, main_esp, (u32)page_directory);
  }
}

static void init_switch(void) {
  u32 *sp = task_stack + 1000;
  init_touch();
  *--sp = (u32)task_main;
  *--sp = 0x202;
  for (int i = 0; i < 4; i++)
    *--sp = 0;
  task_esp = (u32)sp;
  turns = 0;
}

static u32 run_switch(u32 n) {
  for (u32 i = 0; i < n; i += 2) {
    switch_task(&main_esp, task_esp, (u32)other_directory);
    for (u32 k = 0; k < 8; k++)
      turns += *(volatile u32 *)(SCRATCH + k * 4096);
  }
  return turns;
}

static u32 run_invlpg(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++) {
    invlpg(SCRATCH + (i & 15) * 4096);
    sum += *(volatile u32 *)(SCRATCH + (i & 15) * 4096);
  }
  return sum;
}

static u32 run_cr0(u32 n) {
  u32 cr0 = 0;
  for (u32 i = 0; i < n; i++)
    __asm__ volatile("clts\n movl %%cr0, %0\n movl %0, %%cr0" : "=r"(cr0));
  return cr0;
}

static u32 run_cli(u32 n) {
  for (u32 i = 0; i < n; i++)
    __asm__ volatile("pushfl\n cli\n popfl" : : : "memory", "cc");
  return n;
}

static u32 run_out80(u32 n) {
  for (u32 i = 0; i < n; i++)
    outb(0x80, (u8)i);
  return n;
}

static u32 run_in64(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++)
    sum += inb(0x64) & 0x80;
  return sum;
}

/* Text mode 3, which kernels of other modes have left. */
static void init_text_write(void) { real_mode_set(3); }

static u32 run_text_write(u32 n) {
  for (u32 i = 0; i < n; i++)
    *(volatile u16 *)(0xb8000 + (i % 2000) * 2) = (u16)(0x700 | (i & 0xff));
  return n;
}

static u32 run_text_read(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++)
    sum += *(volatile u16 *)(0xb8000 + (i & 511) * 2);
  return sum;
}

static void init_text_read(void) {
  real_mode_set(3);
  for (u32 i = 0; i < 512; i++)
    *(volatile u16 *)(0xb8000 + i * 2) = (u16)(0x700 | (i & 0xff));
}

static void vbe(u16 index, u16 value) {
  outw(0x1ce, index);
  outw(0x1cf, value);
}

static u32 frame_buffer;

/* The display adapter is the first device of class 3 on bus 0, its frame buffer the first base address. */
static void init_frame_buffer(void) {
  for (u32 device = 0; device < 32 && !frame_buffer; device++) {
    outl(0xcf8, 0x80000008 | device << 11);
    if (inl(0xcfc) >> 24 != 3)
      continue;
    outl(0xcf8, 0x80000010 | device << 11);
    frame_buffer = inl(0xcfc) & ~15u;
  }
  if (!frame_buffer)
    panic("no display", 0, 0);
  map_frame_buffer(frame_buffer);
  vbe(4, 0);
  vbe(1, 640);
  vbe(2, 480);
  vbe(3, 32);
  vbe(4, 0x41);
}

static u32 run_frame_buffer(u32 n) {
  volatile u32 *p = (volatile u32 *)frame_buffer;
  for (u32 i = 0; i < n; i++)
    p[i & 0x3ffff] = i;
  return p[5];
}

/*
 * Shots of the interval timer's, 10 us each: how long they really take, on the guest's clock. Spinning waits
 * for the output of channel 2 at port 61h; the other lets channel 0 interrupt HLT.
 */
enum { SHOT = 12 }; /* in 1193182 Hz */

static u32 run_shot_spinning(u32 n) {
  outb(0x61, (u8)((inb(0x61) & ~2) | 1));
  for (u32 i = 0; i < n; i++) {
    outb(0x43, 0xb0);
    outb(0x42, SHOT);
    outb(0x42, 0);
    while (!(inb(0x61) & 0x20))
      ;
  }
  return n;
}

static u32 run_shot_hlt(u32 n) {
  outb(0x43, 0x30);
  for (u32 i = 0; i < n; i++) {
    __asm__ volatile("cli");
    u32 before = ticks;
    outb(0x40, SHOT);
    outb(0x40, 0);
    while (ticks == before)
      __asm__ volatile("sti\n hlt\n cli");
    __asm__ volatile("sti");
  }
  return n;
}

const struct bench_kernel bench_timers[] = {
    {"shot-10us-spinning", "timers", 200, NULL, run_shot_spinning},
    {"shot-10us-hlt", "timers", 200, NULL, run_shot_hlt},
    {NULL, NULL, 0, NULL, NULL},
};

const struct bench_kernel bench_events[] = {
    {"int80-same-ring", "events", 1000, NULL, run_int_kernel},
    {"int80-from-ring-3", "events", 1000, NULL, run_int_user},
    {"sysenter-sysexit", "events", 1000, init_sysenter, run_sysenter},
    {"fault-map-unmap", "events", 1000, init_fault_map, run_fault_map},
    {"fault-read-only", "events", 1000, init_fault_writable, run_fault_writable},
    {"ud2", "events", 1000, init_ud2, run_ud2},
    {"iret", "events", 1000, NULL, irets},
    {"far-call", "events", 1000, NULL, far_calls},
    {"cr3-16-pages", "events", 100, init_touch, run_cr3_16},
    {"cr3-1024-pages", "events", 4, init_touch, run_cr3_1024},
    {"context-switch", "events", 200, init_switch, run_switch},
    {"invlpg-touch", "events", 1000, init_touch, run_invlpg},
    {"clts-cr0", "events", 1000, NULL, run_cr0},
    {"cli-popf", "events", 1000, NULL, run_cli},
    {"out-80", "events", 1000, NULL, run_out80},
    {"in-64", "events", 1000, NULL, run_in64},
    {"vga-text-write", "events", 2000, init_text_write, run_text_write},
    {"vga-text-read", "events", 2000, init_text_read, run_text_read},
    {"frame-buffer-dword", "events", 20000, init_frame_buffer, run_frame_buffer},
    {NULL, NULL, 0, NULL, NULL},
};
