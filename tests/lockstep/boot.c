/* SPDX-License-Identifier: MIT */
/*
 * Lockstep over real boots: two machines with the same board in one process, one under the interpreter and
 * one under the translator, in counted time. After every slice of instructions CPU and devices must agree,
 * and every so often all memory. At a difference both start again, up to the last slice that was good, and go
 * on in smaller slices; the last pass prints both states and the instructions of the slice as the interpreter
 * executes them.
 *
 *   lockstep-boot [-n INSNS] [-seconds VIRTUAL] [-slice N] [-at INSNS -keys TEXT] [dragoman's options]
 *
 * Serial output of the interpreter's machine goes to standard output with -echo. Images are never written to.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/insn.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/monitor.h"
#include "frontends/keyqueue.h"
#include "frontends/session.h"
#include "frontends/textdump.h"
#include "translate/translate.h"

#define MAX_KEYS 16
#define MEMORY_EVERY 20000000u /* instructions between comparisons of all memory */
#define DEVICES_EVERY 20u      /* slices */
#define TRACE_MAX 400u         /* instructions that the last pass may print */

struct typed {
  uint64_t at;
  const char *text;
};

static struct {
  uint64_t insns, slice;
  int64_t seconds; /* of virtual time */
  bool echo, screen;
  struct typed keys[MAX_KEYS];
  unsigned key_count;
  int argc;
  char **argv;
  const char *reference, *engine; /* the two sides, with their options */
} run_options = {.insns = 200000000, .slice = 5000, .seconds = 100, .reference = "interp", .engine = "tlb"};

struct side { /* one machine */
  struct session session;
  struct machine *machine;
  struct keyqueue *keys;
  struct chardev serial;
  bool echo;
  uint64_t serial_hash;
  unsigned typed;
};

static unsigned long stale_marks; /* see only_marks */

static void die(const char *what) {
  fprintf(stderr, "lockstep-boot: %s\n", what);
  exit(1);
}

static size_t serial_write(struct chardev *c, const uint8_t *buf, size_t len) {
  struct side *s = (struct side *)((char *)c - offsetof(struct side, serial));
  for (size_t i = 0; i < len; i++)
    s->serial_hash = (s->serial_hash ^ buf[i]) * 0x100000001b3ull;
  if (s->echo)
    fwrite(buf, 1, len, stdout);
  return len;
}

static struct side *side_new(const char *engine_name, bool echo) {
  struct side *s = calloc(1, sizeof *s);
  if (!s)
    die("out of memory");
  struct session *session = &s->session;
  struct machine_config *config = &session->config;
  config->engine = engine_find(engine_name, &config->engine_options);
  if (!config->engine)
    die("no such engine");
  if (options_parse(&session->options, run_options.argc, run_options.argv, session->error, SESSION_ERROR) < 0)
    die(session->error);
  session->options.snapshot = session->options.counted = session->options.no_reboot = true;
  if (session_begin(session) < 0)
    die(session->error);
  s->echo = echo;
  s->serial.write = serial_write;
  session->board.serial[0] = &s->serial;
  if (session_finish(session) < 0)
    die(session->error);
  s->machine = session->machine;
  s->keys = keyqueue_new(s->machine);
  return s;
}

static void side_free(struct side *s) {
  keyqueue_free(s->keys);
  session_end(&s->session);
  free(s);
}

static bool side_ended(const struct side *s) { return s->machine->state != MACHINE_RUNNING; }

/* Type what is due at this instruction count. */
static void side_type(struct side *s, uint64_t at) {
  char bad;
  for (; s->typed < run_options.key_count && run_options.keys[s->typed].at <= at; s->typed++) {
    machine_lock(s->machine);
    if (keyqueue_type(s->keys, run_options.keys[s->typed].text, &bad) < 0)
      die("cannot type that");
    machine_unlock(s->machine);
  }
}

/* --- comparing ---------------------------------------------------------------------------------------- */

