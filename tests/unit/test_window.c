/* SPDX-License-Identifier: MIT */
/*
 * The window strategy's promise: a window always shows what the guest's page tables say, whoever changed them
 * (the CPU, a bus master), and no more than they allow; and whatever is dropped comes back. What translated
 * code computes through windows is the matter of the lockstep tests and of the guest programs, which run
 * under "window,hot=on", too.
 */
#include "cpu_fixture.h"
#include "translate/jit.h"
#include "translate/translate.h"
#include "translate/window_impl.h"

#define START 0x4000u
#define HANDLER 0xf000u
#define DIRECTORY 0x100000u
#define TABLE 0x101000u
#define OTHER_DIRECTORY 0x102000u
#define OTHER_TABLE 0x103000u
#define DATA 0x200000u /* linear; the tests say where it lies */
#define PTE_US_RW_P 7u

static struct bed begin_with(const struct engine *engine, const char *options) {
  struct bed b = bed_with_engine(engine, options, HANDLER);
  for (uint32_t i = 0; i < 1024; i++) {
    put32(&b, TABLE + i * 4, i << 12 | 3);
    put32(&b, OTHER_TABLE + i * 4, i << 12 | 3);
  }
  put32(&b, DIRECTORY, TABLE | PTE_US_RW_P);
  put32(&b, OTHER_DIRECTORY, OTHER_TABLE | PTE_US_RW_P);
  control_set_cr3(b.cpu, DIRECTORY);
  control_set_cr0(b.cpu, CR0_PE | CR0_ET | CR0_NE | CR0_PG | CR0_WP);
  bed_ring(&b, 0);
  for (uint32_t i = 0; i < 8; i++)
    put32(&b, 0x300000 + i * 0x1000, 100 + i);
  return b;
}

static struct bed begin(const char *options) { return begin_with(&engine_window, options); }

static struct jit *jit_of(struct bed *b) { return b->cpu->engine_data; }

#define CODE(b, bytes) mem_dma_write((b)->m->mem, START, bytes, sizeof(bytes) - 1)

static void go(struct bed *b) {
  struct cpu *c = b->cpu;
  c->eip = c->next_eip = START;
  c->halted = 0;
  c->icount_limit = cpu_icount(c) + 1000000;
  for (int i = 0; i < 10000 && !c->halted && !c->shutdown && cpu_icount(c) < c->icount_limit; i++)
    b->m->config.engine->run(c);
  ck_assert(c->halted && !c->shutdown);
}

static uint32_t pte_of_data(unsigned page, unsigned bits) { return 0x300000 + page * 0x1000 + bits; }

static void set_by_dma(struct bed *b, uint32_t pa, uint32_t value) {
  mem_dma_write(b->m->mem, pa, &value, 4);
}

static uint64_t translated_faults(struct bed *b) { return jit_of(b)->stat.host_faults; }

/* mov eax, [DATA]; hlt */
#define READ_DATA "\xa1\x00\x00\x20\x00\xf4"
/* inc dword [DATA]; hlt */
#define CHANGE_DATA "\xff\x05\x00\x00\x20\x00\xf4"

START_TEST(test_tables_by_dma) {
  struct bed b = begin("hot=on,verify=on");
  CODE(&b, READ_DATA);
  for (unsigned page = 0; page < 8; page++) {
    set_by_dma(&b, TABLE + (DATA >> 10), pte_of_data(page, 3));
    go(&b);
    ck_assert_uint_eq(b.cpu->gpr[EAX], 100 + page);
    go(&b);
    ck_assert_uint_eq(b.cpu->gpr[EAX], 100 + page);
  }
  ck_assert(b.cpu->mode & MODE_WINDOW);
  ck_assert_uint_eq(translated_faults(&b), 0);          /* all through the window */
  set_by_dma(&b, DIRECTORY, OTHER_TABLE | PTE_US_RW_P); /* a level higher */
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0);
  machine_free(b.m);
}
END_TEST

