/* SPDX-License-Identifier: MIT */
/*
 * Direct kernel boot: lays out a Linux kernel (Documentation/x86/boot.rst, protocols 2.00 to 2.15 and before) or a
 * Multiboot 1 kernel (specification 0.6.96; ELF32 or address fields) in guest memory. The option ROM
 * roms/kernelboot.asm copies the pieces there after the firmware has run.
 *
 * Not modelled: Multiboot's video mode request (the header field is ignored), 64-bit ELF.
 */
#include "devices/loader.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRMWARE_RESERVE (1u << 20) /* at the top of memory, where the firmware keeps its tables */
#define MIB (1u << 20)

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static void put16(uint8_t *p, uint32_t value) { memcpy(p, &(uint16_t){(uint16_t)value}, 2); }
static void put32(uint8_t *p, uint32_t value) { memcpy(p, &value, 4); }

static int refuse(const char **why, const char *text, int error) {
  *why = text;
  return error;
}

static bool piece_alloc(struct load_piece *piece, uint32_t addr, size_t len) {
  piece->addr = addr;
  piece->data = calloc(1, len ? len : 1);
  piece->len = piece->data ? len : 0;
  return piece->data != NULL;
}

static bool piece_copy(struct load_piece *piece, uint32_t addr, const void *from, size_t len) {
  if (!piece_alloc(piece, addr, len))
    return false;
  if (len)
    memcpy(piece->data, from, len);
  return true;
}

void load_plan_free(struct load_plan *plan) {
  free(plan->kernel.data);
  free(plan->initrd.data);
  free(plan->cmdline.data);
  free(plan->setup.data);
  memset(plan, 0, sizeof *plan);
}

/* --- Linux -------------------------------------------------------------------------------------------- */

/* Fields of the setup header, by their offset in the file. */
#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4
#define VID_MODE 0x1fa
#define HEADER_MAGIC 0x202
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS 0x211
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define HEAP_END_PTR 0x224
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define LINUX_HEADER_END 0x264

#define LOADED_HIGH 0x01
#define CAN_USE_HEAP 0x80
#define LOADER_UNASSIGNED 0xff
#define OLD_CMDLINE_MAGIC 0x20
#define OLD_CMDLINE_OFFSET 0x22

static bool is_linux(const struct load_file *f) {
  return f->len >= LINUX_HEADER_END && get16(f->data + 0x1fe) == 0xaa55 &&
         memcmp(f->data + HEADER_MAGIC, "HdrS", 4) == 0;
}

/* "vga=ask", "vga=0x317": what a boot loader would put into vid_mode. */
static void linux_video_mode(uint8_t *setup, const char *append) {
  const char *vga = strstr(append, "vga=");
  if (!vga || (vga != append && vga[-1] != ' '))
    return;
  vga += 4;
  if (strncmp(vga, "normal", 6) == 0)
    put16(setup + VID_MODE, 0xffff);
  else if (strncmp(vga, "ext", 3) == 0)
    put16(setup + VID_MODE, 0xfffe);
  else if (strncmp(vga, "ask", 3) == 0)
    put16(setup + VID_MODE, 0xfffd);
  else
    put16(setup + VID_MODE, (uint32_t)strtoul(vga, NULL, 0));
}

/* The highest address below all limits, above what the kernel needs to unpack itself. */
static int linux_place_initrd(const struct load_plan *plan, const uint8_t *h, uint16_t version, uint64_t len,
                              uint64_t ram, uint32_t *addr, const char **why) {
  uint64_t top = version >= 0x203 ? (uint64_t)get32(h + INITRD_ADDR_MAX) + 1 : 0x38000000;
  uint64_t end = plan->kernel.addr + (uint64_t)plan->kernel.len;
  if (version >= 0x20a) {
    uint64_t unpacked = (uint64_t)get32(h + PREF_ADDRESS) + get32(h + INIT_SIZE);
    end = unpacked > end && get32(h + PREF_ADDRESS + 4) == 0 ? unpacked : end;
  }
  if (top > ram - FIRMWARE_RESERVE)
    top = ram - FIRMWARE_RESERVE;
  if (len > top || ((top - len) & ~4095ull) < end)
    return refuse(why, "the initrd does not fit into the machine's memory beside the kernel (more with -m)", -ENOMEM);
  *addr = (uint32_t)((top - len) & ~4095ull);
  return 0;
}

