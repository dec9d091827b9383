/* SPDX-License-Identifier: MIT */
/*
 * Do snapshots hold all of a machine? A guest runs in counted time; at random instruction counts the machine
 * is saved and loaded into one that was just made, perhaps under another engine, and both run on. CPU,
 * devices, memory, the memory map, the screen, sound and serial output must stay the same. Every other time
 * it is the loaded machine that goes on, so that errors add up.
 *
 *   snapshot-check [-engine E[,..]] [-other E] [-rounds N] [-first INSNS] [-gap INSNS] [-after INSNS] [-seed
 * N]
 *                  [-at INSNS -keys TEXT] [-file PATH] [dragoman's options]
 *
 * Network cards get a cable whose other end sends each frame back. Images are never written to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/net.h"
#include "core/snapshot.h"
#include "frontends/keyqueue.h"
#include "frontends/session.h"
#include "frontends/textdump.h"
#include "translate/translate.h"

#define MAX_KEYS 16
#define SLICES 20u

struct typed {
  uint64_t at;
  const char *text;
};

static struct {
  uint64_t first, gap, after, seed;
  unsigned rounds;
  struct typed keys[MAX_KEYS];
  unsigned key_count;
  bool screen;
  int argc;
  char **argv;
  const char *engine, *other;
  char file[4096];
} run_options = {
    .first = 1000000, .gap = 20000000, .after = 2000000, .rounds = 5, .seed = 1, .engine = "tlb"};

struct side { /* one machine */
  struct session session;
  struct machine *machine;
  struct keyqueue *keys;
  struct chardev serial;
  struct net_cable *cable[BOARD_EXTRAS];
  uint64_t serial_hash, sound_hash;
  unsigned typed;
};

static void die(const char *what) {
  fprintf(stderr, "snapshot-check: %s\n", what);
  exit(1);
}

static uint64_t hash(uint64_t h, const void *data, size_t len) {
  for (const uint8_t *p = data; len--; p++)
    h = (h ^ *p) * 0x100000001b3ull;
  return h;
}

static uint64_t random64(void) {
  uint64_t x = run_options.seed += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- machines ----------------------------------------------------------------------------------------- */

static size_t serial_write(struct chardev *c, const uint8_t *buf, size_t len) {
  struct side *s = (struct side *)((char *)c - offsetof(struct side, serial));
  s->serial_hash = hash(s->serial_hash, buf, len);
  return len;
}

/* Silence does not count: a mixer that rests makes up for it when it wakes. */
static void sound_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct side *s = opaque;
  for (uint64_t i = 0; frames && i < count; i++)
    if (frames[i].left || frames[i].right)
      s->sound_hash = hash(s->sound_hash, &frames[i], sizeof frames[i]);
}

static void echo(void *opaque, const uint8_t *frame, size_t len) {
  uint8_t back[NET_FRAME_MAX];
  memcpy(back, frame, len);
  if (len >= 12) {
    memcpy(back, frame + 6, 6);
    memcpy(back + 6, frame, 6);
  }
  net_send(opaque, NET_HOST, back, len);
}

static void connect_cards(struct side *s) {
  struct board_config *b = &s->session.board;
  for (unsigned i = 0; i < b->extra_count; i++) {
    const struct board_driver *d = board_driver_find(b->extra[i].driver);
    if (!d || !(d->needs & DRIVER_NET))
      continue;
    char name[16];
    snprintf(name, sizeof name, "echo%u", i);
    s->cable[i] = net_cable_new(s->session.machine->clock, name);
    net_attach(s->cable[i], NET_HOST, &(struct net_end){.receive = echo, .opaque = s->cable[i]});
    b->extra[i].net = s->cable[i];
  }
}

static struct side *side_new(const char *engine_name) {
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
  s->serial.write = serial_write;
  session->board.serial[0] = &s->serial;
  connect_cards(s);
  if (session_finish(session) < 0)
    die(session->error);
  s->machine = session->machine;
  s->keys = keyqueue_new(s->machine);
  audio_set_sink(s->machine->audio, &(struct audio_sink){.write = sound_write, .opaque = s});
  return s;
}