START_TEST(test_accessed_and_dirty) {
  struct bed b = begin("hot=on");
  uint32_t pte = TABLE + (DATA >> 10);
  set_by_dma(&b, pte, pte_of_data(0, 3));
  CODE(&b, READ_DATA);
  go(&b);
  ck_assert_uint_eq(get32(&b, pte), pte_of_data(0, 0x23));
  CODE(&b, CHANGE_DATA);
  go(&b);
  ck_assert_uint_eq(get32(&b, pte), pte_of_data(0, 0x63));
  set_by_dma(&b, pte, pte_of_data(0, 3)); /* cleaned: the next store must be seen again */
  go(&b);
  ck_assert_uint_eq(get32(&b, pte), pte_of_data(0, 0x63));
  ck_assert_uint_eq(get32(&b, 0x300000), 102);
  set_by_dma(&b, pte, pte_of_data(0, 0x21)); /* read-only, and CR0.WP */
  go(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_PF + 1);
  ck_assert_uint_eq(b.cpu->cr2, DATA);
  ck_assert_uint_eq(get32(&b, 0x300000), 102);
  set_by_dma(&b, pte, 0);
  CODE(&b, READ_DATA);
  bed_ring(&b, 0);
  go(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_PF + 1);
  machine_free(b.m);
}
END_TEST

/* The pages that a miss at la maps, for code that reads at EBX. */
static uint64_t pages_by_miss(struct bed *b, uint32_t la) {
  uint64_t before = jit_of(b)->windows->stat.pages;
  b->cpu->gpr[EBX] = la;
  go(b);
  return jit_of(b)->windows->stat.pages - before;
}

/* The longer no page is taken away, the more neighbours a miss maps; and then few again. */
START_TEST(test_runs) {
  struct bed b = begin("hot=on");
  for (uint32_t i = 512; i < 1024; i++)
    put32(&b, TABLE + i * 4, i << 12 | 0x23);
  CODE(&b, "\x8b\x03\xf4"); /* mov eax, [ebx]; hlt */
  ck_assert_uint_eq(pages_by_miss(&b, DATA + 0x10000), 1 + 2 * RUN_MIN);
  for (unsigned i = 1; i < 2 * RUN_FILLS; i++)
    ck_assert_uint_ge(pages_by_miss(&b, DATA + 0x10000 + i * 0xc000), 1);
  ck_assert_uint_eq(pages_by_miss(&b, DATA + 0x150000), 1 + 8 * RUN_MIN);
  set_by_dma(&b, TABLE + ((DATA + 0x150000) >> 10), 0);
  ck_assert_uint_eq(pages_by_miss(&b, DATA + 0x1a0000), 1 + 2 * RUN_MIN);
  machine_free(b.m);
}
END_TEST

START_TEST(test_spaces) {
  struct bed b = begin("hot=on");
  set_by_dma(&b, TABLE + (DATA >> 10), pte_of_data(1, 3));
  set_by_dma(&b, OTHER_TABLE + (DATA >> 10), pte_of_data(2, 3));
  CODE(&b, READ_DATA);
  for (int i = 0; i < 6; i++) {
    control_set_cr3(b.cpu, i & 1 ? OTHER_DIRECTORY : DIRECTORY);
    go(&b);
    ck_assert_uint_eq(b.cpu->gpr[EAX], i & 1 ? 102 : 101);
  }
  control_set_cr3(b.cpu, DIRECTORY);
  set_by_dma(&b, OTHER_TABLE + (DATA >> 10), pte_of_data(3, 3)); /* of the window that is not in use */
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 101);
  control_set_cr3(b.cpu, OTHER_DIRECTORY);
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 103);
  windows_drop_all(jit_of(&b));
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 103);
  machine_free(b.m);
}
END_TEST

#define HOPS 16u

