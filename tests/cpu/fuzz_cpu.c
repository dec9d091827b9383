/* SPDX-License-Identifier: MIT */
/*
 * Random user-mode instruction sequences, generated from the instruction table, on the host's processor and
 * in an engine: registers, flags, segments, x87, SSE, memory and the exception must agree bit for bit.
 *
 *   cpu-fuzzer [-e ENGINE[,OPTIONS]] [-n CASES] [-s SEED] [-i NAME] [-c CLASS] [-l LENGTH] [-k RUNS]
 *              [-f FAILURES] [-v]
 *   cpu-fuzzer -r REPEATS [OPTION]...
 *   cpu-fuzzer -x
 *
 * Case k of seed s is case 0 of seed s + k, which is how a mismatch is reported, with the shortest program
 * found that still shows it. -i and -c (fpu, mmx, sse, int) choose rows by the beginning of their name and by
 * class; -l is the longest sequence. -r does a sweep instead: each row in each form (register or memory,
 * operand and address size) so many times, alone. -k runs each program so often in the engine, which may have
 * optimised it by then. -f ends after so many failures; -x lists the rows left out, with the reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/insn.h"
#include "tests/cpu/forms.h"
#include "tests/cpu/fuzz.h"
#include "tests/cpu/guest.h"
#include "translate/translate.h"

#define STEPS 3000u
#define RETRIES 3
#define REASONS 24u

struct options {
  uint64_t cases, seed;
  const char *name, *class_name;
  const char *engine;
  unsigned length, repeats, failures;
  bool verbose, list_excluded;
};

static uint16_t rows[INSN_COUNT];
static unsigned row_count;
static struct guest *guest;
static uint8_t code_page[NATIVE_CODE_SIZE], data_area[NATIVE_DATA_SIZE];
static unsigned guest_runs = 1;
static uint64_t compared, failed;
static struct {
  struct leniency lenient;
  uint64_t count;
} excused[REASONS];

/* --- which rows --- */

static bool class_matches(const char *name, uint8_t cls) {
  if (!name)
    return true;
  if (strcmp(name, "fpu") == 0)
    return cls == CL_FPU;
  if (strcmp(name, "mmx") == 0)
    return cls == CL_MMX;
  if (strcmp(name, "sse") == 0)
    return cls == CL_SSE;
  return cls != CL_FPU && cls != CL_MMX && cls != CL_SSE;
}

static void choose_rows(const struct options *o) {
  for (unsigned id = 0; id < INSN_COUNT; id++)
    if (!row_excluded(id) && class_matches(o->class_name, insn_desc[id].cls) &&
        (!o->name || name_has_prefix(insn_names[id], o->name)))
      rows[row_count++] = (uint16_t)id;
}

/* --- running --- */

struct result {
  struct outcome host, guest;
  struct leniency lenient;
};

static void run_both(struct test_case *t, struct result *r) {
  lay_out(t, code_page, data_area);
  memcpy((void *)(uintptr_t)NATIVE_CODE, code_page, sizeof code_page);
  memcpy((void *)(uintptr_t)NATIVE_DATA, data_area, sizeof data_area);
  r->host.state = t->state;
  native_run(&r->host.state);
  for (unsigned i = 0; i < guest_runs; i++) {
    if (i == 0 || memcmp(guest->code, code_page, sizeof code_page) != 0)
      guest_put_code(guest, code_page);
    guest_put_data(guest, data_area);
    r->guest.state = t->state;
    guest_run(guest, &r->guest.state, STEPS);
  }
  r->host.code = (const uint8_t *)(uintptr_t)NATIVE_CODE;
  r->host.data = (const uint8_t *)(uintptr_t)NATIVE_DATA;
  r->guest.code = guest->code;
  r->guest.data = guest->data;
}

/* More than once on the host if need be: its kernel may lose the x87's pointers when it switches tasks. */
static bool mismatches(struct test_case *t, struct result *r) {
  for (int i = 0; i < RETRIES; i++) {
    r->lenient = (struct leniency){.reason = NULL};
    run_both(t, r);
    if (compare_outcomes(t, &r->host, &r->guest, &r->lenient, false) == 0)
      return false;
    r->lenient = processors_vary(&r->host, &r->guest);
    if (compare_outcomes(t, &r->host, &r->guest, &r->lenient, false) == 0)
      return false;
  }
  return true;
}