static int plan_linux(struct load_plan *plan, const struct load_file *f, const char *append,
                      const struct load_file *initrd, uint64_t ram, const char **why) {
  uint16_t version = get16(f->data + VERSION);
  bool high = version >= 0x200 && (f->data[LOADFLAGS] & LOADED_HIGH);
  size_t setup_len = ((f->data[SETUP_SECTS] ? f->data[SETUP_SECTS] : 4) + 1) * 512u;
  uint32_t setup_addr = high ? 0x10000 : 0x90000, cmdline_addr = high ? 0x20000 : 0x9a000;
  if (f->len <= setup_len)
    return refuse(why, "the kernel image is truncated", -EINVAL);
  /* syssize counts paragraphs and is rounded up; before 2.04 only its low half is defined. */
  uint64_t expected = (uint64_t)(version >= 0x204 ? get32(f->data + SYSSIZE) : get16(f->data + SYSSIZE)) * 16;
  uint64_t body = f->len - setup_len;
  if (expected > body + 15 && version >= 0x204)
    return refuse(why, "the kernel image is truncated", -EINVAL);
  if (!high && body > 0x80000)
    return refuse(why, "the kernel image is too big for low memory", -EINVAL);
  if (ram < 2 * FIRMWARE_RESERVE || (high && MIB + body > ram - FIRMWARE_RESERVE))
    return refuse(why, "the kernel does not fit into the machine's memory (more with -m)", -ENOMEM);
  size_t cmdline_len = strlen(append) + 1;
  size_t cmdline_max = version >= 0x206 ? get32(f->data + CMDLINE_SIZE) : 255;
  if (cmdline_len > cmdline_max + 1 || cmdline_len > 0x6000)
    return refuse(why, "the kernel does not take so long a command line (-append)", -EINVAL);

  if (!piece_copy(&plan->setup, setup_addr, f->data, setup_len < LINUX_HEADER_END ? LINUX_HEADER_END : setup_len) ||
      !piece_copy(&plan->kernel, high ? MIB : 0x10000, f->data + setup_len, body) ||
      !piece_copy(&plan->cmdline, cmdline_addr, append, cmdline_len))
    return refuse(why, "out of memory", -ENOMEM);
  uint8_t *h = plan->setup.data;
  h[TYPE_OF_LOADER] = LOADER_UNASSIGNED;
  linux_video_mode(h, append);
  if (version >= 0x201) {
    h[LOADFLAGS] |= CAN_USE_HEAP;
    put16(h + HEAP_END_PTR, (high ? 0xfe00 : cmdline_addr - setup_addr) - 0x200);
  }
  if (version >= 0x202) {
    put32(h + CMD_LINE_PTR, cmdline_addr);
  } else {
    put16(h + OLD_CMDLINE_MAGIC, 0xa33f);
    put16(h + OLD_CMDLINE_OFFSET, cmdline_addr - setup_addr);
  }
  if (!initrd)
    return 0;
  uint32_t addr;
  int error = linux_place_initrd(plan, h, version, initrd->len, ram, &addr, why);
  if (error)
    return error;
  if (!piece_copy(&plan->initrd, addr, initrd->data, initrd->len))
    return refuse(why, "out of memory", -ENOMEM);
  put32(h + RAMDISK_IMAGE, addr);
  put32(h + RAMDISK_SIZE, (uint32_t)initrd->len);
  return 0;
}

/* --- Multiboot 1 -------------------------------------------------------------------------------------- */

#define MB_MAGIC 0x1badb002u
#define MB_SEARCH 8192u
#define MB_KNOWN 0x00000007u /* of the flags that a loader must understand */
#define MB_MUST 0x0000ffffu
#define MB_ADDRESSES 0x00010000u

#define MBI_ADDR 0x4000u
#define MBI_MAX 0x2000u
#define MBI_FLAGS 0
#define MBI_CMDLINE 16
#define MBI_MODS_COUNT 20
#define MBI_MODS_ADDR 24
#define MBI_LOADER_NAME 64
#define MBI_SIZE 128u
#define MBI_HAS (1u << 0 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9) /* memory, command line, modules, map, loader */

#define LOW_FIRST 0x8000u /* what the option ROM leaves alone */
#define LOW_LAST 0x9f000u

static const uint8_t *multiboot_header(const struct load_file *f) {
  for (size_t at = 0; at + 12 <= f->len && at < MB_SEARCH; at += 4) {
    const uint8_t *h = f->data + at;
    if (get32(h) == MB_MAGIC && get32(h) + get32(h + 4) + get32(h + 8) == 0)
      return h;
  }
  return NULL;
}

static bool multiboot_range_ok(uint64_t first, uint64_t end, uint64_t ram) {
  if (first >= MIB)
    return end <= ram - FIRMWARE_RESERVE;
  return first >= LOW_FIRST && end <= LOW_LAST;
}

