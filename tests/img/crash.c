/* SPDX-License-Identifier: MIT */
/*
 * What a disk image holds after its program was killed, its file system was full, or its host lost power.
 *
 *   crash FORMAT POINTS SEED DIRECTORY [QEMU-IMG]
 *
 * For each point a child opens the image and writes and flushes as a guest would, until it is killed by
 * SIGKILL: at a chosen system call that changes the file (before it, or with only its first part done), or
 * whenever the parent's alarm goes off. In every third point the file system is full besides: writes that
 * make the file longer than some length fail, after having been done in part. In every fourth a qcow2
 * image's host loses its power: pages that no fdatasync has followed get back what they held before, or
 * don't. The child notes in shared memory what it is about to write and what a flush has acknowledged. Then
 * the parent checks that
 * - every sector holds one of the versions written to it, no older than the last one flushed,
 * - an internal snapshot still holds what it held,
 * - block_check and QEMU's check find no corruption, and of qcow2 nothing at all once leaks are repaired.
 * Images are made anew every few points, by turns with other cluster sizes, versions, backing files,
 * snapshots.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/block/image.h"

#define SECTORS 16384u /* 8 MB */
#define POINTS_PER_IMAGE 5

struct notes { /* shared with the child */
  uint32_t sequence;
  uint32_t issued[SECTORS], flushed[SECTORS], snapshot[SECTORS];
  uint64_t calls; /* that changed the file, of the last child */
  uint64_t flushes, failures;
};

static struct notes *notes;
static const char *format, *qemu_img;
static char image[PATH_MAX], base[PATH_MAX];
static bool has_snapshot;
static uint64_t random_state;

static uint32_t rnd(uint32_t n) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16) % n;
}

/* --- the system calls that change files --------------------------------------------------------------- */

static uint64_t calls_left = UINT64_MAX; /* then the child dies */
static bool die_in_part;
static off_t disk_full = INT64_MAX; /* no byte can be written behind */

ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t offset);
int __real_fallocate(int fd, int mode, off_t offset, off_t len);
int __real_ftruncate(int fd, off_t len);

/*
 * The loss of power: of what was written since the last fdatasync any page may be on the disk or not, in any
 * order. What was there before is kept, and put back page by page, the last write first, before the process
 * dies.
 */
#define PAGE 4096u
#define UNDO_BYTES (64u << 20)

static bool power_fails;
static struct undo {
  off_t at;
  uint32_t len;
} * undo; /* pieces within a page */
static uint8_t *undo_data;
static size_t undos, undo_used;
static int undo_fd = -1;

static void remember(int fd, size_t len, off_t offset) {
  if (!power_fails)
    return;
  undo_fd = fd;
  for (size_t n; len; len -= n, offset += (off_t)n) {
    n = PAGE - (size_t)offset % PAGE;
    n = n < len ? n : len;
    if (undo_used + n > UNDO_BYTES || undos == UNDO_BYTES / 64)
      _exit(3); /* too small: a fault of this test */
    memset(undo_data + undo_used, 0, n);
    if (pread(fd, undo_data + undo_used, n, offset) < 0)
      _exit(3);
    undo[undos++] = (struct undo){offset, (uint32_t)n};
    undo_used += n;
  }
}

static void lose_power(void) {
  enum { NOT_SEEN, ALL_THERE, NOTHING_THERE, SOME_THERE };
  static uint8_t state[1 << 20]; /* of the pages */
  while (power_fails && undos) {
    const struct undo *u = &undo[--undos];
    undo_used -= u->len;
    uint8_t *page = &state[(size_t)(u->at / PAGE) % sizeof state];
    if (*page == NOT_SEEN)
      *page = (uint8_t)(1 + rnd(3));
    if (*page == SOME_THERE && rnd(2))
      *page = ALL_THERE; /* what was written earlier, too */
    if (*page != ALL_THERE)
      __real_pwrite(undo_fd, undo_data + undo_used, u->len, u->at);
  }
}

static void die(void) {
  lose_power();
  raise(SIGKILL);
}