/* The FPU state that a guest can see; not host's leftovers behind the registers' ten bytes and the eighth
 * XMM. */
static bool same_fpu(const struct fxsave *a, const struct fxsave *b) {
  for (int i = 0; i < 8; i++)
    if (memcmp(a->st[i], b->st[i], 10))
      return false;
  return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->fop == b->fop && a->fip == b->fip &&
         a->fcs == b->fcs && a->fdp == b->fdp && a->fds == b->fds && a->mxcsr == b->mxcsr &&
         memcmp(a->xmm, b->xmm, sizeof a->xmm[0] * 8) == 0;
}

/* cpu_fields without fx. */
static const struct field *fields_to_compare(void) {
  static struct field fields[128];
  if (fields[0].name)
    return fields;
  unsigned n = 0;
  for (const struct field *f = cpu_fields(); f->kind != FIELD_END && n < 127; f++)
    if (strcmp(f->name, "fx"))
      fields[n++] = *f;
  fields[n].kind = FIELD_END;
  return fields;
}

/* Does the page at `page` hold a table that the CPU walks now? */
static bool is_table(struct machine *m, uint32_t page) {
  const struct cpu *c = m->cpu[0];
  bool pae = c->cr4 & CR4_PAE;
  if (!(c->cr0 & CR0_PG))
    return false;
  for (unsigned d = 0; d < (pae ? 4 : 1); d++) {
    uint64_t directory = pae ? c->pdpte[d] : c->cr3 | 1;
    if (!(directory & 1))
      continue;
    if ((directory & ~0xfffull) == page)
      return true;
    for (unsigned i = 0; i < MEM_PAGE; i += pae ? 8 : 4) {
      uint32_t entry = (uint32_t)mem_read(m->mem, (uint32_t)(directory & ~0xfffull) + i, 4);
      if ((entry & 1) && (entry & ~0xfffu) == page)
        return true;
    }
  }
  return false;
}

/*
 * A guest that clears A or D in a table without INVLPG leaves it to the CPU whether it sets them at the next
 * access: it may go on with the translation that it has cached (SDM vol. 3, 4.10.4.3). The TLB does so; a
 * window, which follows the tables, walks anew. Where nothing else differs in an entry in use, both get the
 * bits, and it is counted.
 */
static bool only_marks(struct machine *m, uint8_t *a, uint8_t *b, uint64_t at, bool ram) {
  if (!ram || at % 4 || ((*a ^ *b) & ~0x60) || !(*a & 1) || !is_table(m, (uint32_t)at & ~(MEM_PAGE - 1u)))
    return false;
  *a = *b = *a | *b;
  stale_marks++;
  return true;
}

/* The first byte from *at on that differs, but for such marks; false if none does. */
static bool blocks_differ(struct machine *m, struct mem_block *p, struct mem_block *q, uint64_t *at) {
  bool ram = m->mem->page[0].block == p;
  for (*at = 0; *at < p->size; *at += MEM_PAGE) {
    uint64_t end = *at + (p->size - *at < MEM_PAGE ? p->size - *at : MEM_PAGE);
    if (memcmp(p->host + *at, q->host + *at, end - *at) == 0)
      continue;
    for (uint64_t i = *at; i < end; i++) {
      if (p->host[i] != q->host[i] && !only_marks(m, p->host + i, q->host + i, i, ram)) {
        *at = i;
        return true;
      }
    }
  }
  return false;
}

