/* SPDX-License-Identifier: MIT */
/*
 * The confinement checker: it accepts what the generator makes of all kinds of guest code, in every mode,
 * linked and not; it refuses blocks whose bytes were changed so that they could touch other memory or leave
 * the code cache (verify_mutants.c); and its idea of each instruction's operand is the same as the core's.
 */
#include <stdlib.h>

#include "verify_rig.h"

#define AT 0x40000u

const char *const setup_name[SETUPS] = {"flat", "limited", "paged",  "user",
                                        "real", "v86",     "window", "window, user"};

uint32_t roll(struct dice *d, uint32_t sides) {
  d->state ^= d->state << 13;
  d->state ^= d->state >> 7;
  d->state ^= d->state << 17;
  return (uint32_t)(d->state >> 32) % sides;
}

/* --- machines --- */

static void limit_segments(struct cpu *c) {
  static const int data[] = {ES, SS, DS, FS, GS};
  for (int i = 0; i < 5; i++) {
    c->seg[data[i]].base = 0x1000u * (unsigned)i;
    c->seg[data[i]].limit = 0x2fffff;
    seg_update_room(&c->seg[data[i]], false);
  }
  cpu_update_mode(c);
}

struct bed verify_bed(enum setup setup) {
  struct machine_config config = {.ram_mb = 16,
                                  .cpu_model = cpu_model_find("max"),
                                  .engine = &engine_tlb,
                                  .engine_options = "cache=4",
                                  .counted = true};
  struct bed b = {.m = machine_new(&config)};
  ck_assert_ptr_nonnull(b.m);
  mem_map_ram(b.m->mem, 0, 16 << 20, b.m->ram, 0);
  b.cpu = b.m->cpu[0];
  b.ram = b.m->ram->host;
  bed_tables(&b);
  control_set_cr4(b.cpu, CR4_OSFXSR | CR4_OSXMMEXCPT);
  if (setup == SETUP_REAL || setup == SETUP_V86) {
    bool v86 = setup == SETUP_V86;
    control_set_cr0(b.cpu, CR0_ET | CR0_NE | (v86 ? CR0_PE : 0));
    for (int s = ES; s <= GS; s++) {
      b.cpu->seg[s] = (struct seg){.attr = v86 ? 0xf3 : 0x93, .limit = 0xffff};
      seg_update_room(&b.cpu->seg[s], false);
    }
    if (v86) {
      b.cpu->eflags |= FL_VM;
      b.cpu->cpl = 3;
    }
    cpu_update_mode(b.cpu);
    return b;
  }
  control_set_cr0(b.cpu, CR0_PE | CR0_ET | CR0_NE);
  bool user = setup == SETUP_USER || setup == SETUP_WINDOW_USER;
  bed_ring(&b, user ? 3 : 0);
  if (setup == SETUP_LIMITED)
    limit_segments(b.cpu);
  else if (setup != SETUP_FLAT)
    bed_paging(&b, 7);
  cpu_update_mode(b.cpu);
  if (setup >= SETUP_WINDOW)
    b.cpu->mode |= MODE_WINDOW; /* the translator's, see window_select */
  return b;
}

/* --- random guest code --- */

/* One instruction of a random row of the table; its length, 0 if it came out wrong. */
static unsigned random_insn(struct bed *b, struct dice *d, uint8_t *out, struct insn *in) {
  const struct insn_desc *desc = &insn_desc[roll(d, INSN_COUNT)];
  unsigned n = 0;
  static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  if (roll(d, 8) == 0)
    out[n++] = segments[roll(d, 6)];
  if (roll(d, 12) == 0)
    out[n++] = 0x67;
  if ((desc->attr & A_LOCK) && roll(d, 6) == 0)
    out[n++] = 0xf0;
  if ((desc->attr & A_REP) && roll(d, 2))
    out[n++] = 0xf3;
  if (desc->pfx == P_66 || (desc->pfx == P_ANY && roll(d, 6) == 0))
    out[n++] = 0x66;
  if (desc->pfx == P_F2 || desc->pfx == P_F3)
    out[n++] = desc->pfx == P_F2 ? 0xf2 : 0xf3;
  if (desc->map != MAP_1)
    out[n++] = 0x0f;
  if (desc->map > MAP_0F)
    out[n++] = desc->map == MAP_0F38 ? 0x38 : 0x3a;
  out[n++] = desc->opcode;
  for (unsigned i = n; i < INSN_MAX; i++)
    out[i] = (uint8_t)roll(d, 256);
  unsigned kind = desc->ext & 0x700, low = desc->ext & 0xff;
  if (kind == (X_R(0) & 0x700) || kind == (X_MR(0) & 0x700) || kind == (X_RR(0) & 0x700))
    out[n] = (uint8_t)((out[n] & 0xc7) | low << 3);
  if (kind == (X_B(0) & 0x700))
    out[n] = (uint8_t)low;
  if (insn_decode(in, out, INSN_MAX, b->cpu->mode & MODE_CODE32, b->cpu->features) != INSN_OK)
    return 0;
  return in->length;
}

