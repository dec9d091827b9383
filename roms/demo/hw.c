/* SPDX-License-Identifier: MIT */
/*
 * The demo's own drivers for what every PC has: interrupt controllers (8259A), interval timer (8254), clock
 * (MC146818), keyboard controller (8042), serial port (16550), and PIIX4's power management for switching
 * off.
 */
#include "demo.h"

#define COM1 0x3f8
#define PIC1 0x20
#define PIC2 0xa0
#define IRQ_BASE 0x20

struct gate {
  u16 low, selector;
  u16 type, high;
};

extern struct {
  u16 limit;
  u32 base;
} __attribute__((packed)) idt_pointer;
extern const u8 vectors[], vector_80[];

volatile u32 ticks, user_ticks;
volatile u32 irq_count[16];
fault_handler volatile fault_hook;
void (*volatile syscall_hook)(struct frame *f);

static struct gate idt[0x81];
static bool serial_there, interrupts_ours;
static u8 bios_mask1, bios_mask2, mask1 = 0xff, mask2 = 0xff;

/* --- serial line --- */

static void serial_init(void) {
  outb(COM1 + 7, 0x5a);
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 0x80);
  outb(COM1 + 0, 1); /* 115200 */
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3); /* 8N1 */
  outb(COM1 + 2, 7);
  outb(COM1 + 4, 3);
  serial_there = inb(COM1 + 5) != 0xff;
}

void serial_put(char c) {
  for (u32 i = 0; serial_there && i < 1000000; i++)
    if (inb(COM1 + 5) & 0x20) {
      outb(COM1, (u8)c);
      return;
    }
  serial_there = false;
}

/* --- interrupts --- */

static void pic_program(u8 base1, u8 base2, u8 m1, u8 m2) {
  outb(PIC1, 0x11);
  outb(PIC2, 0x11);
  outb(PIC1 + 1, base1);
  outb(PIC2 + 1, base2);
  outb(PIC1 + 1, 4);
  outb(PIC2 + 1, 2);
  outb(PIC1 + 1, 1);
  outb(PIC2 + 1, 1);
  outb(PIC1 + 1, m1);
  outb(PIC2 + 1, m2);
}

void irq_enable(unsigned irq, bool on) {
  u8 *mask = irq < 8 ? &mask1 : &mask2;
  u8 bit = (u8)(1 << (irq & 7));
  *mask = (u8)(on ? *mask & ~bit : *mask | bit);
  outb(irq < 8 ? PIC1 + 1 : PIC2 + 1, *mask);
}

/* --- keyboard --- */

static volatile u8 key_queue[64];
static volatile unsigned key_in, key_out;
u32 key_makes, key_breaks;

static void keyboard_interrupt(void) {
  if (!(inb(0x64) & 1))
    return;
  u8 byte = inb(0x60);
  if (key_in - key_out < sizeof key_queue)
    key_queue[key_in++ % sizeof key_queue] = byte;
}

int key_raw(void) { return key_in == key_out ? -1 : key_queue[key_out++ % sizeof key_queue]; }

void key_flush(void) {
  while (key_raw() >= 0)
    ;
}

int key_get(void) {
  static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
  static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
  static bool shift;
  int code;
  while ((code = key_raw()) >= 0) {
    unsigned key = code & 0x7f;
    bool make = !(code & 0x80);
    if (code == 0xe0 || code == 0xe1 || code == 0xfa || code == 0xfe)
      continue;
    if (make)
      key_makes++;
    else
      key_breaks++;
    if (key == 0x2a || key == 0x36)
      shift = make;
    else if (make && key < sizeof plain - 1 && plain[key])
      return (u8)(shift ? shifted[key] : plain[key]);
  }
  return -1;
}

bool keyboard_send(u8 byte) {
  for (u32 i = 0; i < 100000; i++)
    if (!(inb(0x64) & 2)) {
      outb(0x60, byte);
      return true;
    }
  return false;
}

