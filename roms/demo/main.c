/* SPDX-License-Identifier: MIT */
/*
 * The demo disk's course: pages of tests with text and graphics between them, a report on the screen and on
 * the serial line (its last line is "demo: N passed, N failed"), then a menu that waits for somebody.
 */
#include "demo.h"

#define RESULTS_MAX 48

static struct result {
  const char *name;
  enum outcome outcome;
} results[RESULTS_MAX];
static unsigned result_count, outcome_count[3];
bool on_text;

static const struct {
  const char *word;
  u8 colour;
} outcome_words[] = {
    [FAILED] = {"FAIL", LIGHT_RED}, [PASSED] = {"PASS", LIGHT_GREEN}, [SKIPPED] = {"SKIP", YELLOW}};

void report(const char *name, enum outcome outcome, const char *format, ...) {
  char detail[96];
  va_list ap;
  va_start(ap, format);
  format_v(detail, sizeof detail, format, ap);
  va_end(ap);
  if (result_count < RESULTS_MAX)
    results[result_count++] = (struct result){name, outcome};
  outcome_count[outcome]++;
  serial_print("%s %s: %s\n", outcome_words[outcome].word, name, detail);
  if (!on_text)
    return;
  print("  %-24s ", name);
  text_colour(outcome_words[outcome].colour);
  print("%s", outcome_words[outcome].word);
  text_colour(GREY);
  print("  %s\n", detail);
}

void hold(const char *screen) {
  if (on_text) {
    text_colour(DARK);
    text_at(2, 24);
    print("any key: go on");
    text_colour(GREY);
  }
  key_flush();
  serial_print("demo: screen %s\n", screen);
  for (u32 start = ticks; ticks - start < 3 * TICKS_PER_SECOND; wait_tick())
    if (key_get() >= 0)
      break;
}

void give_up(struct frame *f) {
  __asm__ volatile("cli");
  serial_print("FAIL exception %u, error %x, at %x:%x\n", f->vector, f->error, f->cs, f->eip);
  serial_print("demo: %u passed, %u failed\n", outcome_count[PASSED], outcome_count[FAILED] + 1);
  print("\n  Unexpected exception %u, error %x, at %x:%x\n", f->vector, f->error, f->cs, f->eip);
  for (;;)
    __asm__ volatile("cli; hlt");
}