static struct block *translate(struct bed *b) {
  b->cpu->eip = b->cpu->next_eip = AT & (b->cpu->mode & MODE_CODE32 ? 0xffffffffu : 0xffffu);
  b->cpu->seg[CS].base = AT - b->cpu->eip;
  return jit_translate(verify_jit(b), AT, true);
}

struct block *verify_random_block(struct bed *b, struct dice *d, unsigned most) {
  uint8_t code[16 * INSN_MAX];
  unsigned n = 0, count = 1 + roll(d, most);
  for (unsigned i = 0; i < count;) {
    struct insn in;
    unsigned length = random_insn(b, d, code + n, &in);
    bool ends = length && (insn_describe(&in)->attr & A_END);
    if (length == 0 || (ends && i + 1 < count && roll(d, 8)))
      continue;
    n += length;
    i++;
    if (ends)
      break;
  }
  return verify_block_of(b, code, n);
}

struct block *verify_block_of(struct bed *b, const void *code, size_t size) {
  mem_dma_write(b->m->mem, AT, code, size);
  mem_dma_write(b->m->mem, AT + (uint32_t)size, "\xf4", 1);
  struct block *block = translate(b);
  ck_assert_ptr_nonnull(block);
  return block;
}

/* --- what the generator makes is accepted --- */

static void list_guest(const struct block *block) {
  printf("  mode %05x, host code %p, %u bytes\n", block->mode, (const void *)block->host, block->host_size);
}

START_TEST(test_accepts) {
  struct bed b = verify_bed((enum setup)_i);
  struct dice d = {0x9e3779b97f4a7c15ull + (unsigned)_i};
  char why[200];
  for (unsigned i = 0; i < 1500; i++) {
    struct block *block = verify_random_block(&b, &d, 12);
    bool ok = verify_block(verify_jit(&b), block, why, sizeof why);
    if (!ok)
      list_guest(block);
    ck_assert_msg(ok, "%s, block %u: %s", setup_name[_i], i, why);
  }
  machine_free(b.m);
}
END_TEST

/* Every instruction of the table that can be generated, alone, several times. */
START_TEST(test_accepts_each) {
  struct bed b = verify_bed((enum setup)_i);
  struct dice d = {77};
  char why[200];
  unsigned seen = 0;
  static bool met[INSN_COUNT];
  memset(met, 0, sizeof met);
  for (unsigned i = 0; i < 8000; i++) {
    uint8_t code[INSN_MAX];
    struct insn in;
    unsigned length = random_insn(&b, &d, code, &in);
    if (length == 0)
      continue;
    seen += !met[in.id];
    met[in.id] = true;
    struct block *block = verify_block_of(&b, code, length);
    ck_assert_msg(verify_block(verify_jit(&b), block, why, sizeof why), "%s, %s: %s", setup_name[_i],
                  insn_describe(&in)->mnemonic, why);
  }
  ck_assert_uint_gt(seen, INSN_COUNT * 3 / 4);
  machine_free(b.m);
}
END_TEST

/* --- after linking --- */

#define START 0x4000u