static uint64_t user_turn(struct bed *b, uint32_t want) {
  uint64_t before = jit_of(b)->stat.lookups;
  seg_from_desc(&b->cpu->seg[TR], S_TSS_A,
                (struct desc){get32(b, GDT + S_TSS_A), get32(b, GDT + S_TSS_A + 4) | 0x200});
  bed_ring(b, 3);
  go(b);
  ck_assert_uint_eq(b->cpu->eip, HANDLER + EXC_GP + 1); /* HLT */
  ck_assert_uint_eq(b->cpu->gpr[EDX], want);
  return jit_of(b)->stat.lookups - before;
}

/* User code of the software TLB, in two spaces in turn: nothing of it is looked up again after a load of CR3,
 * unless the tables say something else. */
START_TEST(test_user_code_of_spaces) {
  struct bed b = begin_with(&engine_tlb, "hot=on,verify=on");
  for (uint32_t page = 4; page < 8; page++) {
    put32(&b, TABLE + page * 4, page << 12 | 7);
    put32(&b, OTHER_TABLE + page * 4, page << 12 | 7);
  }
  CODE(&b, "\xe9\xfb\x1f\x00\x00");                           /* jmp 6000h */
  mem_dma_write(b.m->mem, 0x5000, "\xe9\xfb\x27\x00\x00", 5); /* in the other space: jmp 6800h */
  set_by_dma(&b, OTHER_TABLE + 4 * 4, 0x5007);
  for (uint32_t page = 6; page < 8; page++)
    for (uint32_t from = 0; from < 0x1000; from += 0x800) {
      uint32_t at = page * 0x1000 + from;
      for (uint32_t i = 0; i < HOPS; i++, at += 8) {
        mem_dma_write(b.m->mem, at, "\xb8\x00\x00\x00\x00\xff\xe0\x90", 8); /* mov eax, the next; jmp eax */
        put32(&b, at + 1, 0x6000 + from + (i + 1) * 8);
      }
      mem_dma_write(b.m->mem, at, "\xba\x00\x00\x00\x00\xf4", 6); /* mov edx, page; hlt */
      put32(&b, at + 1, page);
    }
  set_by_dma(&b, OTHER_TABLE + 6 * 4, 0x7007);
  for (unsigned i = 0; i < 6; i++) {
    control_set_cr3(b.cpu, i & 1 ? OTHER_DIRECTORY : DIRECTORY);
    uint64_t lookups = user_turn(&b, 6 + (i & 1));
    if (i < 2)
      ck_assert_uint_ge(lookups, HOPS);
    else
      ck_assert_uint_lt(lookups, HOPS / 2);
  }
  set_by_dma(&b, TABLE + 6 * 4, 0x7007); /* of the other space; this one is in use, and was not told */
  user_turn(&b, 7);
  control_set_cr3(b.cpu, DIRECTORY);
  ck_assert_uint_ge(user_turn(&b, 7), HOPS);
  set_by_dma(&b, TABLE + 6 * 4, 0x6007);
  tlb_flush_page(b.cpu, 0x6000);
  ck_assert_uint_ge(user_turn(&b, 6), HOPS);
  set_by_dma(&b, TABLE + 6 * 4, 0x6007); /* not accessed: an early fetch would set the bit */
  control_set_cr3(b.cpu, DIRECTORY);
  ck_assert_uint_ge(user_turn(&b, 6), HOPS);
  ck_assert_uint_eq(get32(&b, TABLE + 6 * 4), 0x6027);
  set_by_dma(&b, TABLE + 6 * 4, 0x6023); /* the supervisor's */
  control_set_cr3(b.cpu, DIRECTORY);
  bed_ring(&b, 3);
  go(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_PF + 1);
  machine_free(b.m);
}
END_TEST

/* A jump to a page that is another one in each of two spaces that take turns: it goes where the tables say,
 * and is not linked again and again for ever. */
