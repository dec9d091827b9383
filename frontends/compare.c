/* SPDX-License-Identifier: MIT */
/*
 * dragoman compare A B: two runs side by side, each a recording (-icount rr=record) or, in quotes, the
 * options of a counted run. Both machines run in this process, a stretch at a time, and must then have the
 * same registers, devices, time and output, now and then the same memory, and the same screen. When something
 * differs both begin again, up to the last place where nothing did, and go on in shorter stretches, in the
 * end instruction by instruction. Two directories: their recordings of the same names, one after the other.
 *
 * Images are never written to. What a recording's options name relatively is looked for in the current
 * directory.
 */
#include "frontends/compare.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/monitor.h"
#include "core/replay.h"
#include "frontends/guests.h"
#include "frontends/monitor.h"
#include "frontends/session.h"
#include "translate/translate.h"

#define ARGS_MAX 512
#define STRIDE 1000000u /* instructions, at first; a thousandth each time that it is searched again */
#define STRIDE_STEP 1000u
#define MEMORY_EVERY 20u /* stretches */
#define SIDES 2

struct wanted {
  const char *side[SIDES], *engine[SIDES];
  const char *png; /* screens at the difference go to PREFIX-a.png and -b.png */
  uint64_t insns;
  FILE *out;
};

struct side {
  struct session session;
  struct machine *machine;
  struct replay *source; /* of the command line, if it is a recording */
  char *argv[ARGS_MAX + 1];
  int argc;
  char *copy; /* behind argv */
  char *icount;
  struct chardev port[OPTIONS_SERIALS + 2];
  struct monitor_env env; /* for recorded commands */
  uint64_t output;        /* hash of what the ports got */
  char error[SESSION_ERROR];
};

/* --- making a side --- */

static size_t take_output(struct chardev *c, const uint8_t *buf, size_t len) {
  struct side *s;
  memcpy(&s, c->label, sizeof s);
  for (size_t i = 0; i < len; i++)
    s->output = (s->output ^ buf[i]) * 0x100000001b3ull;
  return len;
}

static struct chardev *port(struct side *s, unsigned n) {
  s->port[n].write = take_output;
  memcpy(s->port[n].label, &s, sizeof s);
  return &s->port[n];
}

static bool add(struct side *s, const char *word) {
  if (s->argc == ARGS_MAX)
    return false;
  s->argv[s->argc++] = (char *)(uintptr_t)word;
  s->argv[s->argc] = NULL;
  return true;
}

/* "-icount TEXT" without rr= and rrfile=, and with the file to be replayed. */
static bool set_icount(struct side *s, const char *text, const char *file) {
  size_t size = (text ? strlen(text) : 0) + (file ? 2 * strlen(file) : 0) + 64, used;
  s->icount = malloc(size);
  if (!s->icount)
    return false;
  used = (size_t)snprintf(s->icount, size, "on");
  for (const char *p = text; p && *p;) {
    size_t n = strcspn(p, ",");
    if (strncmp(p, "rr=", 3) && strncmp(p, "rrfile=", 7) && strncmp(p, "on", n))
      used += (size_t)snprintf(s->icount + used, size - used, ",%.*s", (int)n, p);
    p += n + (p[n] == ',');
  }
  if (!file)
    return true;
  used += (size_t)snprintf(s->icount + used, size - used, ",rr=replay,rrfile=");
  for (const char *p = file; *p && used + 3 < size; p++) {
    if (*p == ',') /* doubled, as in every option */
      s->icount[used++] = ',';
    s->icount[used++] = *p;
  }
  s->icount[used] = '\0';
  return true;
}

/* The command line again, without what concerns its own host. */
static bool take_args(struct side *s, const char *const *args, const char *file, const char *engine) {
  static const char *const dropped[] = {"display", "monitor", "pidfile", "D", "d", "accel", "audiodev"};
  const char *icount = NULL;
  if (!add(s, "dragoman"))
    return false;
  for (unsigned i = 1; args[0] && args[i]; i++) {
    const char *name = args[i][0] == '-' ? args[i] + 1 + (args[i][1] == '-') : "";
    bool drop = false;
    for (unsigned k = 0; k < sizeof dropped / sizeof *dropped; k++)
      drop |= !strcmp(name, dropped[k]) && (strcmp(name, "accel") || engine);
    if (!strcmp(name, "icount") && args[i + 1])
      icount = args[++i];
    else if (drop && args[i + 1])
      i++;
    else if (strcmp(name, "S") && !add(s, args[i]))
      return false;
  }
  if (engine && (!add(s, "-accel") || !add(s, engine)))
    return false;
  return set_icount(s, icount, file) && add(s, "-icount") && add(s, s->icount) && add(s, "-display") &&
         add(s, "none") && add(s, "-snapshot");
}