static int multiboot_by_addresses(struct load_plan *plan, const struct load_file *f, const uint8_t *h, uint64_t ram,
                                  const char **why) {
  size_t at = (size_t)(h - f->data);
  if (at + 32 > f->len)
    return refuse(why, "the Multiboot header is truncated", -EINVAL);
  uint32_t header_addr = get32(h + 12), load_addr = get32(h + 16), load_end = get32(h + 20), bss_end = get32(h + 24);
  if (load_addr > header_addr || header_addr - load_addr > at)
    return refuse(why, "the Multiboot header's addresses are inconsistent", -EINVAL);
  size_t start = at - (header_addr - load_addr);
  uint64_t len = load_end ? (uint64_t)load_end - load_addr : f->len - start;
  if (load_end && load_end < load_addr)
    return refuse(why, "the Multiboot header's addresses are inconsistent", -EINVAL);
  if (start + len > f->len)
    return refuse(why, "the kernel image is truncated", -EINVAL);
  uint64_t size = bss_end > load_addr + len ? bss_end - load_addr : len;
  if (!multiboot_range_ok(load_addr, load_addr + size, ram))
    return refuse(why, "the kernel does not fit into the machine's memory (more with -m)", -ENOMEM);
  if (!piece_alloc(&plan->kernel, load_addr, size))
    return refuse(why, "out of memory", -ENOMEM);
  memcpy(plan->kernel.data, f->data + start, len);
  plan->entry = get32(h + 28);
  return 0;
}

/* Program header n, checked to lie in the file. */
static bool elf_segment(const struct load_file *f, const Elf32_Ehdr *eh, unsigned n, Elf32_Phdr *ph) {
  uint64_t at = eh->e_phoff + (uint64_t)n * eh->e_phentsize;
  if (at + sizeof *ph > f->len)
    return false;
  memcpy(ph, f->data + at, sizeof *ph);
  return true;
}

static int multiboot_by_elf(struct load_plan *plan, const struct load_file *f, uint64_t ram, const char **why) {
  Elf32_Ehdr eh;
  Elf32_Phdr ph;
  if (f->len < sizeof eh)
    return refuse(why, "the kernel image is truncated", -EINVAL);
  memcpy(&eh, f->data, sizeof eh);
  if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS32 || eh.e_machine != EM_386)
    return refuse(why, "a Multiboot kernel must be ELF for i386 or give its addresses", -EINVAL);
  uint64_t first = UINT64_MAX, end = 0;
  for (unsigned i = 0; i < eh.e_phnum; i++) {
    if (!elf_segment(f, &eh, i, &ph) || (ph.p_type == PT_LOAD && (uint64_t)ph.p_offset + ph.p_filesz > f->len))
      return refuse(why, "the kernel image is truncated", -EINVAL);
    if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
      continue;
    if (ph.p_filesz > ph.p_memsz || !multiboot_range_ok(ph.p_paddr, (uint64_t)ph.p_paddr + ph.p_memsz, ram))
      return refuse(why, "the kernel does not fit into the machine's memory (more with -m)", -ENOMEM);
    first = ph.p_paddr < first ? ph.p_paddr : first;
    end = (uint64_t)ph.p_paddr + ph.p_memsz > end ? (uint64_t)ph.p_paddr + ph.p_memsz : end;
  }
  if (first >= end)
    return refuse(why, "the kernel image has nothing to load", -EINVAL);
  if (!multiboot_range_ok(first, end, ram))
    return refuse(why, "the kernel has parts below and above 1 MB", -ENOTSUP);
  if (!piece_alloc(&plan->kernel, (uint32_t)first, end - first))
    return refuse(why, "out of memory", -ENOMEM);
  plan->entry = eh.e_entry;
  for (unsigned i = 0; i < eh.e_phnum; i++) {
    elf_segment(f, &eh, i, &ph);
    if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
      continue;
    memcpy(plan->kernel.data + (ph.p_paddr - first), f->data + ph.p_offset, ph.p_filesz);
    if (eh.e_entry - ph.p_vaddr < ph.p_memsz) /* an address of the segment as linked: enter it where it lies */
      plan->entry = eh.e_entry - ph.p_vaddr + ph.p_paddr;
  }
  return 0;
}

/* A string behind the information structure; its guest address, 0 if there is no room. */
static uint32_t multiboot_string(struct load_piece *info, size_t *used, const char *text) {
  size_t len = strlen(text) + 1;
  if (len > info->len - *used)
    return 0;
  memcpy(info->data + *used, text, len);
  *used += len;
  return info->addr + (uint32_t)(*used - len);
}