START_TEST(test_turns) {
  struct bed b = begin("hot=on,verify=on");
  CODE(&b, "\xe9\xfb\x1f\x00\x00");                   /* jmp 6000h */
  mem_dma_write(b.m->mem, 0x6000, "\xb0\x01\xf4", 3); /* mov al, 1; hlt */
  mem_dma_write(b.m->mem, 0x7000, "\xb0\x02\xf4", 3);
  set_by_dma(&b, OTHER_TABLE + 6 * 4, 0x7003);
  uint64_t links = 0, blocks = 0;
  bool hot;
  for (unsigned i = 0; i < 8 * FAR_RELINKS; i++) {
    control_set_cr3(b.cpu, i & 1 ? OTHER_DIRECTORY : DIRECTORY);
    go(&b);
    ck_assert_uint_eq(b.cpu->gpr[EAX] & 0xff, 1 + (i & 1));
    ck_assert_int_eq(jit_takes_turns(jit_of(&b), START, b.cpu->mode, &hot), i >= FAR_RELINKS);
    if (i == 2 * FAR_RELINKS) {
      links = jit_of(&b)->stat.links;
      blocks = jit_of(&b)->stat.blocks;
    }
  }
  ck_assert(hot);
  ck_assert_uint_eq(jit_of(&b)->stat.links, links);
  ck_assert_uint_eq(jit_of(&b)->stat.blocks, blocks);
  machine_free(b.m);
}
END_TEST

/* A thunk (mov reg, [esp]; ret) that its callers have in line: whatever becomes of it, they do what it says,
 * and count its instructions. */
static void check_thunk(struct bed *b, unsigned reg, uint32_t value) {
  memset(b->cpu->gpr, 0, 4 * sizeof b->cpu->gpr[0]);
  b->cpu->gpr[ESP] = 0x9000;
  uint64_t before = cpu_icount(b->cpu);
  go(b);
  for (unsigned r = 0; r < 4; r++)
    ck_assert_uint_eq(b->cpu->gpr[r], r == reg ? value : 0);
  ck_assert_uint_eq(b->cpu->gpr[EDI], START + 5);
  ck_assert_uint_eq(b->cpu->gpr[ESP], 0x9000);
  ck_assert_uint_eq(get32(b, 0x8ffc), START + 5);
  ck_assert_uint_eq(cpu_icount(b->cpu) - before, 5);
}

static unsigned thunks_in_line(struct bed *b) {
  const struct jit *j = jit_of(b);
  unsigned n = 0;
  for (uint32_t i = 0; i < j->link_count; i++)
    n += j->links[i].thunk && j->links[i].to;
  return n;
}

START_TEST(test_thunk) {
  struct bed b = begin("hot=on,verify=on");
  CODE(&b, "\xe8\xfb\x1f\x00\x00\x8b\x7c\x24\xfc\xf4");   /* call 6000h; mov edi, [esp - 4]; hlt */
  mem_dma_write(b.m->mem, 0x6000, "\x8b\x1c\x24\xc3", 4); /* mov ebx, [esp]; ret */
  mem_dma_write(b.m->mem, 0x7000, "\x8b\x0c\x24\xc3", 4); /* mov ecx, [esp]; ret */
  for (int i = 0; i < 3; i++)
    check_thunk(&b, EBX, START + 5);
  ck_assert_uint_eq(thunks_in_line(&b), 1);
  mem_dma_write(b.m->mem, 0x6001, "\x14", 1); /* mov edx, [esp]: the bytes change */
  ck_assert_uint_eq(thunks_in_line(&b), 0);
  for (int i = 0; i < 3; i++)
    check_thunk(&b, EDX, START + 5);
  mem_dma_write(b.m->mem, 0x6001, "\x1c", 1);
  for (int i = 0; i < 3; i++)
    check_thunk(&b, EBX, START + 5);
  ck_assert_uint_eq(thunks_in_line(&b), 1);
  set_by_dma(&b, TABLE + 6 * 4, 0x7003); /* another page is there */
  for (int i = 0; i < 3; i++)
    check_thunk(&b, ECX, START + 5);
  set_by_dma(&b, TABLE + 6 * 4, 0x6003);
  for (int i = 0; i < 3; i++)
    check_thunk(&b, EBX, START + 5);
  mem_dma_write(b.m->mem, 0x6000, "\x8b\x5d\xfc\xc3", 4); /* mov ebx, [ebp - 4]; ret */
  b.cpu->gpr[EBP] = 0x300008;
  set_by_dma(&b, TABLE + (0x300004 >> 10 & ~3u), 0x300003);
  for (int i = 0; i < 3; i++)
    check_thunk(&b, EBX, 0);
  machine_free(b.m);
}
END_TEST