/* Called by entry.asm for every interrupt and exception. */
void interrupt(struct frame *f) {
  if (f->vector == 0x80 && syscall_hook) {
    syscall_hook(f);
    return;
  }
  if (f->vector < IRQ_BASE || f->vector >= IRQ_BASE + 16) {
    if (!fault_hook || !fault_hook(f))
      give_up(f);
    return;
  }
  unsigned irq = f->vector - IRQ_BASE;
  if (irq == 7 || irq == 15) { /* is it real? */
    u16 pic = irq == 7 ? PIC1 : PIC2;
    outb(pic, 0x0b);
    if (!(inb(pic) & 0x80)) {
      if (irq == 15)
        outb(PIC1, 0x20);
      return;
    }
  }
  irq_count[irq]++;
  if (irq == 0) {
    ticks++;
    if (f->cs & 3)
      user_ticks++;
  } else if (irq == 1) {
    keyboard_interrupt();
  } else if (irq == 8) {
    outb(0x70, 0x0c);
    inb(0x71);
  } else if (irq == 14) {
    inb(0x1f7);
  } else if (irq == 15) {
    inb(0x177);
  }
  if (irq >= 8)
    outb(PIC2, 0x20);
  outb(PIC1, 0x20);
}

static void set_gate(unsigned n, const u8 *entry, unsigned privilege) {
  u32 a = (u32)entry;
  idt[n] = (struct gate){(u16)a, 8, (u16)(0x8e00 | privilege << 13), (u16)(a >> 16)};
}

void hw_init(void) {
  serial_init();
  for (unsigned i = 0; i < 48; i++)
    set_gate(i, vectors + 16 * i, 0);
  set_gate(0x80, (const u8 *)(((u32)vector_80 + 15) & ~15u), 3);
  idt_pointer.base = (u32)idt;
  __asm__ volatile("lidt %0" : : "m"(idt_pointer));
  bios_mask1 = inb(PIC1 + 1);
  bios_mask2 = inb(PIC2 + 1);
}

static void pit_program(void) {
  u32 divisor = 1193182 / TICKS_PER_SECOND;
  outb(0x43, 0x34); /* counter 0, mode 2 */
  outb(0x40, (u8)divisor);
  outb(0x40, (u8)(divisor >> 8));
}

void interrupts_on(void) {
  pic_program(IRQ_BASE, IRQ_BASE + 8, mask1, mask2);
  interrupts_ours = true;
  pit_program();
  irq_enable(0, true);
  irq_enable(1, true);
  irq_enable(2, true);
  __asm__ volatile("sti");
}

/* The BIOS gets its interrupt vectors back for the time of the call. */
void bios_call(unsigned number, struct bios_regs *regs) {
  u32 flags;
  __asm__ volatile("pushfl; popl %0; cli" : "=r"(flags) : : "memory");
  if (interrupts_ours)
    pic_program(0x08, 0x70, bios_mask1, bios_mask2);
  bios_enter(number, regs);
  if (interrupts_ours) {
    pic_program(IRQ_BASE, IRQ_BASE + 8, mask1, mask2);
    keyboard_interrupt(); /* initialising the controller forgets an edge */
  }
  if (flags & 0x200)
    __asm__ volatile("sti" : : : "memory");
}

void wait_tick(void) {
  u32 now = ticks;
  while (ticks == now)
    __asm__ volatile("hlt" : : : "memory");
}

void wait_ticks(u32 n) {
  while (n--)
    wait_tick();
}

/* --- tests --- */

static u8 cmos(u8 index) {
  outb(0x70, index);
  return inb(0x71);
}

static u8 rtc_second(void) {
  while (cmos(0x0a) & 0x80)
    ;
  return cmos(0);
}

/* Waits for the clock's next second; false after 2.5 of the timer's. */
static bool next_second(u8 *second) {
  for (u32 start = ticks; ticks - start < 250; wait_tick()) {
    u8 now = rtc_second();
    if (now != *second) {
      *second = now;
      return true;
    }
  }
  return false;
}

static void timer_test(void) {
  u32 before = irq_count[0];
  u8 second = rtc_second();
  bool edge = next_second(&second);
  u32 start = ticks;
  bool moved = edge && next_second(&second) && next_second(&second);
  u32 passed = ticks - start;
  check("timer interrupt", irq_count[0] - before > 100, "IRQ0, %u interrupts", irq_count[0] - before);
  check("timer against clock", moved && passed >= 190 && passed <= 210, "%u of 100 Hz in 2 RTC seconds",
        passed);
}