u32 crc32(const u8 *data, size_t size) {
  u32 crc = 0xffffffff;
  for (size_t i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

u8 pattern_byte(u32 *state) {
  *state = (*state * 1103515245u + 12345) & 0x7fffffff;
  return (u8)(*state >> 16);
}

/* --- memory --- */

struct range {
  u32 base, base_high, length, length_high, type;
};

/* The BIOS's map of memory; gives KB above 1 MB. */
static u32 memory_map(void) {
  struct range *range = (struct range *)LOW_BUFFER;
  struct bios_regs r = {.ebx = 0};
  u32 extended = 0;
  for (int i = 0; i < 16; i++) {
    r.eax = 0xe820;
    r.ecx = 20;
    r.edx = 0x534d4150;
    r.es = LOW_SEGMENT;
    r.edi = 0;
    bios_call(0x15, &r);
    if ((r.flags & 1) || r.eax != 0x534d4150)
      break;
    if (range->type == 1 && range->base == 0x100000 && !range->base_high)
      extended = range->length >> 10;
    if (!r.ebx)
      break;
  }
  if (!extended) {
    r = (struct bios_regs){.eax = 0x8800};
    bios_call(0x15, &r);
    extended = r.flags & 1 ? 0 : r.eax & 0xffff;
  }
  return extended;
}

static bool memory_works(void) {
  volatile u32 *m = (volatile u32 *)BUFFER_A;
  bool ok = true;
  for (u32 i = 0; i < 65536; i++)
    m[i] = i * 2654435761u;
  *(volatile u32 *)0x0c = *(volatile u32 *)0x0c; /* with the A20 gate shut this would be what follows */
  for (u32 i = 0; i < 65536; i++)
    ok = ok && m[i] == i * 2654435761u;
  volatile u8 *bytes = (volatile u8 *)BUFFER_A;
  ok = ok && bytes[4] == 0xb1 && bytes[7] == 0x9e;
  return ok;
}

/* --- the course --- */

static void first_page(void) {
  static const u16 shades[] = {0xb0, 0xb1, 0xb2, 0xdb};
  text_mode();
  page("text mode and CPU");
  for (u8 colour = 0; colour < 16; colour++)
    for (int i = 0; i < 4; i++) {
      text_colour(colour);
      text_at(8 + colour * 4u + (u32)i, 1);
      print("%c", shades[i]);
    }
  text_colour(GREY);
  text_at(0, 2);
  u32 extended = memory_map();
  print("  CPU %s, family %u, model %u%s%s\n", cpu.vendor, cpu.family, cpu.model, cpu.brand[0] ? ", " : "",
        cpu.brand);
  print("  Memory %u KB, booted from drive %02x\n\n", extended + 1024, (u32)boot_drive);
  serial_print("demo: CPU %s, family %u, model %u, memory %u KB\n", cpu.vendor, cpu.family, cpu.model,
               extended + 1024);
  check("memory", extended + 1024 >= MEMORY_NEEDED_KB - 64 && memory_works(),
        "256 KB above 1 MB, A20 is open");
  volatile u16 *corner = (volatile u16 *)0xb8000 + 79;
  u16 kept = *corner;
  *corner = 0x1f41;
  check("text memory", *corner == 0x1f41, "written and read back");
  *corner = kept;
  disk_bios_test();
  cpu_tests();
}

static void report_page(void) {
  page("report");
  for (unsigned i = 0; i < result_count; i++) {
    text_at(i < 20 ? 2 : 42, 2 + i % 20);
    text_colour(outcome_words[results[i].outcome].colour);
    print("%s", outcome_words[results[i].outcome].word);
    text_colour(GREY);
    print("  %s", results[i].name);
  }
  text_at(2, 22);
  text_colour(outcome_count[FAILED] ? LIGHT_RED : LIGHT_GREEN);
  print("%u passed, %u failed", outcome_count[PASSED], outcome_count[FAILED]);
  text_colour(GREY);
  if (outcome_count[SKIPPED])
    print(", %u skipped", outcome_count[SKIPPED]);
  text_at(2, 24);
  text_colour(WHITE);
  print("P plasma   R restart   Esc power off");
  text_colour(GREY);
}

static void reboot(void) {
  for (int i = 0; i < 100000 && (inb(0x64) & 2); i++)
    ;
  outb(0x64, 0xfe);
}

static void menu(void) {
  report_page();
  key_flush();
  serial_print("demo: %u passed, %u failed\n", outcome_count[PASSED], outcome_count[FAILED]);
  for (;;) {
    int c = key_get();
    if (c < 0) {
      wait_tick();
    } else if (c == KEY_ESCAPE) {
      power_off();
      page("good bye");
      print("  The machine may be switched off now.\n");
    } else if (c == 'r') {
      reboot();
    } else {
      graphics_plasma();
      text_mode();
      report_page();
    }
  }
}

void kernel_main(void) {
  hw_init();
  serial_print("demo: Dragoman demo disk\n");
  cpu_identify();
  first_page();
  graphics_init();
  interrupts_on();
  hold("text");
  graphics_mode13();
  graphics_mode12();
  graphics_vbe();
  text_mode();
  page("protected mode and devices");
  paging_tests();
  hw_tests();
  disk_ata_test();
  hold("protected");
  page("keyboard");
  keyboard_test();
  hold("keyboard");
  page("benchmark");
  benchmark();
  hold("benchmark");
  menu();
}
