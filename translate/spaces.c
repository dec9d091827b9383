/* SPDX-License-Identifier: MIT */
/*
 * What the jump cache knows of user code, across loads of CR3. Entries are made under a key, and a load of
 * CR3 makes a new one: without global pages everything that was known of the way from EIP to blocks is gone.
 * But most processes that a system comes back to find their code where it was. So of each address space it is
 * noted which pages its code ran on, and when user code runs in it again, they are all looked up: if the
 * tables still map them as they did, the old key is good again. To look at a page costs some ten nanoseconds,
 * to find each of its blocks again some hundreds.
 *
 * To the guest, that is a processor that fetches translations of code early: at the first user instruction
 * after the load of CR3. Pages whose tables would change by that (accessed bits) are never fetched early.
 */
#include "core/paging.h"
#include "translate/jit.h"

#define CODE_SPACES 64u
#define SPACE_PAGES 128u

struct code_space {
  uint64_t gen; /* 0 = not in use */
  uint32_t cr3, count;
  struct {
    uint32_t la, pa; /* of the pages */
  } page[SPACE_PAGES];
  uint8_t find[SPACE_PAGES]; /* by linear page: perhaps its index in `page` */
};

bool spaces_init(struct jit *j) {
  j->spaces = jit_sparse(CODE_SPACES * sizeof *j->spaces);
  return j->spaces != NULL;
}

void spaces_free(struct jit *j) {
  if (j->spaces)
    jit_sparse_free(j->spaces, CODE_SPACES * sizeof *j->spaces);
}

static void begin(struct jit *j, struct code_space *s) {
  s->gen = ++j->user_flushes;
  s->cr3 = j->cpu->cr3;
  s->count = 0;
}

static bool still_true(const struct jit *j, const struct code_space *s) {
  for (uint32_t i = 0; i < s->count; i++) {
    uint32_t pa;
    if (!paging_peek_code(j->cpu, s->page[i].la, &pa) || pa != s->page[i].pa)
      return false;
  }
  return true;
}

uint64_t spaces_user_gen(struct jit *j) {
  if (!j->space) {
    uint32_t cr3 = j->cpu->cr3;
    struct code_space *s = &j->spaces[(cr3 >> 5) * 0x9e3779b1u >> 16 & (CODE_SPACES - 1)];
    if (s->gen == 0 || s->cr3 != cr3 || s->count == SPACE_PAGES || !still_true(j, s))
      begin(j, s);
    j->space = s;
  }
  return j->space->gen;
}

static int find(const struct code_space *s, uint32_t la) {
  uint32_t guess = s->find[la >> 12 & (SPACE_PAGES - 1)];
  if (guess < s->count && s->page[guess].la == la)
    return (int)guess;
  for (uint32_t i = 0; i < s->count; i++)
    if (s->page[i].la == la)
      return (int)i;
  return -1;
}

void spaces_ran(struct jit *j, uint32_t la, uint32_t pa) {
  struct code_space *s = j->space;
  la &= ~0xfffu;
  pa &= ~0xfffu;
  if (!s || s->count == SPACE_PAGES) /* too many: the next load of CR3 begins anew */
    return;
  int i = find(s, la);
  if (i >= 0 &&
      s->page[i].pa != pa) { /* remapped, and what was known of it stays until the next load of CR3 */
    s->count = SPACE_PAGES;
    return;
  }
  if (i < 0) {
    i = (int)s->count++;
    s->page[i].la = la;
    s->page[i].pa = pa;
  }
  s->find[la >> 12 & (SPACE_PAGES - 1)] = (uint8_t)i;
}

bool spaces_flush_page(struct jit *j, uint32_t la) {
  struct code_space *s = j->space; /* of the others, everything is looked at before they run again */
  if (!s || (s->count < SPACE_PAGES && find(s, la & ~0xfffu) < 0))
    return false;
  begin(j, s);
  return true;
}