static void rtc_test(void) {
  u8 a = cmos(0x0a), b = cmos(0x0b);
  outb(0x70, 0x0a);
  outb(0x71, (u8)((a & 0xf0) | 10)); /* 64 Hz */
  outb(0x70, 0x0b);
  outb(0x71, (u8)(b | 0x40));
  cmos(0x0c);
  irq_enable(8, true);
  u32 before = irq_count[8];
  wait_ticks(50);
  u32 count = irq_count[8] - before;
  irq_enable(8, false);
  outb(0x70, 0x0b);
  outb(0x71, b);
  outb(0x70, 0x0a);
  outb(0x71, a);
  cmos(0x0c);
  check("clock interrupt", count >= 28 && count <= 36, "IRQ8, %u of 64 Hz in 0.5 s", count);
}

static void counter_test(void) {
  u16 last = 0;
  unsigned falls = 0;
  for (unsigned i = 0; i < 200; i++) {
    outb(0x43, 0);
    u16 v = inb(0x40);
    v |= (u16)(inb(0x40) << 8);
    falls += i && v <= last;
    last = v;
  }
  check("timer counter", falls >= 190, "counts down, %u of 199 readings", falls);
}

static void keyboard_echo(void) {
  key_flush();
  bool answered = false;
  if (keyboard_send(0xee))
    for (u32 start = ticks; !answered && ticks - start < 30;) {
      int byte = key_raw();
      answered = byte == 0xee;
      if (byte < 0)
        wait_tick();
    }
  report("keyboard echo", answered ? PASSED : SKIPPED,
         answered ? "command EE answered by IRQ1" : "no answer");
}

void hw_tests(void) {
  counter_test();
  timer_test();
  rtc_test();
  keyboard_echo();
}

void keyboard_test(void) {
  char typed[64];
  unsigned count = 0;
  u32 makes, breaks;
  key_flush();
  makes = key_makes;
  breaks = key_breaks;
  print("  Type something and press Enter (nothing happens for 10 seconds: go on).\n\n  > ");
  serial_print("demo: type\n");
  text_colour(WHITE);
  for (u32 last = ticks; ticks - last < 10 * TICKS_PER_SECOND;) {
    int c = key_get();
    if (c < 0) {
      wait_tick();
      continue;
    }
    last = ticks;
    if (c == '\n')
      break;
    if (c >= ' ' && count < sizeof typed - 1) {
      typed[count++] = (char)c;
      print("%c", c);
    }
  }
  wait_ticks(20); /* the last release */
  while (key_get() >= 0)
    ;
  typed[count] = 0;
  makes = key_makes - makes;
  breaks = key_breaks - breaks;
  text_colour(GREY);
  print("\n\n");
  if (count)
    check("keyboard", makes >= count && breaks, "'%s', %u pressed, %u released", typed, makes, breaks);
  else
    report("keyboard", SKIPPED, "nobody typed");
}

/* --- power --- */

static u32 pci_read(unsigned device, unsigned function, unsigned reg) {
  outl(0xcf8, 0x80000000u | device << 11 | function << 8 | reg);
  return inl(0xcfc);
}

/* PIIX4's power management: PM1a_CNT with SLP_EN, and the sleep type that boards with it use for S5. */
static void piix4_off(void) {
  for (unsigned device = 0; device < 32; device++)
    for (unsigned function = 0; function < 8; function++)
      if (pci_read(device, function, 0) == 0x71138086 && (pci_read(device, function, 0x80) & 1))
        outw((u16)((pci_read(device, function, 0x40) & 0xffc0) + 4), 0x2000);
}

static void apm_off(void) {
  struct bios_regs r = {.eax = 0x5301};
  bios_call(0x15, &r); /* connect, real mode */
  r = (struct bios_regs){.eax = 0x530e, .ecx = 0x0102};
  bios_call(0x15, &r); /* version 1.2 */
  r = (struct bios_regs){.eax = 0x5307, .ebx = 1, .ecx = 3};
  bios_call(0x15, &r); /* all devices off */
}

void power_off(void) {
  piix4_off();
  wait_ticks(5);
  apm_off();
}
