/* SPDX-License-Identifier: MIT */
/*
 * The kernels on the bare machine. Sets up segments, paging, interrupts and a 100 Hz timer, and then talks
 * with bench.c over the first serial port. It says what it has and that it is ready, K number name group for
 * each kernel that the command line's filter=PARTS lets through,
 *   B
 * and obeys commands: "r NUMBER" runs a kernel from a fresh start and times it, for at least ticks=N (command
 * line), S name                        then a pause, for the observer to read the emulator's CPU time, then
 * the timed loop, E name group iterations checksum [ns]    with a time only where the guest's own clock
 * counts (timers), F text                        if something went wrong; "q" ends through the isa-debug-exit
 * port.
 */
#include "guest.h"

enum { EXIT_PORT = 0xf4, SERIAL = 0x3f8, PIT_HZ = 1193182, PAGE_TABLES_AT = 0x400000, CODE_AT = 0x600000 };
enum { ARENA_AT = 0x1000000, KERNELS = 128 };

u32 *page_tables = (u32 *)PAGE_TABLES_AT;

struct multiboot {
  u32 flags, lower, upper, boot_device;
  const char *command_line;
};

struct pseudo_descriptor {
  u16 limit;
  void *base;
} __attribute__((packed));

static u64 idt[256];
static u32 task_state[26];
static u64 gdt[16] = {
    0,
    0x00cf9b000000ffff,
    0x00cf93000000ffff,
    0x00cffb000000ffff,
    0x00cff3000000ffff,
    0x0000890000000067,
    0x00009b010000ffff,
    0x000093010000ffff, /* real.S: 64 KB at 10000h */
};
extern u8 kernel_stack_top[];

void guest_main(const struct multiboot *info);
void exception_report(u32 vector, u32 code, u32 eip, u32 cr2);

static void put_char(char c) {
  while (!(inb(SERIAL + 5) & 0x20))
    ;
  outb(SERIAL, (u8)c);
}

static char get_char(void) {
  while (!(inb(SERIAL + 5) & 1))
    __asm__ volatile("hlt");
  return (char)inb(SERIAL);
}

static void put_text(const char *s) {
  while (*s)
    put_char(*s++);
}

static void put_number(u32 n, u32 base) {
  char digits[12];
  int i = 0;
  do
    digits[i++] = "0123456789abcdef"[n % base];
  while (n /= base);
  while (i)
    put_char(digits[--i]);
}

void panic(const char *what, u32 a, u32 b) {
  put_text("F ");
  put_text(what);
  put_char(' ');
  put_number(a, 16);
  put_char(' ');
  put_number(b, 16);
  put_char('\n');
  outb(EXIT_PORT, 2);
  for (;;)
    __asm__ volatile("cli; hlt");
}

void exception_report(u32 vector, u32 code, u32 eip, u32 cr2) {
  put_text("F exception ");
  put_number(vector, 10);
  put_text(" code ");
  put_number(code, 16);
  panic(" eip, cr2", eip, cr2);
}

void gate_set(int vector, void (*handler)(void), int privilege) {
  u32 at = (u32)handler;
  idt[vector] = (u64)(at >> 16) << 48 | 0x00008e0000000000 | (u64)privilege << 45 | (u64)KERNEL_CS << 16 |
                (at & 0xffff);
}

/* What kernels ask for goes behind ours. */
u16 bench_segment(u64 descriptor) {
  descriptor &= ~((u64)3 << 45); /* privilege 0: code must have the caller's */
  for (u32 i = 8; i < sizeof gdt / sizeof *gdt; i++)
    if (!gdt[i] || gdt[i] == descriptor) {
      gdt[i] = descriptor;
      return (u16)(i * 8);
    }
  panic("no more descriptors", 0, 0);
  return 0;
}