/* --- shortening --- */

static void retarget(struct fixup *f, unsigned removed) {
  if (f->target != NO_TARGET && f->target > removed)
    f->target--;
}

static void remove_piece(struct test_case *t, unsigned index) {
  memmove(&t->piece[index], &t->piece[index + 1], (t->count - index - 1) * sizeof t->piece[0]);
  t->count--;
  for (unsigned i = 0; i < t->count; i++)
    for (unsigned k = 0; k < t->piece[i].fixups; k++)
      retarget(&t->piece[i].fixup[k], index);
  for (unsigned i = 0; i < t->patches; i++)
    retarget(&t->patch[i].fixup, index);
}

/* As long as some instruction can be left out, leave it out. */
static void shorten(struct test_case *t) {
  static struct test_case shorter;
  struct result r;
  for (bool again = true; again;) {
    again = false;
    for (unsigned i = t->count; i-- > 0 && t->count > 1;) {
      shorter = *t;
      remove_piece(&shorter, i);
      if (mismatches(&shorter, &r)) {
        *t = shorter;
        again = true;
      }
    }
  }
}

/* --- reporting --- */

static void print_case(const struct test_case *t) {
  static const char *const segments[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned i = 0; i < t->count; i++) {
    printf("  %-24s", insn_names[t->piece[i].id]);
    for (unsigned k = 0; k < t->piece[i].length; k++)
      printf(" %02x", t->piece[i].bytes[k]);
    printf("\n");
  }
  printf("  %s code at eip %08x;", t->code32 ? "32-bit" : "16-bit", t->state.eip);
  for (unsigned i = 0; i < 6; i++)
    printf(" %s %04x", segments[i], t->state.sel[i]);
  printf("\n ");
  for (unsigned i = 0; i < 8; i++)
    printf(" %08x", t->state.gpr[i]);
  const struct fxsave *fx = &t->state.fx;
  printf(" eflags %08x fcw %04x fsw %04x ftw %02x mxcsr %04x\n", t->state.eflags, fx->fcw, fx->fsw, fx->ftw,
         fx->mxcsr);
}

static void print_command(const struct options *o, const struct recipe *recipe, uint64_t seed) {
  printf("  again: cpu-fuzzer -e %s -k %u -s %llu", o->engine, guest_runs, (unsigned long long)seed);
  if (recipe->sweep)
    printf(" -r 1 -i %s\n", insn_names[recipe->rows[0]]);
  else
    printf(" -n 1 -l %u%s%s%s%s\n", o->length, o->name ? " -i " : "", o->name ? o->name : "",
           o->class_name ? " -c " : "", o->class_name ? o->class_name : "");
}

static void print_end(const char *name, const struct native_state *s) {
  printf("  %s: vector %d, error %04x, cr2 %08x at %04x:%08x\n", name, s->vector, s->error, s->cr2,
         s->sel[CS], s->eip);
}

static void report(struct test_case *t, const char *what, uint64_t seed) {
  struct result r;
  mismatches(t, &r);
  printf("%s %llu\n", what, (unsigned long long)seed);
  print_end("host", &r.host.state);
  print_end("guest", &r.guest.state);
  print_case(t);
  compare_outcomes(t, &r.host, &r.guest, &r.lenient, true);
}

static void excuse(const struct leniency *l) {
  for (unsigned i = 0; i < REASONS; i++) {
    if (!excused[i].lenient.reason)
      excused[i].lenient = *l;
    if (excused[i].lenient.reason == l->reason) {
      excused[i].count++;
      return;
    }
  }
}

static void run_case(const struct recipe *recipe, uint64_t seed, const struct options *o) {
  static struct test_case t;
  struct result r;
  make_case(&t, recipe, seed);
  bool wrong = mismatches(&t, &r);
  if (!wrong && r.lenient.reason)
    excuse(&r.lenient);
  if (wrong || !r.lenient.all)
    compared++;
  if (wrong) {
    failed++;
    shorten(&t);
  }
  if (wrong || o->verbose)
    report(&t, wrong ? "MISMATCH: seed" : "same: seed", seed);
  if (wrong) {
    print_command(o, recipe, seed);
    fflush(stdout);
  }
}

