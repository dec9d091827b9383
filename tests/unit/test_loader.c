/* SPDX-License-Identifier: MIT */
/* Kernel images: where the pieces of Linux and Multiboot kernels go, and that broken ones are refused. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/loader.h"

#define RAM (64ull << 20)
#define MIB (1u << 20)

static uint8_t image[0x8000];
static struct load_file file;
static struct load_plan plan;
static const char *why;

static void put16(unsigned at, uint32_t value) { memcpy(image + at, &value, 2); }
static void put32(unsigned at, uint32_t value) { memcpy(image + at, &value, 4); }
static uint32_t peek32(const struct load_piece *piece, uint32_t at) {
  uint32_t value;
  ck_assert_uint_le(at + 4, piece->len);
  memcpy(&value, piece->data + at, 4);
  return value;
}

static int make(const char *append, const struct load_file *initrd, unsigned count, uint64_t ram) {
  return load_plan_make(&plan, &file, append, initrd, count, ram, &why);
}

static void clear(void) {
  memset(image, 0, sizeof image);
  memset(&plan, 0, sizeof plan);
  file = (struct load_file){"kernel", image, sizeof image};
}

static void setup_linux(void) {
  clear();
  image[0x1f1] = 3; /* four setup sectors in all */
  put32(0x1f4, (sizeof image - 4 * 512) / 16);
  put16(0x1fe, 0xaa55);
  memcpy(image + 0x202, "HdrS", 4);
  put16(0x206, 0x20a);
  image[0x211] = 1; /* loaded high */
  put32(0x22c, 0x37ffffff);
  put32(0x238, 255);
  put32(0x258, 0x1000000);
  put32(0x260, 0x800000);
  for (unsigned i = 4 * 512; i < sizeof image; i++)
    image[i] = (uint8_t)i;
}
static void teardown(void) { load_plan_free(&plan); }

START_TEST(linux_high) {
  const uint8_t initrd[5000] = {1, 2, 3};
  ck_assert_int_eq(make("root=/dev/sda vga=0x317", &(struct load_file){"i", initrd, sizeof initrd}, 1, RAM), 0);
  ck_assert_uint_eq(plan.entry, 0);
  ck_assert_uint_eq(plan.setup.addr, 0x10000);
  ck_assert_uint_eq(plan.setup.len, 4 * 512);
  ck_assert_uint_eq(plan.kernel.addr, MIB);
  ck_assert_mem_eq(plan.kernel.data, image + 4 * 512, plan.kernel.len);
  ck_assert_str_eq((char *)plan.cmdline.data, "root=/dev/sda vga=0x317");
  ck_assert_uint_eq(peek32(&plan.setup, 0x228), plan.cmdline.addr);
  ck_assert_uint_eq(plan.setup.data[0x210], 0xff);
  ck_assert_uint_eq(plan.setup.data[0x211], 0x81);
  ck_assert_uint_eq(peek32(&plan.setup, 0x1fa) & 0xffff, 0x317);
  ck_assert_uint_eq(plan.initrd.addr % 4096, 0);
  ck_assert_uint_le(plan.initrd.addr + plan.initrd.len, RAM - MIB);
  ck_assert_uint_ge(plan.initrd.addr, 0x1800000); /* above what the kernel unpacks */
  ck_assert_uint_eq(peek32(&plan.setup, 0x218), plan.initrd.addr);
  ck_assert_uint_eq(peek32(&plan.setup, 0x21c), sizeof initrd);
}
END_TEST

START_TEST(linux_old_and_low) {
  put16(0x206, 0x200);
  image[0x211] = 0;
  ck_assert_int_eq(make("x", NULL, 0, RAM), 0);
  ck_assert_uint_eq(plan.setup.addr, 0x90000);
  ck_assert_uint_eq(plan.kernel.addr, 0x10000);
  ck_assert_uint_eq(peek32(&plan.setup, 0x20) & 0xffff, 0xa33f);
  ck_assert_uint_eq(peek32(&plan.setup, 0x22) & 0xffff, plan.cmdline.addr - 0x90000);
}
END_TEST

START_TEST(linux_refused) {
  const uint8_t initrd[16] = {0};
  struct load_file i = {"i", initrd, sizeof initrd}, two[2] = {i, i};
  char line[300];
  memset(line, 'x', sizeof line);
  line[299] = '\0';
  ck_assert_int_eq(make(line, NULL, 0, RAM), -EINVAL);
  load_plan_free(&plan);
  ck_assert_int_eq(make("", two, 2, RAM), -EINVAL);
  load_plan_free(&plan);
  ck_assert_int_eq(make("", &i, 1, 16 * MIB), -ENOMEM); /* the unpacked kernel needs it all */
  load_plan_free(&plan);
  ck_assert_int_eq(make("", NULL, 0, MIB), -ENOMEM);
  load_plan_free(&plan);
  for (size_t len = 0; len < sizeof image; len += 1000) { /* truncated anywhere */
    file.len = len;
    ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
    ck_assert_ptr_nonnull(strchr("ti", why[0])); /* "the ... truncated", "it is neither ..." */
    load_plan_free(&plan);
  }
}
END_TEST