/* Is this the last call? */
static bool last_call(void) {
  notes->calls++;
  return calls_left-- == 0;
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset) {
  if (last_call()) {
    if (die_in_part && len > 512)
      __real_pwrite(fd, buf, rnd((uint32_t)len / 512) * 512, offset);
    die();
  }
  struct stat st;
  if (offset + (off_t)len > disk_full && fstat(fd, &st) == 0 && offset + (off_t)len > st.st_size) {
    if (offset >= disk_full) {
      errno = ENOSPC;
      return -1;
    }
    len = (size_t)(disk_full - offset); /* a short write; the next one fails */
  }
  remember(fd, len, offset);
  return __real_pwrite(fd, buf, len, offset);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  (void)fd;
  if (last_call())
    die();
  undos = undo_used = 0;
  return 0; /* what a killed process wrote stays; the disk's own cache is not the matter here */
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len) {
  if (last_call())
    die();
  if (offset + len > disk_full) {
    errno = ENOSPC;
    return -1;
  }
  return __real_fallocate(fd, mode, offset, len);
}

int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len) {
  if (last_call())
    die();
  if (len > disk_full) {
    errno = ENOSPC;
    return -1;
  }
  return __real_ftruncate(fd, len);
}

/* --- the guest ---------------------------------------------------------------------------------------- */

static void fail(const char *what, const char *detail) {
  printf("FAILED: %s: %s: %s\n", image, what, detail);
  exit(1);
}

static void fill(uint32_t *p, uint32_t sector, uint32_t count, uint32_t sequence) {
  for (uint32_t i = 0; i < count * 128; i += 2)
    p[i] = sequence, p[i + 1] = sector + i / 128;
}

static struct block *open_image(unsigned flags, const char *snapshot) {
  struct block *b;
  const char *error;
  struct block_options o = {.flags = flags, .format = format, .snapshot = snapshot};
  if (block_open_with(&b, image, &o, &error))
    fail("cannot open", error);
  return b;
}

static void guest_write(struct block *b, uint32_t *buf) {
  static const uint32_t lengths[] = {1, 2, 8, 8, 8, 16, 64, 128, 256, 1000};
  uint32_t len = lengths[rnd(10)];
  /* Most writes go where others went. */
  uint32_t at = rnd(4) ? rnd(64) * 128 + rnd(128) : rnd(SECTORS);
  if (len > SECTORS - at)
    len = SECTORS - at;
  uint32_t sequence = ++notes->sequence;
  for (uint32_t i = 0; i < len; i++)
    notes->issued[at + i] = sequence;
  fill(buf, at, len, sequence);
  if (block_write(b, at * 512ull, buf, len * 512ull))
    notes->failures++;
}

static void guest_flush(struct block *b) {
  static uint32_t now[SECTORS];
  memcpy(now, notes->issued, sizeof now);
  /* Where a write has failed nobody knows what is there: flushing says nothing about it. */
  if (notes->failures || block_flush(b))
    return;
  memcpy(notes->flushed, now, sizeof now);
  notes->flushes++;
}

static void guest(uint32_t operations) {
  static uint32_t buf[1000 * 128];
  struct block *b = open_image(BLOCK_WRITE, NULL);
  for (uint32_t i = 0; i < operations; i++)
    if (rnd(6))
      guest_write(b, buf);
    else
      guest_flush(b);
  block_close(b);
}

/* --- afterwards --------------------------------------------------------------------------------------- */

static void verify_snapshot(void) {
  static uint32_t buf[SECTORS * 128];
  struct block *b = open_image(0, "first");
  if (block_read(b, 0, buf, SECTORS * 512ull))
    fail("snapshot", "cannot be read");
  for (uint32_t i = 0; i < SECTORS; i++)
    if (buf[i * 128] != notes->snapshot[i])
      fail("snapshot", "has changed");
  block_close(b);
}