/* --- main --- */

static void parse(struct options *o, int argc, char **argv) {
  int c;
  while ((c = getopt(argc, argv, "n:s:i:c:e:f:k:l:r:xv")) != -1) {
    switch (c) {
    case 'n': o->cases = strtoull(optarg, NULL, 0); break;
    case 's': o->seed = strtoull(optarg, NULL, 0); break;
    case 'i': o->name = optarg; break;
    case 'c': o->class_name = optarg; break;
    case 'e': o->engine = optarg; break;
    case 'f': o->failures = (unsigned)strtoul(optarg, NULL, 0); break;
    case 'k': guest_runs = (unsigned)strtoul(optarg, NULL, 0); break;
    case 'l': o->length = (unsigned)strtoul(optarg, NULL, 0); break;
    case 'r': o->repeats = (unsigned)strtoul(optarg, NULL, 0); break;
    case 'x': o->list_excluded = true; break;
    case 'v': o->verbose = true; break;
    default: exit(2);
    }
  }
  if (guest_runs == 0)
    guest_runs = 1;
  if (o->length == 0 || o->length > PIECES_MAX)
    o->length = PIECES_MAX;
}

static void list_excluded(void) {
  for (unsigned id = 0; id < INSN_COUNT; id++)
    if (row_excluded(id))
      printf("%-20s %s\n", insn_names[id], row_excluded(id));
}

static void sweep(const struct options *o) {
  for (unsigned i = 0; i < row_count; i++) {
    for (unsigned form = 0; form < FORMS; form++) {
      struct recipe r = {.rows = &rows[i], .row_count = 1, .sweep = true, .form = form};
      for (unsigned k = 0; k < o->repeats && row_has_form(rows[i], form) && failed < o->failures; k++)
        run_case(&r, o->seed + k, o);
    }
  }
}

static void put_readonly(void) {
  void *host = (void *)(uintptr_t)NATIVE_READONLY;
  mprotect(host, NATIVE_READONLY_SIZE, PROT_READ | PROT_WRITE);
  memcpy(host, readonly_page(), NATIVE_READONLY_SIZE);
  mprotect(host, NATIVE_READONLY_SIZE, PROT_READ);
  memcpy(guest->readonly, readonly_page(), NATIVE_READONLY_SIZE);
}

int main(int argc, char **argv) {
  struct options o = {.cases = 20000, .seed = 1, .length = 6, .failures = 20, .engine = "interp"};
  parse(&o, argc, argv);
  if (o.list_excluded) {
    list_excluded();
    return 0;
  }
  const char *engine_options;
  const struct engine *engine = engine_find(o.engine, &engine_options);
  if (!engine) {
    fprintf(stderr, "no engine called %s\n", o.engine);
    return 2;
  }
  guest = guest_new("max");
  guest_use_engine(guest, engine, engine_options);
  if (!native_init()) {
    printf("32-bit code cannot be run on this host\n0 passed, 0 failed\n");
    return 0;
  }
  choose_rows(&o);
  if (row_count == 0) {
    printf("no such instructions\n");
    return 2;
  }
  make_templates();
  put_readonly();
  if (o.repeats)
    sweep(&o);
  struct recipe recipe = {.rows = rows, .row_count = row_count, .length_max = o.length};
  for (uint64_t i = 0; !o.repeats && i < o.cases && failed < o.failures; i++)
    run_case(&recipe, o.seed + i, &o);
  guest_free(guest);
  for (unsigned i = 0; i < REASONS && excused[i].count; i++)
    printf("%s compared: %s: %llu\n", excused[i].lenient.all ? "not" : "partly", excused[i].lenient.reason,
           (unsigned long long)excused[i].count);
  printf("%llu passed, %llu failed\n", (unsigned long long)compared - failed, (unsigned long long)failed);
  return failed != 0;
}