/* Cut a string into words; "..." and '...' keep blanks. */
static bool split(struct side *s, const char *text, const char **words, unsigned most) {
  unsigned n = 0;
  s->copy = strdup(text);
  words[n++] = "dragoman";
  for (char *p = s->copy; p && *p;) {
    while (isspace((unsigned char)*p))
      p++;
    if (!*p)
      break;
    if (n + 1 == most)
      return false;
    char *to = p, quote = 0;
    words[n++] = p;
    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
      if (quote ? *p == quote : *p == '"' || *p == '\'')
        quote = quote ? 0 : *p;
      else
        *to++ = *p;
    }
    p += *p != '\0';
    *to = '\0';
  }
  words[n] = NULL;
  return s->copy != NULL;
}

static void side_free(struct side *s) {
  if (!s)
    return;
  if (s->argc)
    session_end(&s->session);
  replay_free(s->source);
  free(s->icount);
  free(s->copy);
  free(s);
}

static bool prepare(struct side *s, const struct wanted *w, unsigned n) {
  const char *words[ARGS_MAX];
  struct stat st;
  if (stat(w->side[n], &st) == 0) {
    s->source = replay_play(w->side[n], s->error, sizeof s->error);
    return s->source && take_args(s, replay_header(s->source)->args, w->side[n], w->engine[n]);
  }
  if (w->side[n][0] != '-') {
    snprintf(s->error, sizeof s->error, "%s: no such recording; options begin with '-'", w->side[n]);
    return false;
  }
  return split(s, w->side[n], words, ARGS_MAX) && take_args(s, words, NULL, w->engine[n]);
}

static void run_command(void *opaque, char *line) { monitor_run(opaque, NULL, line); }

/* NULL: said why. */
static struct side *side_new(const struct wanted *w, unsigned n) {
  struct side *s = calloc(1, sizeof *s);
  if (!s || !prepare(s, w, n)) {
    error_report("compare: %s", s && s->error[0] ? s->error : "out of memory, or too many options");
    side_free(s);
    return NULL;
  }
  struct session *session = &s->session;
  struct options *o = &session->options;
  bool made = options_parse(o, s->argc, s->argv, session->error, SESSION_ERROR) == 0 &&
              guest_apply(o, session->error, SESSION_ERROR) == 0 && session_begin(session) == 0;
  for (unsigned i = 0; made && i < OPTIONS_SERIALS; i++)
    if (i == 0 || (i < o->serial_count && o->serial[i]))
      session->board.serial[i] = port(s, i);
  if (made && o->parallel)
    session->board.parallel = port(s, OPTIONS_SERIALS);
  if (!made || session_finish(session) < 0) {
    error_report("compare: %s: %s", w->side[n], session->error);
    side_free(s);
    return NULL;
  }
  s->machine = session->machine;
  s->env = (struct monitor_env){.machine = s->machine, .media = &session->media, .nets = &session->nets};
  if (session->replay) {
    replay_set_quiet(session->replay);
    replay_set_command(session->replay, run_command, &s->env);
  }
  return s;
}

/* --- comparing --- */

static bool ended(const struct side *s) { return s->machine->state != MACHINE_RUNNING; }

static const char *difference(struct side *a, struct side *b, bool all) {
  struct machine *m = a->machine, *n = b->machine;
  if (m->cpu[0]->icount != n->cpu[0]->icount)
    return "the number of instructions";
  if (clock_now(m->clock) != clock_now(n->clock))
    return "the time";
  if (m->state != n->state || m->stat.resets != n->stat.resets)
    return "the machine's state";
  struct replay_hashes h = replay_hash(m, all), k = replay_hash(n, all);
  if (h.cpu != k.cpu)
    return "the CPU";
  if (h.devices != k.devices)
    return "a device";
  if (a->output != b->output)
    return "the output";
  if (h.memory != k.memory)
    return "memory";
  return h.screen != k.screen ? "the screen" : NULL;
}