static void side_free(struct side *s) {
  keyqueue_free(s->keys);
  session_end(&s->session);
  for (unsigned i = 0; i < BOARD_EXTRAS; i++)
    if (s->cable[i])
      net_cable_free(s->cable[i]);
  free(s);
}

static bool side_ended(const struct side *s) { return s->machine->state != MACHINE_RUNNING; }

static void side_run(struct side *s, uint64_t at) {
  char bad;
  while (s->typed < run_options.key_count && run_options.keys[s->typed].at < at) {
    machine_run_until(s->machine, run_options.keys[s->typed].at);
    machine_lock(s->machine);
    if (keyqueue_type(s->keys, run_options.keys[s->typed++].text, &bad) < 0)
      die("cannot type that");
    machine_unlock(s->machine);
  }
  machine_run_until(s->machine, at);
}

/* --- comparing ---------------------------------------------------------------------------------------- */

static char text[240]; /* what differs */

/* fx without what lies behind the registers' ten bytes and the eighth XMM: the host's. */
static bool fpu_differs(const struct fxsave *a, const struct fxsave *b) {
  bool same =
      !memcmp(a, b, offsetof(struct fxsave, mxcsr_mask)) && !memcmp(a->xmm, b->xmm, 8 * sizeof a->xmm[0]);
  for (int i = 0; i < 8; i++)
    same &= !memcmp(a->st[i], b->st[i], 10);
  snprintf(text, sizeof text, "the FPU");
  return !same;
}

static bool tables_differ(struct side *a, struct side *b) {
  struct machine *m = a->machine, *n = b->machine;
  static struct field fields[128];
  for (unsigned i = 0, k = 0; !fields[0].name && cpu_fields()[i].name && k < 127; i++)
    if (strcmp(cpu_fields()[i].name, "fx"))
      fields[k++] = cpu_fields()[i];
  const struct field *f = state_diff(m->cpu[0], n->cpu[0], fields);
  if (!f && fpu_differs(&m->cpu[0]->fx, &n->cpu[0]->fx))
    return true;
  if (!f)
    f = state_diff(&m->cpu[0]->icount, &n->cpu[0]->icount,
                   (const struct field[]){{FIELD_U64, "icount", 0, 1}, FIELDS_END});
  if (f) {
    snprintf(text, sizeof text, "the CPU's %s", f->name);
    return true;
  }
  for (const struct device *d = m->devices.first, *e = n->devices.first; d && e; d = d->next, e = e->next) {
    f = state_diff(d, e, d->cls->fields);
    if (f) {
      snprintf(text, sizeof text, "%s's %s", d->id, f->name);
      return true;
    }
  }
  return false;
}

static bool memory_differs(struct machine *m, struct machine *n) {
  for (struct mem_block *p = m->mem->blocks, *q = n->mem->blocks; p && q; p = p->next, q = q->next) {
    if (p->size == q->size && !memcmp(p->host, q->host, p->size))
      continue;
    uint64_t at = 0;
    while (p->host[at] == q->host[at])
      at++;
    snprintf(text, sizeof text, "%s at %llx: %02x, loaded %02x", p->name, (unsigned long long)at, p->host[at],
             q->host[at]);
    return true;
  }
  return false;
}

static const struct mem_block *holder(const struct mem *m, const uint8_t *host, uint64_t *offset) {
  const struct mem_block *b = m->blocks;
  while (b && !(host >= b->host && host < b->host + b->size))
    b = b->next;
  *offset = b ? (uint64_t)(host - b->host) : 0;
  return b;
}

static bool same_host(const struct mem *m, const uint8_t *a, const struct mem *n, const uint8_t *b) {
  uint64_t x, y;
  if (!a || !b)
    return a == b;
  const struct mem_block *p = holder(m, a, &x), *q = holder(n, b, &y);
  return p && q && x == y && !strcmp(p->name, q->name);
}