static void setup_multiboot_elf(void) {
  clear();
  Elf32_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC, .e_machine = EM_386, .e_entry = 0xc0100020,
                   .e_phoff = 64, .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 2};
  Elf32_Phdr ph[2] = {{.p_type = PT_LOAD, .p_offset = 0x1000, .p_vaddr = 0xc0100000, .p_paddr = 0x100000,
                       .p_filesz = 0x800, .p_memsz = 0x3000},
                      {.p_type = PT_LOAD, .p_offset = 0x2000, .p_vaddr = 0xc0104000, .p_paddr = 0x104000,
                       .p_filesz = 0x10, .p_memsz = 0x10}};
  memcpy(image, &eh, sizeof eh);
  memcpy(image + 64, ph, sizeof ph);
  put32(0x1000, 0x1badb002);
  put32(0x1004, 3);
  put32(0x1008, 0u - 0x1badb002u - 3);
  memset(image + 0x100c, 0x11, 0x7f4);
  memset(image + 0x2000, 0x22, 0x10);
}

START_TEST(multiboot_elf) {
  const uint8_t mod[100] = {9};
  struct load_file mods[2] = {{"one a=b", mod, sizeof mod}, {"two", mod, 10}};
  ck_assert_int_eq(make("-v", mods, 2, RAM), 0);
  ck_assert_uint_eq(plan.entry, 0x100020); /* physical */
  ck_assert_uint_eq(plan.kernel.addr, 0x100000);
  ck_assert_uint_eq(plan.kernel.len, 0x4010);
  ck_assert_uint_eq(plan.kernel.data[0x7ff], 0x11);
  ck_assert_uint_eq(plan.kernel.data[0x800], 0);
  ck_assert_uint_eq(plan.kernel.data[0x4000], 0x22);
  const struct load_piece *info = &plan.cmdline;
  ck_assert_uint_eq(peek32(info, 0), 0x24d);
  ck_assert_str_eq((char *)info->data + peek32(info, 16) - info->addr, "kernel -v");
  ck_assert_uint_eq(peek32(info, 20), 2);
  uint32_t list = peek32(info, 24) - info->addr;
  ck_assert_uint_eq(peek32(info, list), plan.initrd.addr);
  ck_assert_uint_eq(peek32(info, list + 4), plan.initrd.addr + 100);
  ck_assert_str_eq((char *)info->data + peek32(info, list + 8) - info->addr, "one a=b");
  ck_assert_uint_eq(peek32(info, list + 16), plan.initrd.addr + 4096);
  ck_assert_uint_ge(plan.initrd.addr, 0x104010);
  ck_assert_uint_eq(plan.initrd.data[4096], 9);
}
END_TEST

START_TEST(multiboot_addresses) {
  clear();
  put32(0x100, 0x1badb002);
  put32(0x104, 0x10000);
  put32(0x108, 0u - 0x1badb002u - 0x10000u);
  put32(0x10c, 0x200100); /* header */
  put32(0x110, 0x200080); /* load: from file offset 80h */
  put32(0x114, 0x201000);
  put32(0x118, 0x208000);
  put32(0x11c, 0x200200);
  image[0x80] = 0xaa;
  ck_assert_int_eq(make("", NULL, 0, RAM), 0);
  ck_assert_uint_eq(plan.kernel.addr, 0x200080);
  ck_assert_uint_eq(plan.kernel.len, 0x208000 - 0x200080);
  ck_assert_uint_eq(plan.kernel.data[0], 0xaa);
  ck_assert_uint_eq(plan.entry, 0x200200);
  load_plan_free(&plan);
  put32(0x114, 0x300000); /* more than the file has */
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
  load_plan_free(&plan);
  put32(0x114, 0x200000); /* ends before it begins */
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
  load_plan_free(&plan);
  put32(0x114, 0x201000);
  put32(0x118, 0xfffff000); /* bss over everything */
  ck_assert_int_eq(make("", NULL, 0, RAM), -ENOMEM);
  load_plan_free(&plan);
  put32(0x10c, 0x300100); /* header before the file's start */
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
}
END_TEST

START_TEST(multiboot_refused) {
  struct load_file big = {"big", image, 40 * MIB}; /* never read: refused by its size */
  ck_assert_int_eq(make("", &big, 1, 16 * MIB), -ENOMEM);
  load_plan_free(&plan);
  put32(0x1004, 0x83);
  put32(0x1008, 0u - 0x1badb002u - 0x83u);
  ck_assert_int_eq(make("", NULL, 0, RAM), -ENOTSUP);
  load_plan_free(&plan);
  setup_multiboot_elf();
  image[4] = ELFCLASS64;
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
  load_plan_free(&plan);
  setup_multiboot_elf();
  file.len = 0x1800; /* the second segment is missing */
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
  load_plan_free(&plan);
  /* Any 16 bytes of the ELF headers turned to ones: refused or laid out, never out of bounds. */
  for (unsigned at = 4; at < 128; at += 4) {
    setup_multiboot_elf();
    memset(image + at, 0xff, 16);
    make("", NULL, 0, RAM);
    load_plan_free(&plan);
  }
}
END_TEST

START_TEST(neither) {
  clear();
  ck_assert_int_eq(make("", NULL, 0, RAM), -EINVAL);
  ck_assert_str_eq(why, "it is neither a Linux bzImage nor a Multiboot kernel");
}
END_TEST

Suite *suite_loader(void) {
  Suite *s = suite_create("loader");
  TCase *l = tcase_create("linux"), *mb = tcase_create("multiboot");
  tcase_add_checked_fixture(l, setup_linux, teardown);
  tcase_add_test(l, linux_high);
  tcase_add_test(l, linux_old_and_low);
  tcase_add_test(l, linux_refused);
  tcase_add_test(l, neither);
  tcase_add_checked_fixture(mb, setup_multiboot_elf, teardown);
  tcase_add_test(mb, multiboot_elf);
  tcase_add_test(mb, multiboot_addresses);
  tcase_add_test(mb, multiboot_refused);
  suite_add_tcase(s, l);
  suite_add_tcase(s, mb);
  return s;
}