static void set_up_segments(void) {
  u32 at = (u32)task_state;
  task_state[1] = (u32)kernel_stack_top;
  task_state[2] = KERNEL_DS;
  gdt[5] |= (u64)(at & 0xffffff) << 16 | (u64)(at >> 24) << 56;
  struct pseudo_descriptor p = {sizeof gdt - 1, gdt};
  __asm__ volatile(
      "lgdt %0\n ljmp %1, $1f\n 1: movl %2, %%eax\n movw %%ax, %%ds\n movw %%ax, %%es\n movw %%ax, %%ss\n"
      "movw %%ax, %%fs\n movw %%ax, %%gs\n ltr %w3"
      :
      : "m"(p), "i"(KERNEL_CS), "i"(KERNEL_DS), "r"(TASK)
      : "eax", "memory");
  for (int i = 0; i < 32; i++)
    gate_set(i, (void (*)(void))exception_stubs[i], 0);
  for (int i = 0x20; i < 0x30; i++)
    gate_set(i, interrupt_spurious, 0);
  gate_set(VECTOR_TIMER, interrupt_timer, 0);
  gate_set(VECTOR_SYSCALL, interrupt_syscall, 3);
  gate_set(VECTOR_LEAVE, interrupt_leave, 3);
  p = (struct pseudo_descriptor){sizeof idt - 1, idt};
  __asm__ volatile("lidt %0" : : "m"(p));
}

static void set_up_paging(void) {
  for (u32 i = 0; i < MAPPED >> 12; i++)
    page_tables[i] = i << 12 | USER | WRITABLE | PRESENT;
  for (u32 i = 0; i < MAPPED >> 22; i++)
    page_directory[i] = other_directory[i] = (PAGE_TABLES_AT + i * 4096) | USER | WRITABLE | PRESENT;
  load_cr3(page_directory);
  u32 cr0, cr4;
  __asm__ volatile("movl %%cr4, %0" : "=r"(cr4));
  __asm__ volatile("movl %0, %%cr4" : : "r"(cr4 | 0x600)); /* OSFXSR, OSXMMEXCPT */
  __asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
  cr0 &= ~0x6000000eu; /* caches on, no EM, no TS */
  cr0 |= 0x80010022;   /* PG, WP, NE, MP */
  __asm__ volatile("movl %0, %%cr0" : : "r"(cr0));
  __asm__ volatile("fninit");
}

/* A table for the 4 MB where the frame buffer is. */
void map_frame_buffer(u32 pa) {
  u32 *table = (u32 *)(PAGE_TABLES_AT + (MAPPED >> 22) * 4096);
  for (u32 i = 0; i < 1024; i++)
    table[i] = ((pa & ~0x3fffffu) + i * 4096) | WRITABLE | PRESENT;
  page_directory[pa >> 22] = (u32)table | WRITABLE | PRESENT;
  load_cr3(page_directory);
}

static void set_up_timer(void) {
  outb(0x43, 0x34);
  outb(0x40, (PIT_HZ / 100) & 255);
  outb(0x40, (PIT_HZ / 100) >> 8);
}

static void set_up_interrupts(void) {
  static const u8 first[] = {0x11, VECTOR_TIMER, 4, 1, 0xfe}, second[] = {0x11, VECTOR_TIMER + 8, 2, 1, 0xff};
  for (int i = 0; i < 5; i++) {
    outb(i ? 0x21 : 0x20, first[i]);
    outb(i ? 0xa1 : 0xa0, second[i]);
  }
  set_up_timer();
  __asm__ volatile("sti");
}

static void pause_ticks(u32 n) {
  u32 start = ticks;
  while (ticks - start < n)
    __asm__ volatile("hlt");
}

static void put_result(const struct bench_kernel *k, u32 iterations, u32 sum) {
  put_text("E ");
  put_text(k->name);
  put_char(' ');
  put_text(k->group);
  put_char(' ');
  put_number(iterations, 10);
  put_char(' ');
  put_number(sum, 16);
}

static void put_start(const struct bench_kernel *k) {
  put_text("S ");
  put_text(k->name);
  put_char('\n');
  pause_ticks(2);
}

