/* SPDX-License-Identifier: MIT */
/*
 * Protected mode proper: page tables of our own (4 KB pages, 16 MB mapped as they are, tests at 1 GB),
 * faults taken and repaired, accessed and dirty bits, write protection of the kernel, and a program in ring
 * 3 that makes system calls, is interrupted, and tries two things that it may not do. IA-32 manual, volume
 * 3, "Paging" and "Interrupts".
 */
#include "demo.h"

#define PRESENT 1u
#define WRITABLE 2u
#define USER 4u
#define ACCESSED 0x20u
#define DIRTY 0x40u
#define TEST_BASE 0x40000000u /* virtual */
#define IDENTITY_TABLES 4

static u32 *const directory = PAGE_TABLES;
static volatile u32 *const test_table = (volatile u32 *)PAGE_TABLES + 1024 * (1 + IDENTITY_TABLES);

static volatile struct { /* what the fault handler saw */
  u32 count, address, error, repair_entry, index;
} fault;

static volatile struct { /* what the ring 3 program did */
  u32 sum, code_segment, calls, privileged, forbidden, error;
} user;

static void flush(void) {
  u32 cr3;
  __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=&r"(cr3) : : "memory");
}

static void map(u32 index, u32 physical, u32 bits) {
  test_table[index] = physical | bits;
  flush();
}

static void paging_on(void) {
  memset(directory, 0, 4096 * (2 + IDENTITY_TABLES));
  for (u32 i = 0; i < IDENTITY_TABLES * 1024; i++)
    PAGE_TABLES[1024 + i] = i << 12 | PRESENT | WRITABLE;
  for (u32 i = 0; i < IDENTITY_TABLES; i++)
    directory[i] = (u32)(PAGE_TABLES + 1024 * (1 + i)) | PRESENT | WRITABLE;
  directory[TEST_BASE >> 22] = (u32)test_table | PRESENT | WRITABLE | USER;
  u32 cr0;
  __asm__ volatile("mov %0, %%cr3" : : "r"(directory) : "memory");
  __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
  cr0 |= 0x80000000u;
  if (cpu.family >= 4)
    cr0 |= 0x10000; /* WP */
  __asm__ volatile("mov %0, %%cr0; jmp 1f; 1:" : : "r"(cr0) : "memory");
}

static void paging_off(void) {
  u32 cr0;
  __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
  __asm__ volatile("mov %0, %%cr0; jmp 1f; 1:" : : "r"(cr0 & 0x7ffeffffu) : "memory");
  __asm__ volatile("mov %0, %%cr3" : : "r"(0) : "memory");
}

/* Repairs the page that a test prepared for it. */
static bool repair(struct frame *f) {
  if (f->vector != 14)
    return false;
  __asm__ volatile("mov %%cr2, %0" : "=r"(fault.address));
  fault.error = f->error;
  if (fault.count++)
    return false;
  map(fault.index, fault.repair_entry & ~0xfffu, fault.repair_entry & 0xfffu);
  return true;
}

static void expect_fault(u32 index, u32 entry) {
  memset((void *)&fault, 0, sizeof fault);
  fault.index = index;
  fault.repair_entry = entry;
  fault_hook = repair;
}

static volatile u32 *test_page(u32 index) { return (volatile u32 *)(TEST_BASE + index * 4096); }

static void memory_tests(void) {
  volatile u32 *real = (volatile u32 *)USER_PAGES;
  map(0, USER_PAGES, PRESENT | WRITABLE);
  map(1, USER_PAGES, PRESENT | WRITABLE);
  map(2, USER_PAGES + 4096, PRESENT | WRITABLE);
  *real = 0x11111111;
  bool alias = *test_page(0) == 0x11111111;
  *test_page(1) = 0x22222222;
  alias = alias && *real == 0x22222222 && *test_page(0) == 0x22222222;
  u32 straddle = 0x55aa1234;
  __asm__ volatile("movl %1, (%0)" : : "r"(TEST_BASE + 0x1ffe), "r"(straddle) : "memory"); /* pages 1 and 2 */
  alias = alias && *(volatile u16 *)(USER_PAGES + 0xffe) == 0x1234 &&
          *(volatile u16 *)(USER_PAGES + 4096) == 0x55aa;
  check("page tables", alias, "two names for a page, one word in two");

  map(3, USER_PAGES + 8192, PRESENT | WRITABLE);
  u32 none = test_table[3];
  u32 value = *test_page(3);
  u32 read = test_table[3];
  *test_page(3) = value;
  u32 written = test_table[3];
  check("accessed and dirty",
        !(none & (ACCESSED | DIRTY)) && (read & (ACCESSED | DIRTY)) == ACCESSED && (written & DIRTY),
        "set by a read, and by a write");
}