/* What differs between the two, or NULL. The answer is static. */
static const char *difference(const struct side *a, const struct side *b, bool devices, bool memory) {
  static char text[160];
  const struct machine *m = a->machine, *n = b->machine;
  const struct field *f = state_diff(m->cpu[0], n->cpu[0], fields_to_compare());
  if (m->cpu[0]->icount != n->cpu[0]->icount)
    return "the number of instructions";
  if (f) {
    snprintf(text, sizeof text, "the CPU's %s", f->name);
    return text;
  }
  if (!same_fpu(&m->cpu[0]->fx, &n->cpu[0]->fx))
    return "the FPU";
  if (clock_now(m->clock) != clock_now(n->clock))
    return "the time";
  if (m->state != n->state || m->stat.resets != n->stat.resets)
    return "the machine's state";
  if (a->serial_hash != b->serial_hash)
    return "serial output";
  if (!devices)
    return NULL;
  for (const struct device *d = m->devices.first, *e = n->devices.first; d && e; d = d->next, e = e->next) {
    f = d->cls->fields ? state_diff(d, e, d->cls->fields) : NULL;
    if (f) {
      snprintf(text, sizeof text, "%s's %s", d->id, f->name);
      return text;
    }
  }
  if (!memory)
    return NULL;
  for (struct mem_block *p = m->mem->blocks, *q = n->mem->blocks; p && q; p = p->next, q = q->next) {
    uint64_t at = 0;
    if (p->size == q->size && !blocks_differ((struct machine *)m, p, q, &at))
      continue;
    snprintf(text, sizeof text, "%s at %llx: %02x under the interpreter, %02x", p->name,
             (unsigned long long)at, p->host[at], q->host[at]);
    return text;
  }
  return NULL;
}

static void print_insn(struct machine *m) {
  const struct cpu *c = m->cpu[0];
  uint8_t bytes[INSN_MAX];
  struct insn in;
  unsigned n = debug_read(m, c->seg[CS].base + c->eip, bytes, sizeof bytes, false);
  bool ok = n && insn_decode(&in, bytes, n, c->seg[CS].attr & SEG_DB, c->features) == INSN_OK;
  printf("%12llu %04x:%08x fl %08x %08x %08x %08x %08x %08x %08x %08x %08x %-10s",
         (unsigned long long)c->icount, c->seg[CS].sel, c->eip, c->eflags, c->gpr[0], c->gpr[1], c->gpr[2],
         c->gpr[3], c->gpr[4], c->gpr[5], c->gpr[6], c->gpr[7], ok ? insn_describe(&in)->mnemonic : "?");
  for (unsigned i = 0; i < (ok ? in.length : n); i++)
    printf(" %02x", bytes[i]);
  printf("\n");
}

/* What info_registers leaves out. */
static void print_state(const char *name, struct machine *m) {
  const struct fxsave *f = &m->cpu[0]->fx;
  printf("--- %s\n", name);
  info_registers(m, stdout);
  printf("FOP=%03x FIP=%04x:%08x FDP=%04x:%08x\n", f->fop, f->fcs, f->fip, f->fds, f->fdp);
}

/* Both to count `at`. */
static void advance(struct side *a, struct side *b, uint64_t at) {
  machine_run_until(a->machine, at);
  machine_run_until(b->machine, at);
}

/* From the start to `good` without a look, then on in slices of n. The count of the last slice that agreed,
 * or `end`. */
static uint64_t narrow(uint64_t good, uint64_t end, uint64_t n, bool print) {
  struct side *a = side_new(run_options.reference, false), *b = side_new(run_options.engine, false);
  const char *what = NULL;
  for (uint64_t at = run_options.slice; at <= good; at += run_options.slice) {
    side_type(a, at - run_options.slice);
    side_type(b, at - run_options.slice);
    advance(a, b, at);
  }
  side_type(a, good);
  side_type(b, good);
  for (uint64_t at = good; at < end && !what; at += n) {
    if (print && n <= TRACE_MAX) {
      for (uint64_t k = 0; k < n; k++) {
        print_insn(a->machine);
        machine_run_until(a->machine, at + k + 1);
      }
    }
    advance(a, b, at + n);
    what = difference(a, b, true, true);
    if (!what)
      good = at + n;
  }
  printf("  %s after %llu instructions, in steps of %llu\n", what ? what : "no difference",
         (unsigned long long)good, (unsigned long long)n);
  if (print) {
    print_state("interpreter", a->machine);
    print_state("translator", b->machine);
  }
  side_free(a);
  side_free(b);
  return what ? good : end;
}