static void verify(void) {
  static uint32_t buf[SECTORS * 128];
  char detail[200];
  struct block *b = open_image(0, NULL);
  if (block_read(b, 0, buf, SECTORS * 512ull))
    fail("contents", "cannot be read");
  block_close(b);
  for (uint32_t i = 0; i < SECTORS; i++) {
    const uint32_t *p = buf + i * 128;
    bool whole = true;
    for (uint32_t n = 0; n < 128; n += 2)
      whole &= p[n] == p[0] && p[n + 1] == (p[0] ? i : 0);
    snprintf(detail, sizeof detail, "sector %u holds version %u of %u, flushed was %u, last written %u", i,
             p[0], p[1], notes->flushed[i], notes->issued[i]);
    if (!whole)
      fail("mixed up", detail);
    if (p[0] < notes->flushed[i])
      fail("lost", detail);
    if (p[0] > notes->issued[i])
      fail("invented", detail);
    notes->flushed[i] = notes->issued[i] = p[0];
  }
  if (has_snapshot)
    verify_snapshot();
}

static int run(const char *repair) {
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    if (repair)
      execlp(qemu_img, "qemu-img", "check", "-q", "-f", format, "-r", repair, image, (char *)NULL);
    execlp(qemu_img, "qemu-img", "check", "-q", "-f", format, image, (char *)NULL);
    _exit(99);
  }
  int status;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* Leaks are allowed once, and are repaired by one program or the other. */
static uint64_t check(void) {
  struct block_check c = {0};
  const char *error;
  char detail[100];
  struct block *b = open_image(BLOCK_CHECK, NULL);
  int result = block_check(b, &c, BLOCK_REPAIR_NONE, &error);
  block_close(b);
  if (result == -ENOTSUP)
    return 0;
  snprintf(detail, sizeof detail, "%llu corruptions, %llu errors", (unsigned long long)c.corruptions,
           (unsigned long long)c.errors);
  if (result || c.corruptions || c.errors)
    fail("check", detail);
  int qemu = qemu_img ? run(NULL) : 0;
  if (qemu && qemu != 3 && qemu != 63)
    fail("qemu-img check", qemu == 2 ? "corruption" : "error");
  bool counts = !strcmp(format, "qcow2"); /* QEMU knows of other formats' leaks nothing */
  if (counts && qemu == 3 && !c.leaks)    /* (the reverse: QEMU doesn't look behind the end of the file) */
    fail("check", "qemu-img sees leaks, block_check none");
  if (!c.leaks)
    return 0;
  if (qemu == 3 && counts && rnd(2)) {
    if (run("leaks"))
      fail("qemu-img check -r leaks", "did not repair");
  } else {
    b = open_image(BLOCK_CHECK | BLOCK_WRITE, NULL);
    struct block_check after = {0};
    if (block_check(b, &after, BLOCK_REPAIR_LEAKS, &error) || after.corruptions || (counts && after.leaks))
      fail("repair", "leaks are left"); /* (VMDK's and VHD's in the middle of the file stay) */
    block_close(b);
    if (qemu_img && qemu != 63 && run(NULL))
      fail("qemu-img check", "is not content with the repaired image");
  }
  return c.leaks;
}

/* A child that lives until the chosen call; returns whether it was killed. */
static bool one_point(uint32_t point) {
  static uint64_t typical = 200;
  uint32_t operations = 40 + rnd(200);
  bool by_clock = point % 4 == 3;
  bool power = point % 4 == 1 && !strcmp(format, "qcow2"); /* (the others promise nothing there) */
  notes->calls = notes->failures = 0;
  uint64_t seed = random_state;
  uint64_t left = rnd((uint32_t)typical + typical / 8 + 1);
  struct stat st;
  off_t full = stat(image, &st) == 0 && point % 3 == 2 ? (st.st_size + rnd(1u << 20)) / 512 * 512 : INT64_MAX;
  bool in_part = rnd(2);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    calls_left = by_clock ? UINT64_MAX : left;
    die_in_part = in_part;
    power_fails = power;
    if (power && (!(undo = malloc(UNDO_BYTES / 64 * sizeof *undo)) || !(undo_data = malloc(UNDO_BYTES))))
      _exit(3);
    disk_full = full;
    random_state = seed * 2654435761u + 1;
    guest(operations);
    fflush(NULL);
    _exit(0);
  }
  if (by_clock) {
    usleep(rnd(6000));
    kill(child, SIGKILL);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status))
    exit(1);
  if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
    fail("the child", "crashed");
  if (WIFEXITED(status))
    typical = (typical * 3 + notes->calls) / 4 + 1;
  return WIFSIGNALED(status);
}