static void fault_tests(void) {
  *(volatile u32 *)(USER_PAGES + 12288 + 16) = 0xfeedbeef;
  map(4, 0, 0);
  expect_fault(4, (USER_PAGES + 12288) | PRESENT | WRITABLE);
  u32 got = test_page(4)[4];
  check("page fault",
        fault.count == 1 && fault.address == TEST_BASE + 4 * 4096 + 16 && fault.error == 0 &&
            got == 0xfeedbeef,
        "at %08x, error %u, repaired", fault.address, fault.error);
  if (cpu.family < 4) {
    report("write protection", SKIPPED, "a 386 has none for the kernel");
    return;
  }
  map(5, USER_PAGES + 12288, PRESENT);
  expect_fault(5, (USER_PAGES + 12288) | PRESENT | WRITABLE);
  test_page(5)[5] = 0xc0ffee;
  check("write protection",
        fault.count == 1 && fault.error == 3 && *(volatile u32 *)(USER_PAGES + 12288 + 20) == 0xc0ffee,
        "error %u, repaired", fault.error);
}

static void system_call(struct frame *f) {
  user.calls++;
  switch (f->eax) {
  case 0: leave_user();
  case 1: f->eax = f->ebx + f->ecx; break;
  case 2:
    user.sum = f->ebx;
    user.code_segment = f->ecx;
    break;
  case 3: f->eax = ticks; break;
  }
}

/* The ring 3 program does one privileged thing and one forbidden access; both are stepped over. */
static bool step_over(struct frame *f) {
  if ((f->cs & 3) != 3)
    return false;
  if (f->vector == 13 && f->error == 0 && !user.privileged) {
    user.privileged++;
    f->eip += 1;
    return true;
  }
  if (f->vector == 14 && !user.forbidden) {
    __asm__ volatile("mov %%cr2, %0" : "=r"(user.forbidden));
    user.error = f->error;
    f->eip += 5;
    return true;
  }
  return false;
}

static void user_tests(void) {
  memcpy((void *)(USER_PAGES + 16384), user_program, (size_t)(user_program_end - user_program));
  map(8, USER_PAGES + 16384, PRESENT | USER);
  map(9, USER_PAGES + 20480, PRESENT | WRITABLE | USER);
  memset((void *)&user, 0, sizeof user);
  user_ticks = 0;
  fault_hook = step_over;
  syscall_hook = system_call;
  enter_user(TEST_BASE + 8 * 4096, TEST_BASE + 10 * 4096);
  __asm__ volatile("sti");
  check("ring 3", user.code_segment == 0x2b && user_ticks > 0, "CS %02x, interrupted %u times",
        user.code_segment, user_ticks);
  check("system call", user.sum == 1996 && user.calls > 3, "INT 80h, %u calls", user.calls);
  check("privilege", user.privileged == 1, "CLI: general protection");
  check("supervisor page", user.forbidden == SUPERVISOR_PAGE && user.error == 5, "at %08x, error %u",
        user.forbidden, user.error);
}

static bool divide_fault(struct frame *f) {
  fault.count++;
  f->eip += 2;
  return f->vector == 0;
}

static bool breakpoint(struct frame *f) {
  fault.count++;
  return f->vector == 3;
}

static bool undefined(struct frame *f) {
  fault.count++;
  f->eip += 2;
  return f->vector == 6;
}

static void exception_tests(void) {
  fault.count = 0;
  fault_hook = divide_fault;
  __asm__ volatile("divl %%ecx" : : "a"(1), "c"(0), "d"(0) : "memory"); /* two bytes */
  fault_hook = breakpoint;
  __asm__ volatile("int3" : : : "memory");
  fault_hook = undefined;
  __asm__ volatile("ud2" : : : "memory");
  check("exceptions", fault.count == 3, "divide error, breakpoint, undefined");
  fault_hook = 0;
}

void paging_tests(void) {
  exception_tests();
  paging_on();
  memory_tests();
  fault_tests();
  user_tests();
  fault_hook = 0;
  syscall_hook = 0;
  paging_off();
}