static void print_fields(FILE *out, const char *name, const void *a, const void *b,
                         const struct field *fields) {
  const struct field *f = fields;
  while (f && f->kind != FIELD_END && (f = state_diff(a, b, f))) {
    struct field one[2] = {*f, FIELDS_END};
    fprintf(out, "  %s A: ", name);
    state_print(out, a, one);
    fprintf(out, "  %s B: ", name);
    state_print(out, b, one);
    f++;
  }
}

static void print_memory(FILE *out, const struct machine *m, const struct machine *n) {
  for (struct mem_block *p = m->mem->blocks, *q = n->mem->blocks; p && q; p = p->next, q = q->next) {
    unsigned shown = 0;
    for (uint64_t i = 0; p->size == q->size && i < p->size; i += MEM_PAGE) {
      if (!memcmp(p->host + i, q->host + i, MEM_PAGE))
        continue;
      for (uint64_t at = i; at < i + MEM_PAGE && shown < 8; at++)
        if (p->host[at] != q->host[at] && ++shown)
          fprintf(out, "  %s at %" PRIx64 ": A %02x, B %02x\n", p->name, at, p->host[at], q->host[at]);
    }
  }
}

static void print_insn(FILE *out, const char *side, struct machine *m) {
  const struct cpu *c = m->cpu[0];
  uint8_t bytes[16];
  unsigned n = debug_read(m, c->seg[CS].base + c->eip, bytes, sizeof bytes, 0);
  fprintf(out, "  %s: %04x:%08x%s ", side, c->seg[CS].sel, c->eip, c->halted ? " (halts)" : "");
  for (unsigned i = 0; i < n; i++)
    fprintf(out, " %02x", bytes[i]);
  fprintf(out, "\n");
}

static void print_difference(const struct wanted *w, struct side *a, struct side *b) {
  FILE *out = w->out;
  struct machine *m = a->machine, *n = b->machine;
  print_fields(out, "CPU", m->cpu[0], n->cpu[0], cpu_fields());
  for (const struct device *d = m->devices.first, *e = n->devices.first; d && e; d = d->next, e = e->next)
    print_fields(out, d->id, d, e, d->cls->fields);
  print_memory(out, m, n);
  struct side *const sides[SIDES] = {a, b};
  for (unsigned i = 0; w->png && i < SIDES; i++) {
    char path[4096];
    struct display *d = sides[i]->machine->display;
    int x, y, width, height;
    if (!d || !d->refresh)
      continue;
    d->refresh(d, &x, &y, &width, &height);
    snprintf(path, sizeof path, "%s-%c.png", w->png, 'a' + (int)i);
    if (d->surface.pixels && image_write_png(&d->surface, path) == 0)
      fprintf(out, "screen %c: %s\n", 'A' + (int)i, path);
  }
}

struct found {
  const char *what;
  bool unfaithful;                 /* a recording does not replay as it was */
  uint64_t good, bad, memory_good; /* counts: the last without a difference, the first with one */
};

/* From the start to f->good at once, then in stretches up to `end`. False: the machines cannot be made. */
static bool search(const struct wanted *w, struct found *f, uint64_t end, uint64_t stretch, bool all,
                   bool report) {
  struct side *a = side_new(w, 0), *b = a ? side_new(w, 1) : NULL;
  if (!b) {
    side_free(a);
    return false;
  }
  uint64_t at = f->good, turn = 0;
  f->what = NULL;
  if (at) {
    machine_run_until(a->machine, at);
    machine_run_until(b->machine, at);
  }
  while (at < end && !f->what) {
    bool last = ended(a) || ended(b);
    at = end - at > stretch ? at + stretch : end;
    machine_run_until(a->machine, at);
    machine_run_until(b->machine, at);
    bool memory = all || ++turn % MEMORY_EVERY == 0 || ended(a) || ended(b) || at == end;
    f->what = difference(a, b, memory);
    f->bad = at;
    if (!f->what) {
      f->good = at;
      if (memory)
        f->memory_good = at;
    }
    if (last || (ended(a) && ended(b)))
      break;
  }
  if (report && f->what)
    print_difference(w, a, b);
  for (unsigned i = 0; i < SIDES; i++) {
    struct replay *r = i ? b->session.replay : a->session.replay;
    if (r && replay_difference(r) && (report || !f->what)) {
      f->unfaithful = true;
      fprintf(w->out, "%c does not replay as it was recorded: %s\n", 'A' + (int)i, replay_difference(r));
    }
  }
  if (!f->what)
    fprintf(w->out, "%" PRIu64 " instructions, %.6f s\n", a->machine->cpu[0]->icount,
            (double)clock_now(a->machine->clock) / NS_PER_SEC);
  side_free(a);
  side_free(b);
  return true;
}