/* The CALL's own push makes something else of the thunk: inc eax; add [eax], al; ret. */
START_TEST(test_thunk_overwritten) {
  struct bed b = begin("hot=on,verify=on");
  CODE(&b, "\x89\xc4\xe8\xf9\x1f\x00\x00\xf4");           /* mov esp, eax; call 6000h; hlt */
  mem_dma_write(b.m->mem, 0x6000, "\x8b\x1c\x24\xc3", 4); /* mov ebx, [esp]; ret */
  b.cpu->gpr[EAX] = 0x9000;
  for (int i = 0; i < 3; i++)
    go(&b);
  ck_assert_uint_eq(thunks_in_line(&b), 1);
  ck_assert_uint_eq(b.cpu->gpr[EBX], START + 7);
  b.cpu->gpr[EAX] = 0x6003;
  b.cpu->gpr[EBX] = 0;
  uint64_t before = cpu_icount(b.cpu);
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0x6004);
  ck_assert_uint_eq(b.cpu->gpr[EBX], 0);
  ck_assert_uint_eq(b.cpu->gpr[ESP], 0x6003);
  ck_assert_uint_eq(get32(&b, 0x5fff), START + 7);
  ck_assert_uint_eq(get32(&b, 0x6004), 4);
  ck_assert_uint_eq(cpu_icount(b.cpu) - before, 6);
  machine_free(b.m);
}
END_TEST

/*
 * A loop over the edge of two pages, with an instruction on the edge:
 *   4FF0h  mov ecx, 3
 *   4FF5h  test edi, edi; jnz done
 *          xor ebx, ebx; inc esi
 *   4FFCh  add eax, 10000h (its last byte is on the other page)
 *   5001h  add edx, 100h; dec ecx; jnz 4FF5h
 *   500Ah  hlt
 */
#define EDGE_LOOP                                                                                            \
  "\xb9\x03\x00\x00\x00"                                                                                     \
  "\x85\xff\x75\x11\x31\xdb\x46"                                                                             \
  "\x05\x00\x00\x01\x00\x81\xc2\x00\x01\x00\x00\x49\x75\xeb\xf4"
#define EDGE_START 0x4ff0u

static void edge_run(struct bed *b) {
  struct cpu *c = b->cpu;
  memset(c->gpr, 0, 4 * sizeof c->gpr[0]);
  c->gpr[ESI] = 0;
  c->eip = c->next_eip = EDGE_START;
  c->halted = 0;
  c->icount_limit = cpu_icount(c) + 1000000;
  for (int i = 0; i < 10000 && !c->halted && !c->shutdown; i++)
    b->m->config.engine->run(c);
  ck_assert(c->halted && !c->shutdown);
}

static void check_edge(struct bed *b, uint32_t eax, uint32_t edx) {
  for (int i = 0; i < 3; i++) {
    uint64_t before = cpu_icount(b->cpu);
    edge_run(b);
    ck_assert_uint_eq(b->cpu->gpr[EAX], eax);
    ck_assert_uint_eq(b->cpu->gpr[EDX], edx);
    ck_assert_uint_eq(b->cpu->gpr[ESI], 3);
    ck_assert_uint_eq(cpu_icount(b->cpu) - before, 1 + 3 * 8 + 1);
  }
}

static unsigned traces_over_edge(struct bed *b) {
  const struct jit *j = jit_of(b);
  unsigned n = 0;
  for (uint32_t i = 0; i < j->block_count; i++)
    n += j->blocks[i].valid && j->blocks[i].hot && j->blocks[i].pa2 != NO_PAGE && j->blocks[i].insns > 1;
  return n;
}