/* Video memory may be mapped or not, as the adapter's accesses were. */
static bool is_video(const struct mem *m, const struct mem_page *p) {
  return (p->block && strstr(p->block->name, "vram")) ||
         (p->mmio && (!strcmp(m->mmio[p->mmio].name, "vga") || !strcmp(m->mmio[p->mmio].name, "cirrus")));
}

static bool map_differs(struct mem *m, struct mem *n) {
  for (uint32_t i = 0; i < MEM_PAGES; i++) {
    const struct mem_page *p = &m->page[i], *q = &n->page[i];
    bool same = same_host(m, p->read, n, q->read) && same_host(m, p->write, n, q->write) &&
                p->rom == q->rom && !p->mmio == !q->mmio;
    if (same && p->mmio)
      same = !strcmp(m->mmio[p->mmio].name, n->mmio[q->mmio].name) &&
             m->mmio[p->mmio].base == n->mmio[q->mmio].base;
    if (!same && !(is_video(m, p) && is_video(n, q))) {
      snprintf(text, sizeof text, "the memory map at %08x (%s, loaded %s)", i * MEM_PAGE,
               p->block ? p->block->name : m->mmio[p->mmio].name,
               q->block ? q->block->name : n->mmio[q->mmio].name);
      return true;
    }
  }
  return false;
}

static bool screen_differs(struct display *a, struct display *b) {
  int x, y, w, h;
  if (!a || !b)
    return false;
  a->refresh(a, &x, &y, &w, &h);
  b->refresh(b, &x, &y, &w, &h);
  const struct surface *p = &a->surface, *q = &b->surface;
  bool same = p->width == q->width && p->height == q->height;
  for (y = 0; same && y < p->height; y++)
    same = !memcmp(p->pixels + y * p->stride, q->pixels + y * q->stride, (size_t)p->width * 4);
  snprintf(text, sizeof text, "the screen");
  return !same;
}

static bool differ(struct side *a, struct side *b, bool all) {
  struct machine *m = a->machine, *n = b->machine;
  if (tables_differ(a, b))
    return true;
  snprintf(text, sizeof text, "the time");
  if (clock_now(m->clock) != clock_now(n->clock) || clock_deadline(m->clock) != clock_deadline(n->clock))
    return true;
  snprintf(text, sizeof text, "the machine's state");
  if (m->state != n->state || m->stat.resets != n->stat.resets || m->slice_seed != n->slice_seed)
    return true;
  snprintf(text, sizeof text, "serial output");
  if (a->serial_hash != b->serial_hash)
    return true;
  snprintf(text, sizeof text, "sound");
  if (a->sound_hash != b->sound_hash)
    return true;
  return all &&
         (memory_differs(m, n) || map_differs(m->mem, n->mem) || screen_differs(m->display, n->display));
}

/* --- the check ---------------------------------------------------------------------------------------- */

static void save(struct side *s) {
  char error[512];
  machine_lock(s->machine);
  if (machine_save(s->machine, run_options.file, NULL, error, sizeof error) < 0)
    die(error);
  machine_unlock(s->machine);
}

static void load(struct side *s) {
  char error[512];
  machine_lock(s->machine);
  if (machine_load(s->machine, run_options.file, error, sizeof error) < 0)
    die(error);
  machine_unlock(s->machine);
}

static long file_size(void) {
  FILE *f = fopen(run_options.file, "r");
  if (!f || fseek(f, 0, SEEK_END) < 0)
    die("no file");
  long size = ftell(f);
  fclose(f);
  return size;
}