static void explain(uint64_t good, uint64_t bad) {
  uint64_t best = good, step = bad - good;
  for (uint64_t n = step / 16; n >= 40; n /= 4) {
    uint64_t at = narrow(best, bad, n, false);
    if (at >= bad)
      break;
    best = at;
    bad = at + n;
    step = n;
  }
  narrow(best, bad, step, true);
}

static int lockstep(void) {
  struct side *a = side_new(run_options.reference, run_options.echo),
              *b = side_new(run_options.engine, false);
  uint64_t at = 0, good = 0, memory_at = 0, memory_good = 0, slices = 0;
  const char *what = NULL;
  while (at < run_options.insns && !what && !side_ended(a) &&
         clock_now(a->machine->clock) < run_options.seconds * NS_PER_SEC) {
    side_type(a, at);
    side_type(b, at);
    at += run_options.slice;
    advance(a, b, at);
    bool memory = at >= memory_at || at >= run_options.insns;
    what = difference(a, b, ++slices % DEVICES_EVERY == 0 || memory, memory);
    if (!what && memory) {
      memory_good = at;
      memory_at = at + MEMORY_EVERY;
    }
    if (!what)
      good = at;
  }
  if (run_options.screen && a->machine->display) {
    int x, y, w, h;
    a->machine->display->refresh(a->machine->display, &x, &y, &w, &h);
    if (textdump_print(a->machine->display, stdout) < 0)
      printf("graphics: %dx%d\n", a->machine->display->surface.width, a->machine->display->surface.height);
  }
  printf("%llu instructions, %lld ms\n", (unsigned long long)a->machine->cpu[0]->icount,
         (long long)clock_now(a->machine->clock) / 1000000);
  if (stale_marks)
    printf("%lu accessed and dirty bits that only one side set, in entries that the guest did not flush\n",
           stale_marks);
  if (what) {
    printf("%s differs between %llu and %llu\n", what, (unsigned long long)good, (unsigned long long)at);
    bool in_memory = difference(a, b, true, false) == NULL;
    side_free(a);
    side_free(b);
    explain(in_memory ? memory_good : good, at);
  } else {
    side_free(a);
    side_free(b);
  }
  printf("%d passed, %d failed\n", what == NULL, what != NULL);
  return what != NULL;
}

/* Take our own options out; the rest is dragoman's. */
static void parse(int argc, char **argv) {
  uint64_t at = 0;
  run_options.argv = calloc((size_t)argc + 1, sizeof *argv);
  if (!run_options.argv)
    die("out of memory");
  run_options.argv[run_options.argc++] = argv[0];
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "-n")) {
      run_options.insns = strtoull(value, NULL, 0);
    } else if (!strcmp(argv[i], "-slice")) {
      run_options.slice = strtoull(value, NULL, 0);
    } else if (!strcmp(argv[i], "-seconds")) {
      run_options.seconds = strtoll(value, NULL, 0);
    } else if (!strcmp(argv[i], "-engine")) {
      run_options.engine = value;
    } else if (!strcmp(argv[i], "-reference")) {
      run_options.reference = value;
    } else if (!strcmp(argv[i], "-at")) {
      at = strtoull(value, NULL, 0);
    } else if (!strcmp(argv[i], "-keys") && run_options.key_count < MAX_KEYS) {
      run_options.keys[run_options.key_count++] = (struct typed){at, value};
    } else if (!strcmp(argv[i], "-echo")) {
      run_options.echo = true;
      continue;
    } else if (!strcmp(argv[i], "-screen")) {
      run_options.screen = true;
      continue;
    } else {
      run_options.argv[run_options.argc++] = argv[i];
      continue;
    }
    i++;
  }
  if (run_options.slice == 0)
    die("-slice 0");
}

int main(int argc, char **argv) {
  parse(argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0);
  return lockstep();
}