/* Runs a program of loops and calls until HLT; then every block is linked to others, and still right. */
static void run_linked(const struct engine *engine, const char *options) {
  struct machine_config config = {.ram_mb = 16,
                                  .cpu_model = cpu_model_find("max"),
                                  .engine = engine,
                                  .engine_options = options,
                                  .counted = true};
  struct bed b = {.m = machine_new(&config)};
  char why[200];
  mem_map_ram(b.m->mem, 0, 16 << 20, b.m->ram, 0);
  b.cpu = b.m->cpu[0];
  b.ram = b.m->ram->host;
  bed_tables(&b);
  control_set_cr0(b.cpu, CR0_PE | CR0_ET | CR0_NE);
  bed_ring(&b, 0);
  bed_paging(&b, 7);
  static const char code[] = "\xb9\x10\x27\x00\x00"     /* mov ecx, 10000 */
                             "\x53"                     /* 4005: push ebx */
                             "\xe8\x0f\x00\x00\x00"     /* call 401a */
                             "\x5b"                     /* pop ebx */
                             "\xe8\xef\x0f\x00\x00"     /* call 5000: another page */
                             "\x49"                     /* dec ecx */
                             "\x75\xf1"                 /* jnz 4005 */
                             "\x83\xf9\x00"             /* cmp ecx, 0 */
                             "\x75\xec"                 /* jnz 4005 */
                             "\xf4"                     /* hlt */
                             "\xff\x05\x00\x00\x02\x00" /* 401a: inc dword [20000h] */
                             "\x85\xc9"                 /* test ecx, ecx */
                             "\x74\x01"                 /* jz */
                             "\x40"                     /* inc eax */
                             "\xc3" /* ret */;
  mem_dma_write(b.m->mem, START, code, sizeof code);
  mem_dma_write(b.m->mem, START + MEM_PAGE, "\xc3", 1);
  b.cpu->eip = b.cpu->next_eip = START;
  b.cpu->icount_limit = 200000;
  for (int i = 0; i < 1000 && !b.cpu->halted && cpu_icount(b.cpu) < b.cpu->icount_limit; i++)
    engine->run(b.cpu);
  ck_assert(b.cpu->halted);
  ck_assert_uint_eq(get32(&b, 0x20000), 10000);
  struct jit *j = verify_jit(&b);
  unsigned linked = 0, checked = 0;
  for (uint32_t i = 0; i < j->block_count; i++) {
    struct block *block = &j->blocks[i];
    if (!block->valid)
      continue;
    ck_assert_msg(verify_block(j, block, why, sizeof why), "block %u: %s", i, why);
    checked++;
    for (uint32_t k = 0; k < block->link_count; k++) {
      struct link *l = &j->links[block->link_first + k];
      struct block *to = jit_block(j, l->to);
      if (!to)
        continue;
      linked++;
      uint32_t mode = to->mode;
      to->mode ^= MODE_USER; /* a link into another world */
      ck_assert(!verify_block(j, block, why, sizeof why) || to == block);
      to->mode = mode;
      const uint8_t *target = jit_to_rw(j, to->host);
      emit_patch32(link_field(j, l), target + 5); /* into the block, but behind its budget check */
      ck_assert(!verify_block(j, block, why, sizeof why));
      emit_patch32(link_field(j, l), target);
      ck_assert(verify_block(j, block, why, sizeof why));
    }
  }
  ck_assert_uint_ge(checked, 4);
  ck_assert_uint_ge(linked, 2);
  machine_free(b.m);
}

START_TEST(test_linked_tlb) { run_linked(&engine_tlb, "hot=on,verify=on"); }
END_TEST
START_TEST(test_linked_window) { run_linked(&engine_window, "hot=on,verify=on"); }
END_TEST

/* --- mutants --- */

START_TEST(test_mutants) {
  struct dice d = {0x243f6a8885a308d3ull};
  unsigned missed = 0, made = 0, blocks = 0;
  char why[200];
  for (int s = 0; s < SETUPS; s++) {
    struct bed b = verify_bed((enum setup)s);
    for (unsigned i = 0; i < 120; i++) {
      struct block *block = verify_random_block(&b, &d, 6);
      missed += verify_mutate(&b, block, &d, 2, 0);
      ck_assert_msg(verify_block(verify_jit(&b), block, why, sizeof why), "put back wrongly: %s", why);
      blocks++;
    }
    /* what random code rarely has */
    static const struct {
      uint8_t size, code[6];
    } special[] = {{2, {0xf3, 0xa4}},
                   {2, {0xf3, 0xa5}},
                   {2, {0xf3, 0xaa}},
                   {2, {0xf3, 0xab}},
                   {3, {0x66, 0xf3, 0xa5}},
                   {3, {0x66, 0xf3, 0xab}},
                   {1, {0xc3}},
                   {2, {0xff, 0xe0}},
                   {2, {0xff, 0x10}},
                   {2, {0x74, 0x20}},
                   {5, {0xe8, 0x10, 0, 0, 0}},
                   {5, {0xe8, 0, 0x20, 0, 0}},
                   {5, {0xa1, 0, 0, 2, 0}},
                   {3, {0x0f, 0x28, 0x03}},
                   {2, {0xd3, 0x20}},
                   {3, {0x8b, 0x45, 0}},
                   {3, {0x89, 0x45, 0}},
                   {3, {0xdd, 0x45, 0}},
                   {2, {0x01, 0xc1}},
                   {2, {0x29, 0xcc}}};
    for (unsigned i = 0; i < 5 * sizeof special / sizeof special[0]; i++) {
      unsigned n = i % (sizeof special / sizeof special[0]);
      struct block *block = verify_block_of(&b, special[n].code, special[n].size);
      missed += verify_mutate(&b, block, &d, 2, 0);
      blocks++;
    }
    machine_free(b.m);
  }
  size_t count;
  const struct mutation *m = verify_mutations(&count);
  for (size_t i = 0; i < count; i++) {
    printf("  %-44s %5u of %5u caught\n", m[i].name, m[i].caught, m[i].made);
    ck_assert_msg(m[i].made >= 10, "%s: only %u made", m[i].name, m[i].made);
    made += m[i].made;
  }
  printf("  mutants of %u blocks: %u of %u caught\n", blocks, made - missed, made);
  ck_assert_uint_eq(missed, 0);
}
END_TEST