static int multiboot_modules(struct load_plan *plan, const struct load_file *module, unsigned count, uint64_t ram,
                             size_t *used, const char **why) {
  uint64_t first = (plan->kernel.addr + (uint64_t)plan->kernel.len + 4095) & ~4095ull, size = 0;
  if (first < MIB)
    first = MIB;
  for (unsigned i = 0; i < count; i++)
    size += (module[i].len + 4095) & ~(uint64_t)4095;
  if (first + size > ram - FIRMWARE_RESERVE)
    return refuse(why, "the modules do not fit into the machine's memory (more with -m)", -ENOMEM);
  if (!piece_alloc(&plan->initrd, (uint32_t)first, size))
    return refuse(why, "out of memory", -ENOMEM);
  size_t list = *used, at = 0;
  *used += count * 16u;
  put32(plan->cmdline.data + MBI_MODS_COUNT, count);
  put32(plan->cmdline.data + MBI_MODS_ADDR, plan->cmdline.addr + (uint32_t)list);
  for (unsigned i = 0; i < count; i++) {
    uint8_t *entry = plan->cmdline.data + list + i * 16u;
    uint32_t name = multiboot_string(&plan->cmdline, used, module[i].name);
    if (!name)
      return refuse(why, "the command lines are too long", -EINVAL);
    memcpy(plan->initrd.data + at, module[i].data, module[i].len);
    put32(entry, (uint32_t)(first + at));
    put32(entry + 4, (uint32_t)(first + at + module[i].len));
    put32(entry + 8, name);
    at += (module[i].len + 4095) & ~(size_t)4095;
  }
  return 0;
}

static int plan_multiboot(struct load_plan *plan, const struct load_file *f, const uint8_t *h, const char *append,
                          const struct load_file *module, unsigned count, uint64_t ram, const char **why) {
  uint32_t flags = get32(h + 4);
  if (flags & MB_MUST & ~MB_KNOWN)
    return refuse(why, "the kernel asks for Multiboot features that are not provided", -ENOTSUP);
  if (ram < 2 * FIRMWARE_RESERVE)
    return refuse(why, "the kernel does not fit into the machine's memory (more with -m)", -ENOMEM);
  int error = flags & MB_ADDRESSES ? multiboot_by_addresses(plan, f, h, ram, why) : multiboot_by_elf(plan, f, ram, why);
  if (error)
    return error;
  if (plan->entry == 0)
    return refuse(why, "the kernel has no entry point", -EINVAL);
  if (!piece_alloc(&plan->cmdline, MBI_ADDR, MBI_MAX))
    return refuse(why, "out of memory", -ENOMEM);
  size_t used = MBI_SIZE;
  if (count) {
    error = multiboot_modules(plan, module, count, ram, &used, why);
    if (error)
      return error;
  }
  char line[MBI_MAX];
  if (snprintf(line, sizeof line, "%s%s%s", f->name, *append ? " " : "", append) >= (int)sizeof line)
    return refuse(why, "the command line is too long", -EINVAL);
  uint32_t cmdline = multiboot_string(&plan->cmdline, &used, line);
  uint32_t loader = multiboot_string(&plan->cmdline, &used, "Dragoman");
  if (!cmdline || !loader)
    return refuse(why, "the command line is too long", -EINVAL);
  put32(plan->cmdline.data + MBI_FLAGS, MBI_HAS);
  put32(plan->cmdline.data + MBI_CMDLINE, cmdline);
  put32(plan->cmdline.data + MBI_LOADER_NAME, loader);
  return 0;
}

int load_plan_make(struct load_plan *plan, const struct load_file *kernel, const char *append,
                   const struct load_file *initrd, unsigned initrd_count, uint64_t ram, const char **why) {
  memset(plan, 0, sizeof *plan);
  *why = "";
  if (initrd_count > LOAD_MODULES)
    return refuse(why, "too many modules", -EINVAL);
  const uint8_t *header = multiboot_header(kernel);
  if (header)
    return plan_multiboot(plan, kernel, header, append, initrd, initrd_count, ram, why);
  if (!is_linux(kernel))
    return refuse(why, "it is neither a Linux bzImage nor a Multiboot kernel", -EINVAL);
  if (initrd_count > 1)
    return refuse(why, "a Linux kernel takes one initrd", -EINVAL);
  return plan_linux(plan, kernel, append, initrd_count ? initrd : NULL, ram, why);
}