/* A trace on two pages, whatever becomes of the second. */
START_TEST(test_edge) {
  struct bed b = begin("hot=on,verify=on");
  const uint32_t pte = TABLE + 5 * 4;
  b.cpu->gpr[EDI] = 0;
  mem_dma_write(b.m->mem, EDGE_START, EDGE_LOOP, sizeof EDGE_LOOP - 1);
  check_edge(&b, 0x30000, 0x300);
  ck_assert_uint_gt(traces_over_edge(&b), 0);
  mem_dma_write(b.m->mem, 0x5004, "\x02", 1); /* add edx, 200h: its bytes change */
  check_edge(&b, 0x30000, 0x600);
  mem_dma_write(b.m->mem, 0x4fff, "\x02", 1); /* add eax, 20000h: on the edge */
  check_edge(&b, 0x60000, 0x600);
  uint8_t page[MEM_PAGE];
  mem_dma_read(b.m->mem, 0x5000, page, sizeof page);
  page[0] = 1; /* add eax, 1020000h */
  page[3] = 0x11;
  mem_dma_write(b.m->mem, 0x9000, page, sizeof page);
  set_by_dma(&b, pte, 0x9003); /* another page is there */
  tlb_flush_page(b.cpu, 0x5000);
  check_edge(&b, 0x3060000, 0x633);
  set_by_dma(&b, pte, 0x5003);
  tlb_flush_page(b.cpu, 0x5000);
  check_edge(&b, 0x60000, 0x600);
  set_by_dma(&b, pte, 0x5022); /* none is there: a fault only for who goes there */
  tlb_flush_page(b.cpu, 0x5000);
  edge_run(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_PF + 1);
  ck_assert_uint_eq(b.cpu->cr2, 0x5000);
  ck_assert_uint_eq(b.cpu->gpr[ESI], 1);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0);
  bed_ring(&b, 0);
  set_by_dma(&b, pte, 0x5003);
  tlb_flush_page(b.cpu, 0x5000);
  check_edge(&b, 0x60000, 0x600);
  machine_free(b.m);
}
END_TEST

/* The accessed bit of the second page is set by who goes there, and by nobody else. */
START_TEST(test_edge_accessed) {
  struct bed b = begin("hot=on,verify=on");
  const uint32_t pte = TABLE + 5 * 4;
  /* 4FF0h: mov ecx, 3; 4FF5h: test edi, edi; jnz 5000h; hlt */
  mem_dma_write(b.m->mem, EDGE_START, "\xb9\x03\x00\x00\x00\x85\xff\x75\x07\xf4", 10);
  mem_dma_write(b.m->mem, 0x5000, "\x46\xf4", 2); /* inc esi; hlt */
  for (int i = 0; i < 3; i++) {
    b.cpu->gpr[EDI] = 0;
    edge_run(&b);
    ck_assert_uint_eq(get32(&b, pte), 0x5003);
  }
  b.cpu->gpr[EDI] = 1;
  edge_run(&b);
  ck_assert_uint_eq(get32(&b, pte), 0x5023);
  ck_assert_uint_eq(b.cpu->gpr[ESI], 1);
  machine_free(b.m);
}
END_TEST

/* PUSHs and POPs in a row, in the middle of which the host faults, because there is code on the page: ESP is
 * what it was before the one that faulted. */