/* --- images ------------------------------------------------------------------------------------------- */

static void make_base(void) {
  static uint32_t buf[SECTORS * 128];
  const char *error;
  struct block_create c = {.size = SECTORS * 512ull};
  struct block *b;
  struct block_options o = {.flags = BLOCK_WRITE, .format = format};
  if (block_create(base, format, &c, &error) || block_open_with(&b, base, &o, &error))
    fail("backing file", error);
  fill(buf, 0, SECTORS, 1);
  if (block_write(b, 0, buf, SECTORS * 256ull) || block_flush(b)) /* one half, the other is zeros */
    fail("backing file", "cannot be written");
  block_close(b);
}

static void make_image(uint32_t turn) {
  static const char *const qcow2_options[] = {
      "cluster_size=64k",
      "cluster_size=512",
      "cluster_size=4k",
      "compat=0.10,cluster_size=4k",
      "cluster_size=64k",
      "refcount_bits=1,cluster_size=1k",
      "refcount_bits=64,cluster_size=512",
      "cluster_size=2M",
  };
  bool qcow2 = !strcmp(format, "qcow2"), backed = qcow2 && turn % 3 == 1;
  const char *options = qcow2 ? qcow2_options[turn % 8] : NULL, *error;
  struct block_create c = {.size = SECTORS * 512ull,
                           .options = options,
                           .backing = backed ? base : NULL,
                           .backing_format = backed ? format : NULL};
  if (block_create(image, format, &c, &error))
    fail("cannot make it", error);
  memset(notes, 0, offsetof(struct notes, snapshot));
  notes->sequence = 1;
  for (uint32_t i = 0; i < SECTORS / 2 && backed; i++)
    notes->issued[i] = notes->flushed[i] = 1;
  has_snapshot = qcow2 && turn % 2 && turn % 8 != 5; /* (refcounts of one bit allow none) */
  if (!has_snapshot)
    return;
  guest(60);
  struct block *b = open_image(BLOCK_WRITE, NULL);
  if (block_snapshot(b, BLOCK_SNAPSHOT_CREATE, "first", &error))
    fail("snapshot", error);
  block_close(b);
  memcpy(notes->flushed, notes->issued, sizeof notes->flushed);
  memcpy(notes->snapshot, notes->issued, sizeof notes->snapshot);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: %s FORMAT POINTS SEED DIRECTORY [QEMU-IMG]\n", argv[0]);
    return 2;
  }
  format = argv[1];
  uint32_t points = (uint32_t)atoi(argv[2]);
  random_state = (uint64_t)atoll(argv[3]) * 0x9e3779b97f4a7c15ull + 1;
  snprintf(image, sizeof image, "%s/crash.%s", argv[4], format);
  snprintf(base, sizeof base, "%s/base.%s", argv[4], format);
  qemu_img = argc > 5 ? argv[5] : NULL;
  notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (notes == MAP_FAILED)
    return 2;
  uint64_t killed = 0, leaks = 0, leaky = 0, flushes = 0;
  if (!strcmp(format, "qcow2"))
    make_base();
  uint32_t runs = 0;
  for (; killed < points; runs++) { /* some end before the chosen call */
    uint32_t i = runs;
    if (i % POINTS_PER_IMAGE == 0)
      make_image(i / POINTS_PER_IMAGE);
    notes->flushes = 0;
    killed += one_point(i);
    flushes += notes->flushes;
    uint64_t n = check();
    leaks += n;
    leaky += n != 0;
    verify();
  }
  printf("%s: killed %llu times in %u runs, %llu flushes acknowledged, leaks after %llu (%llu clusters)\n",
         format, (unsigned long long)killed, runs, (unsigned long long)flushes, (unsigned long long)leaky,
         (unsigned long long)leaks);
  return 0;
}
