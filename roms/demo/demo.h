/* SPDX-License-Identifier: MIT */
/*
 * The demo disk's kernel: what its files share. It runs in flat 32-bit protected mode below 640 KB, borrows
 * the BIOS for mode setting and disk reads by going back to real mode (bios_call), and needs a 386 and 4 MB
 * of memory.
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;

/* --- entry.asm --- */

struct bios_regs {
  u32 eax, ebx, ecx, edx, esi, edi, ebp;
  u16 ds, es;
  u16 flags, unused;
};

struct frame { /* what an interrupt entry pushed, lowest address first */
  u32 es, ds;
  u32 edi, esi, ebp, esp_unused, ebx, edx, ecx, eax;
  u32 vector, error;
  u32 eip, cs, eflags;
  u32 user_esp, user_ss; /* only if cs is of ring 3 */
};

extern u8 boot_drive;
void bios_enter(unsigned number, struct bios_regs *regs);
void enter_user(u32 eip, u32 esp);
void leave_user(void) __attribute__((noreturn));
extern const u8 user_program[], user_program_end[];
u32 patch_ahead(u32 value);
u32 patch_loop(u32 n);

/* --- memory map above 1 MB --- */

#define PAGE_TABLES ((u32 *)0x110000) /* the directory, then tables */
#define USER_PAGES 0x120000           /* physical pages for the paging tests */
#define CODE_BUFFER ((u8 *)0x130000)  /* code written at run time */
#define SUPERVISOR_PAGE 0x200000      /* what the ring 3 program tries to read (entry.asm) */
#define BUFFER_A ((u8 *)0x240000)     /* 512 KB each */
#define BUFFER_B ((u8 *)0x2c0000)
#define MEMORY_NEEDED_KB 4096

/* Conventional memory for the BIOS to write to. */
#define LOW_BUFFER ((u8 *)0x70000)
#define LOW_SEGMENT 0x7000

/* The pattern on the disk, as in demo.asm. */
#define PATTERN_LBA 2800
#define PATTERN_SECTORS 16

/* --- cpu.c --- */

struct cpu_features {
  bool cpuid, fpu, tsc, fxsr, sse, sse2;
  u32 family, model;
  char vendor[13];
  char brand[49];
};

extern struct cpu_features cpu;
void cpu_identify(void);
void cpu_tests(void);

/* --- hw.c: ports, interrupts, time, keyboard, serial line, power --- */

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }

static inline u8 inb(u16 port) {
  u8 v;
  __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}

static inline u16 inw(u16 port) {
  u16 v;
  __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}

static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }

static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }

static inline u32 inl(u16 port) {
  u32 v;
  __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}

#define TICKS_PER_SECOND 100
extern volatile u32 ticks;      /* interrupts of the PIT */
extern volatile u32 user_ticks; /* those of them that came in ring 3 */
extern volatile u32 irq_count[16];
typedef bool (*fault_handler)(struct frame *f); /* true: go on */
extern fault_handler volatile fault_hook;
extern void (*volatile syscall_hook)(struct frame *f);

void hw_init(void);
void interrupts_on(void); /* from now on the timer and the keyboard are ours */
void irq_enable(unsigned irq, bool on);
void bios_call(unsigned number, struct bios_regs *regs);
void serial_put(char c);
void wait_tick(void);
void wait_ticks(u32 n);
int key_raw(void); /* next byte from the keyboard, or -1 */
int key_get(void); /* next character or one of KEY_*, -1 if there is none */
void key_flush(void);
extern u32 key_makes, key_breaks;
bool keyboard_send(u8 byte);
void hw_tests(void); /* timer, clock, interrupt controller, keyboard commands */
void keyboard_test(void);
void power_off(void);
#define KEY_ESCAPE 27

/* --- disk.c --- */

void disk_bios_test(void);
void disk_ata_test(void);

/* --- protect.c --- */

void paging_tests(void);

/* --- bench.c --- */

void benchmark(void);

/* --- graphics.c --- */

void graphics_init(void);
void graphics_mode13(void);
void graphics_mode12(void);
void graphics_vbe(void);
void graphics_plasma(void);

/* --- text.c: the text screen and formatted output --- */

enum {
  BLUE = 1,
  GREEN = 2,
  CYAN = 3,
  RED = 4,
  GREY = 7,
  DARK = 8,
  LIGHT_GREEN = 10,
  LIGHT_RED = 12,
  YELLOW = 14,
  WHITE = 15
};

size_t format_v(char *out, size_t size, const char *format, va_list ap); /* %s %c %d %u %x, width, 0 and - */
size_t format_to(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void text_mode(void);
void page(const char *title); /* an empty text page with a head line */
void text_colour(u8 attribute);
void text_at(unsigned column, unsigned row);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void serial_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- main.c --- */

enum outcome { FAILED, PASSED, SKIPPED };
extern bool on_text; /* the screen is in text mode */
void report(const char *name, enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define check(name, ok, ...) report(name, (ok) ? PASSED : FAILED, __VA_ARGS__)
void hold(const char *screen); /* tell the serial line, and keep the picture until a key or 3 seconds */
void give_up(struct frame *f) __attribute__((noreturn));
u32 crc32(const u8 *data, size_t size);
u8 pattern_byte(u32 *state);

void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