/* The instructions that both are at after f->good. */
static void print_place(const struct wanted *w, const struct found *f) {
  for (unsigned i = 0; i < SIDES; i++) {
    struct side *s = side_new(w, i);
    if (!s)
      return;
    machine_run_until(s->machine, f->good);
    print_insn(w->out, i ? "B" : "A", s->machine);
    side_free(s);
  }
}

static int compare(const struct wanted *w) {
  struct found f = {0};
  uint64_t stretch = STRIDE;
  if (!search(w, &f, w->insns, stretch, false, false))
    return 2;
  if (!f.what) {
    fprintf(w->out, "the runs are the same\n");
    return f.unfaithful;
  }
  const char *first = f.what;
  bool all = !strcmp(f.what, "memory") || !strcmp(f.what, "the screen");
  if (all)
    f.good = f.memory_good;
  fprintf(w->out, "%s differs between %" PRIu64 " and %" PRIu64 " instructions\n", first, f.good, f.bad);
  while (stretch > 1) {
    struct found g = f;
    uint64_t next = (f.bad - f.good) / STRIDE_STEP;
    stretch = next ? next : 1;
    if (!search(w, &g, f.bad, stretch, all, stretch == 1))
      return 2;
    if (!g.what) {
      fprintf(w->out, "run again it does not differ: what differs is not the machine's own\n");
      return 1;
    }
    f = g;
  }
  fprintf(w->out, "first difference: %s, by the instruction after %" PRIu64 ":\n", f.what, f.good);
  print_place(w, &f);
  return 1;
}

/* --- directories --- */

static int compare_directories(struct wanted *w, const char *one, const char *two) {
  struct dirent **names;
  int n = scandir(one, &names, NULL, alphasort), worst = 0, compared = 0;
  for (int i = 0; i < n; i++) {
    size_t length = strlen(names[i]->d_name);
    char a[4096], b[4096];
    snprintf(a, sizeof a, "%s/%s", one, names[i]->d_name);
    snprintf(b, sizeof b, "%s/%s", two, names[i]->d_name);
    free(names[i]);
    struct stat st;
    if (length < 4 || strcmp(a + strlen(a) - 3, ".rr") || stat(b, &st) < 0)
      continue;
    fprintf(w->out, "%s, %s:\n", a, b);
    w->side[0] = a;
    w->side[1] = b;
    int r = compare(w);
    worst = r > worst ? r : worst;
    compared++;
  }
  if (n >= 0)
    free(names);
  if (!compared)
    error_report("compare: %s and %s have no recording (.rr) of the same name", one, two);
  return compared ? worst : 2;
}

static int usage(void) {
  fprintf(stderr,
          "usage: dragoman compare [-n INSTRUCTIONS] [-accel-a ENGINE] [-accel-b ENGINE] [-png PREFIX] A B\n"
          "A and B: recordings (-icount rr=record), directories of recordings (*.rr), or, in quotes, the\n"
          "options of a counted run\n");
  return 2;
}

int compare_runs(int argc, char **argv, FILE *out) {
  struct wanted w = {.insns = UINT64_MAX / 4, .out = out};
  unsigned sides = 0;
  for (int i = 0; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (value && !strcmp(argv[i], "-n"))
      w.insns = strtoull(argv[++i], NULL, 0);
    else if (value && !strcmp(argv[i], "-accel-a"))
      w.engine[0] = argv[++i];
    else if (value && !strcmp(argv[i], "-accel-b"))
      w.engine[1] = argv[++i];
    else if (value && !strcmp(argv[i], "-png"))
      w.png = argv[++i];
    else if (sides < SIDES)
      w.side[sides++] = argv[i];
    else
      return usage();
  }
  struct stat a, b;
  if (sides < SIDES || !w.insns)
    return usage();
  if (stat(w.side[0], &a) == 0 && stat(w.side[1], &b) == 0 && S_ISDIR(a.st_mode) && S_ISDIR(b.st_mode))
    return compare_directories(&w, w.side[0], w.side[1]);
  return compare(&w);
}