static void measure(const struct bench_kernel *k, u32 enough) {
  if (k->init)
    k->init();
  u32 sum = k->run(k->iterations), runs = 0;
  put_start(k);
  u32 start = ticks;
  do {
    k->run(k->iterations);
    runs++;
  } while (ticks - start < enough);
  put_result(k, runs * k->iterations, sum);
  put_char('\n');
}

/* (Its lower half counts for a second at least.) */
static u32 time_stamp(void) {
  u32 t;
  __asm__ volatile("rdtsc" : "=a"(t) : : "edx");
  return t;
}

/* What takes the timer for itself, on the clock of the guest: the time-stamp counter, held against ten ticks
 * first. */
static void measure_elapsed(const struct bench_kernel *k, u32 enough) {
  pause_ticks(1);
  u32 start = time_stamp();
  pause_ticks(10);
  u32 per_tick = (time_stamp() - start) / 10;
  u32 sum = k->run(k->iterations), runs = 0;
  set_up_timer();
  put_start(k);
  start = time_stamp();
  u32 elapsed;
  do {
    k->run(k->iterations);
    runs++;
    elapsed = time_stamp() - start;
  } while (elapsed < enough * per_tick);
  set_up_timer();
  put_result(k, runs * k->iterations, sum);
  put_char(' ');
  put_number((u32)(elapsed / (per_tick / 10000)) * 1000u, 10);
  put_char('\n');
}

static u32 option(const char *line, const char *name, const char **value) {
  for (; *line; line++) {
    u32 i = 0;
    while (name[i] && line[i] == name[i])
      i++;
    if (!name[i]) {
      u32 n = 0;
      *value = line + i;
      for (const char *p = *value; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (u32)(*p - '0');
      return n;
    }
  }
  *value = "";
  return 0;
}

static struct {
  const struct bench_kernel *kernel;
  int elapsed;
} kernels[KERNELS];

static u32 list_table(u32 count, const struct bench_kernel *k, const char *filter, int elapsed) {
  for (; k->name && count < KERNELS; k++)
    if (bench_wanted(k, filter)) {
      put_text("K ");
      put_number(count, 10);
      put_char(' ');
      put_text(k->name);
      put_char(' ');
      put_text(k->group);
      put_char('\n');
      kernels[count].kernel = k;
      kernels[count++].elapsed = elapsed;
    }
  return count;
}

static u32 list_kernels(const char *filter) {
  u32 count = 0;
  for (int t = 0; bench_tables[t]; t++)
    count = list_table(count, bench_tables[t], filter, 0);
  count = list_table(count, bench_events, filter, 0);
  count = list_table(count, bench_timers, filter, 1);
  return list_table(count, bench_real, filter, 0);
}

void guest_main(const struct multiboot *info) {
  static char line[512];
  const char *filter, *value;
  const char *from = info->flags & 4 ? info->command_line : "";
  for (u32 i = 0; i < sizeof line - 1 && from[i]; i++)
    line[i] = from[i];
  set_up_segments();
  set_up_paging();
  set_up_interrupts();
  bench_arena = (u8 *)ARENA_AT;
  bench_code = (u8 *)CODE_AT;
  option(line, "filter=", &filter);
  u32 enough = option(line, "ticks=", &value);
  u32 count = list_kernels(filter);
  put_text("B\n");
  for (;;) {
    u32 number = 0;
    char c = get_char();
    if (c == 'q')
      break;
    if (c != 'r')
      continue;
    while ((c = get_char()) != '\n')
      if (c >= '0' && c <= '9')
        number = number * 10 + (u32)(c - '0');
    if (number < count)
      (kernels[number].elapsed ? measure_elapsed : measure)(kernels[number].kernel, enough ? enough : 10);
  }
  pause_ticks(2);
  outb(EXIT_PORT, 0);
  for (;;)
    __asm__ volatile("hlt");
}