/* Save s, load another, run both: true if they stay the same. *s becomes the one that goes on. */
static bool round_trip(struct side **s, unsigned n) {
  uint64_t at = (*s)->machine->cpu[0]->icount;
  double t0 = seconds();
  save(*s);
  double t1 = seconds();
  struct side *copy = side_new(run_options.other);
  double t2 = seconds();
  load(copy);
  double t3 = seconds();
  copy->typed = (*s)->typed;
  copy->serial_hash = (*s)->serial_hash;
  copy->sound_hash = (*s)->sound_hash;
  printf("%2u: %12llu instructions, %6.1f s: %7ld KB, saved in %3.0f ms, loaded in %3.0f ms\n", n,
         (unsigned long long)at, (double)clock_now((*s)->machine->clock) / 1e9, file_size() / 1024,
         (t1 - t0) * 1e3, (t3 - t2) * 1e3);
  bool bad = differ(*s, copy, true);
  uint64_t good = at;
  for (unsigned i = 1; i <= SLICES && !bad && !side_ended(*s); i++) {
    uint64_t to = at + run_options.after * i / SLICES;
    side_run(*s, to);
    side_run(copy, to);
    bad = differ(*s, copy, i == SLICES);
    good = bad ? good : to;
  }
  if (bad)
    printf("  %s differs, the last %llu instructions after loading that were good: %llu\n", text,
           (unsigned long long)run_options.after, (unsigned long long)(good - at));
  bool swap = n % 2;
  side_free(swap ? *s : copy);
  *s = swap ? copy : *s;
  return !bad;
}

static int check(void) {
  struct side *s = side_new(run_options.engine);
  unsigned passed = 0, failed = 0;
  side_run(s, run_options.first);
  for (unsigned n = 0; n < run_options.rounds && !side_ended(s); n++) {
    if (round_trip(&s, n))
      passed++;
    else
      failed++;
    side_run(s, s->machine->cpu[0]->icount + random64() % (run_options.gap * 2));
  }
  if (run_options.screen && s->machine->display)
    textdump_print(s->machine->display, stdout);
  side_free(s);
  unlink(run_options.file);
  printf("%u passed, %u failed\n", passed, failed + !passed);
  return failed || !passed;
}

/* Take our own options out; the rest is dragoman's. */
static void parse(int argc, char **argv) {
  uint64_t at = 0;
  const char *directory = getenv("TMPDIR");
  run_options.argv = calloc((size_t)argc + 1, sizeof *argv);
  if (!run_options.argv)
    die("out of memory");
  snprintf(run_options.file, sizeof run_options.file, "%s/snapshot-check.%ld",
           directory ? directory : "/var/tmp", (long)getpid());
  run_options.argv[run_options.argc++] = argv[0];
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    struct {
      const char *name;
      uint64_t *to;
    } numbers[] = {{"-first", &run_options.first},
                   {"-gap", &run_options.gap},
                   {"-after", &run_options.after},
                   {"-seed", &run_options.seed},
                   {"-at", &at}};
    unsigned n = 0;
    while (n < sizeof numbers / sizeof numbers[0] && strcmp(argv[i], numbers[n].name))
      n++;
    if (n < sizeof numbers / sizeof numbers[0]) {
      *numbers[n].to = strtoull(value, NULL, 0);
    } else if (!strcmp(argv[i], "-rounds")) {
      run_options.rounds = (unsigned)strtoul(value, NULL, 0);
    } else if (!strcmp(argv[i], "-engine")) {
      run_options.engine = value;
    } else if (!strcmp(argv[i], "-other")) {
      run_options.other = value;
    } else if (!strcmp(argv[i], "-file")) {
      snprintf(run_options.file, sizeof run_options.file, "%s", value);
    } else if (!strcmp(argv[i], "-keys") && run_options.key_count < MAX_KEYS) {
      run_options.keys[run_options.key_count++] = (struct typed){at, value};
    } else if (!strcmp(argv[i], "-screen")) {
      run_options.screen = true;
      continue;
    } else {
      run_options.argv[run_options.argc++] = argv[i];
      continue;
    }
    i++;
  }
  if (!run_options.gap || !run_options.after)
    die("-gap and -after want more than 0");
  if (!run_options.other)
    run_options.other = run_options.engine;
}

int main(int argc, char **argv) {
  parse(argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0);
  return check();
}