/* --- against the judge that runs them --- */

/* VERIFY_ROUNDS in the environment: for more than a taste (each step is a host exception). */
static unsigned rounds(void) {
  const char *s = getenv("VERIFY_ROUNDS");
  return s && atoi(s) > 0 ? (unsigned)atoi(s) : 1;
}

/* What the generator makes stays inside; and so does, of blocks with any byte changed, whatever the checker
 * accepts. */
START_TEST(test_watched) {
  struct bed b = verify_bed((enum setup)_i);
  struct dice d = {0x13198a2e03707344ull + (unsigned)_i};
  unsigned accepted = 0, refused = 0;
  char why[200];
  const char *seen;
  verify_watch_begin(&b);
  for (unsigned i = 0; i < 12 * rounds(); i++) {
    struct block *block = verify_random_block(&b, &d, 5);
    for (unsigned n = 0; n < 3; n++)
      ck_assert_msg(verify_watch(block, &d, &seen), "%s, block %u: %s", setup_name[_i], i, seen);
    uint8_t *code = jit_to_rw(verify_jit(&b), block->host);
    for (unsigned n = 0; n < 50; n++) {
      uint32_t off = roll(&d, block->host_size);
      uint8_t was = code[off];
      code[off] = roll(&d, 2) ? (uint8_t)(was ^ 1u << roll(&d, 8)) : (uint8_t)roll(&d, 256);
      if (!verify_block(verify_jit(&b), block, why, sizeof why)) {
        refused++;
      } else {
        accepted++;
        for (unsigned k = 0; k < 2; k++)
          ck_assert_msg(verify_watch(block, &d, &seen), "%s, block %u, byte %#x %02x -> %02x: %s",
                        setup_name[_i], i, off, was, code[off], seen);
      }
      code[off] = was;
    }
  }
  printf("  %s: of blocks with a random byte, %u refused, %u accepted and run without escape\n",
         setup_name[_i], refused, accepted);
  ck_assert_uint_gt(accepted, 60);
  ck_assert_uint_gt(refused, 200);
  machine_free(b.m);
}
END_TEST

/* The judge is not blind: it sees a good part of the mutants escape. */
START_TEST(test_judge) {
  struct dice d = {0xa4093822299f31d0ull};
  unsigned run = 0, seen = 0, kinds = 0;
  for (int s = 0; s < SETUPS; s++) {
    struct bed b = verify_bed((enum setup)s);
    verify_watch_begin(&b);
    for (unsigned i = 0; i < 6 * rounds(); i++)
      verify_mutate(&b, verify_random_block(&b, &d, 5), &d, 1, 3);
    machine_free(b.m);
  }
  size_t count;
  const struct mutation *m = verify_mutations(&count);
  for (size_t i = 0; i < count; i++) {
    run += m[i].run;
    seen += m[i].seen;
    kinds += m[i].seen != 0;
    printf("  %-44s %5u of %5u seen to escape\n", m[i].name, m[i].seen, m[i].run);
  }
  printf("  %u of %u mutants seen to escape, by %u of %zu kinds\n", seen, run, kinds, count);
  ck_assert_uint_gt(seen, run / 4);
  ck_assert_uint_gt(kinds, count / 2);
}
END_TEST

Suite *suite_verify(void) {
  Suite *s = suite_create("verify");
  TCase *t = tcase_create("accept");
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, test_accepts, 0, SETUPS);
  tcase_add_loop_test(t, test_accepts_each, 0, SETUPS);
  tcase_add_test(t, test_linked_tlb);
  tcase_add_test(t, test_linked_window);
  suite_add_tcase(s, t);
  TCase *m = tcase_create("mutants");
  tcase_set_timeout(m, 240);
  tcase_add_test(m, test_mutants);
  suite_add_tcase(s, m);
  TCase *w = tcase_create("watched");
  tcase_set_timeout(w, 240 * rounds());
  tcase_add_loop_test(w, test_watched, 0, SETUPS);
  tcase_add_test(w, test_judge);
  suite_add_tcase(s, w);
  return s;
}