START_TEST(test_stack_run) {
  struct bed b = begin("hot=on,verify=on");
  CODE(
      &b,
      "\x89\xc4\x6a\x01\x6a\x02\x53\x59\x6a\x03" /* mov esp, eax; push 1; push 2; push ebx; pop ecx; push 3 */
      "\xe8\xf1\x1f\x00\x00\xf4");               /* call 6000h; hlt */
  mem_dma_write(b.m->mem, 0x6000, "\xc2\x04\x00", 3); /* ret 4 */
  for (uint32_t i = 0; i < 4; i++) {
    for (uint32_t at = 0x6ff0; at < 0x7008; at += 4)
      put32(&b, at, 0);
    b.cpu->gpr[EAX] = 0x7004;
    b.cpu->gpr[EBX] = 0x1234 + i;
    uint64_t before = cpu_icount(b.cpu), faults = translated_faults(&b);
    go(&b);
    ck_assert_uint_eq(b.cpu->gpr[ESP], 0x6ffc);
    ck_assert_uint_eq(b.cpu->gpr[ECX], 0x1234 + i);
    ck_assert_uint_eq(get32(&b, 0x7000), 1);
    ck_assert_uint_eq(get32(&b, 0x6ffc), 2);
    ck_assert_uint_eq(get32(&b, 0x6ff8), 3);
    ck_assert_uint_eq(get32(&b, 0x6ff4), START + 15);
    ck_assert_uint_eq(cpu_icount(b.cpu) - before, 9);
    if (i > 0)
      ck_assert_uint_gt(translated_faults(&b), faults);
  }
  machine_free(b.m);
}
END_TEST

/* mov eax, [DATA]; dec ecx; jnz START; hlt */
#define READ_LOOP "\xa1\x00\x00\x20\x00\x49\x75\xf8\xf4"

/* Slices of the loop. */
static void loop(struct bed *b, unsigned slices) {
  struct cpu *c = b->cpu;
  c->gpr[ECX] = 0x7fffffff;
  c->eip = c->next_eip = START;
  c->halted = 0;
  for (unsigned i = 0; i < slices; i++) {
    c->icount_limit = cpu_icount(c) + 10000;
    b->m->config.engine->run(c);
  }
}

/* The window_sites of the loop's hot block; 0 if there is none. */
static uint64_t sites_of_loop(struct bed *b) {
  const struct jit *j = jit_of(b);
  for (uint32_t i = 0; i < j->block_count; i++)
    if (j->blocks[i].pa == START && j->blocks[i].valid && j->blocks[i].hot)
      return j->blocks[i].window_sites;
  return 0;
}

/* A site that keeps faulting (nothing lives at E0000000h) goes by the TLB; when there is memory, by the
 * window again. */
START_TEST(test_second_chance) {
  struct bed b = begin("verify=on");
  CODE(&b, READ_LOOP);
  set_by_dma(&b, TABLE + (DATA >> 10), 0xe0000003);
  loop(&b, 200);
  ck_assert_uint_gt(jit_of(&b)->stat.demoted, 0);
  ck_assert_uint_lt(translated_faults(&b), 100); /* the loop is unrolled: four for each copy */
  ck_assert(sites_of_loop(&b) != 0 && sites_of_loop(&b) != ~0ull);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0xffffffff);
  set_by_dma(&b, TABLE + (DATA >> 10), pte_of_data(0, 3));
  tlb_flush_page(b.cpu, DATA);
  loop(&b, 1000);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 100);
  ck_assert(sites_of_loop(&b) == ~0ull);
  machine_free(b.m);
}
END_TEST

/* More spaces than there are windows. */
START_TEST(test_eviction) {
  struct bed b = begin("hot=on");
  CODE(&b, READ_DATA);
  for (unsigned round = 0; round < 3; round++)
    for (uint32_t n = 0; n < 40; n++) {
      uint32_t directory = 0x400000 + n * 0x2000, table = directory + 0x1000;
      for (uint32_t i = 0; i < 1024; i++)
        set_by_dma(&b, table + i * 4, i << 12 | 3);
      set_by_dma(&b, directory, table | PTE_US_RW_P);
      set_by_dma(&b, table + (DATA >> 10), pte_of_data((n + round) % 8, 3));
      control_set_cr3(b.cpu, directory);
      go(&b);
      ck_assert_uint_eq(b.cpu->gpr[EAX], 100 + (n + round) % 8);
    }
  machine_free(b.m);
}
END_TEST

/* Too many mappings: the windows that have not been used for longest are emptied, and no more. */
START_TEST(test_room) {
  struct bed b = begin("hot=on");
  struct windows *ws = jit_of(&b)->windows;
  CODE(&b, READ_DATA);
  set_by_dma(&b, TABLE + (DATA >> 10), pte_of_data(1, 3));
  set_by_dma(&b, OTHER_TABLE + (DATA >> 10), pte_of_data(2, 3));
  go(&b);
  struct window *first = &ws->window[ws->current];
  uint32_t one = first->maps;
  ck_assert_uint_gt(one, 0);
  control_set_cr3(b.cpu, OTHER_DIRECTORY);
  go(&b);
  struct window *second = &ws->window[ws->current];
  ck_assert_int_ne(first->mapped, 0);
  ck_assert_int_ne(second->mapped, 0);
  ws->maps_max = ws->maps - 1;
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 102);
  ck_assert_uint_eq(first->mapped, 0);
  ck_assert_int_ne(second->mapped, 0);
  ck_assert_uint_eq(ws->maps, second->maps);
  ck_assert_uint_eq(ws->stat.drops, 1);
  ws->maps_max = 1000;
  control_set_cr3(b.cpu, DIRECTORY);
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 101);
  ck_assert_uint_eq(first->maps, one);
  ws->maps_refused = true; /* by the host */
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 101);
  ck_assert_uint_eq(second->mapped, 0);
  ck_assert_uint_eq(ws->stat.drops, 2);
  windows_drop_all(jit_of(&b));
  ck_assert_uint_eq(ws->maps, 0);
  machine_free(b.m);
}
END_TEST

/* A store beside code, through another linear address than the code's. */
START_TEST(test_code_by_alias) {
  struct bed b = begin("hot=on");
  set_by_dma(&b, TABLE + (DATA >> 10), START | 3);
  CODE(
      &b,
      "\xc6\x05\x0c\x00\x20\x00\x2a" /* mov byte [DATA + 12], 42 */ "\x31\xc0\x90\x90" /* xor eax, eax; nop */
      "\xb0\x01" /* 400b: mov al, 1 */ "\xf4");
  go(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 42);
  machine_free(b.m);
}
END_TEST

/* An unmasked exception suppresses a store: then its page has not been accessed, either. */
START_TEST(test_suppressed_store) {
  struct bed b = begin("hot=on");
  uint32_t pte = TABLE + (DATA >> 10);
  set_by_dma(&b, pte, pte_of_data(0, 3));
  CODE(&b, "\xdb\x15\x00\x00\x20\x00\x9b\xf4"); /* fist dword [DATA]; wait; hlt */
  b.cpu->fx.fcw = 0x037e;                       /* invalid operation */
  b.cpu->fx.fsw = 0;
  b.cpu->fx.ftw = 1;
  memcpy(b.cpu->fx.st[0], "\0\0\0\0\0\0\0\x80\x27\x40", 10); /* 2^40 */
  go(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_MF + 1);
  ck_assert_uint_eq(get32(&b, pte), pte_of_data(0, 3));
  ck_assert_uint_eq(get32(&b, 0x300000), 100);
  machine_free(b.m);
}
END_TEST

Suite *suite_window(void);
Suite *suite_window(void) {
  Suite *s = suite_create("window");
  TCase *tc = tcase_create("window");
  tcase_set_timeout(tc, 30);
  tcase_add_test(tc, test_tables_by_dma);
  tcase_add_test(tc, test_accessed_and_dirty);
  tcase_add_test(tc, test_runs);
  tcase_add_test(tc, test_spaces);
  tcase_add_test(tc, test_user_code_of_spaces);
  tcase_add_test(tc, test_turns);
  tcase_add_test(tc, test_thunk);
  tcase_add_test(tc, test_thunk_overwritten);
  tcase_add_test(tc, test_edge);
  tcase_add_test(tc, test_edge_accessed);
  tcase_add_test(tc, test_stack_run);
  tcase_add_test(tc, test_second_chance);
  tcase_add_test(tc, test_eviction);
  tcase_add_test(tc, test_room);
  tcase_add_test(tc, test_code_by_alias);
  tcase_add_test(tc, test_suppressed_store);
  suite_add_tcase(s, tc);
  return s;
}
