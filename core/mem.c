/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory: a flat table of 2^20 pages, sparse in host memory. A page reads from one host page or an
 * MMIO handler and writes to one (or another, or none: ROM). All host memory lies in one memfd, so that it
 * can be mapped a second time. Physical addresses of 4 GiB and above hold nothing.
 */
#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"

#define MMIO_MAX 4096u
#define ALIAS_MAX 64u
#define LONG_RUN (16u << 20) /* bytes mapped at once */
#define PROTECT_ALL 16u /* from so many pages on, one flush is cheaper than a search for each */

static const uint64_t all_ones = ~0ull;

static uint64_t mask_size(uint64_t value, int size) {
  return size == 8 ? value : value & ((1ull << (size * 8)) - 1);
}

struct mem *mem_new(void) {
  struct mem *m = calloc(1, sizeof *m);
  if (!m)
    return NULL;
  m->fd = memfd_create("guest memory", MFD_CLOEXEC);
  m->page = mmap(NULL, MEM_PAGES * sizeof *m->page, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  m->mmio = calloc(MMIO_MAX, sizeof *m->mmio); /* entry 0 means none; never moves, handlers may remap */
  m->mmio_count = 1;
  if (m->page == MAP_FAILED)
    m->page = NULL;
  if (m->fd < 0 || !m->page || !m->mmio) {
    int error = errno;
    mem_free(m);
    errno = error;
    return NULL;
  }
  return m;
}

void mem_free(struct mem *m) {
  if (!m)
    return;
  for (struct mem_block *b = m->blocks, *next; b; b = next) {
    next = b->next;
    munmap(b->host, b->size);
    free(b->log);
    free(b);
  }
  if (m->page)
    munmap(m->page, MEM_PAGES * sizeof *m->page);
  if (m->fd >= 0)
    close(m->fd);
  free(m->mmio);
  free(m->alias);
  free(m);
}

struct mem_block *mem_block_new(struct mem *m, const char *name, uint64_t size) {
  struct mem_block *b = calloc(1, sizeof *b);
  if (!b)
    return NULL;
  size = (size + MEM_PAGE - 1) & ~(uint64_t)(MEM_PAGE - 1);
  void *host = MAP_FAILED;
  if (size && ftruncate(m->fd, (off_t)(m->fd_size + size)) == 0)
    host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, (off_t)m->fd_size);
  if (host == MAP_FAILED) {
    int error = size ? errno : EINVAL;
    free(b);
    errno = error;
    return NULL;
  }
  b->name = name;
  b->host = host;
  b->size = size;
  b->fd_offset = m->fd_size;
  m->fd_size += size;
  b->next = m->blocks;
  m->blocks = b;
  return b;
}

void mem_block_clear(struct mem_block *b) {
  if (madvise(b->host, b->size, MADV_REMOVE) < 0)
    memset(b->host, 0, b->size);
}

/* --- aliases: the guest-physical pages that show one host page ---------------------------------------- */

static void alias_forget_unused(struct mem *m) {
  unsigned kept = 0;
  for (unsigned i = 0; i < m->alias_count; i++) {
    struct mem_alias *a = &m->alias[i];
    bool used = false;
    for (uint64_t off = 0; off < a->block->size && !used; off += MEM_PAGE) {
      int64_t pa = (int64_t)off + a->delta;
      used = pa >= 0 && pa < (int64_t)MEM_PAGES * MEM_PAGE && m->page[pa / MEM_PAGE].read == a->block->host + off;
    }
    if (used)
      m->alias[kept++] = *a;
  }
  m->alias_count = kept;
}

static void alias_note(struct mem *m, struct mem_block *b, int64_t delta) {
  for (unsigned i = 0; i < m->alias_count; i++)
    if (m->alias[i].block == b && m->alias[i].delta == delta)
      return;
  if (m->alias_count && m->alias_count % ALIAS_MAX == 0)
    alias_forget_unused(m);
  if (m->alias_count % ALIAS_MAX == 0) {
    struct mem_alias *more = realloc(m->alias, (m->alias_count + ALIAS_MAX) * sizeof *more);
    DGM_ASSERT(more);
    m->alias = more;
  }
  m->alias[m->alias_count++] = (struct mem_alias){b, delta};
}

/* The next guest page that reads host page `off` of b, starting the search at alias *i; NULL at the end. */
static struct mem_page *alias_next(struct mem *m, const struct mem_block *b, uint64_t off, unsigned *i) {
  while (*i < m->alias_count) {
    const struct mem_alias *a = &m->alias[(*i)++];
    int64_t pa = (int64_t)off + a->delta;
    if (a->block == b && pa >= 0 && pa < (int64_t)MEM_PAGES * MEM_PAGE) {
      struct mem_page *p = &m->page[pa / MEM_PAGE];
      if (p->read == b->host + off)
        return p;
    }
  }
  return NULL;
}

static uint64_t page_offset(const struct mem_page *p) { return (uint64_t)(p->read - p->block->host); }

static void alias_flags(struct mem *m, const struct mem_block *b, uint64_t off, uint8_t clear, uint8_t set) {
  unsigned i = 0;
  for (struct mem_page *p; (p = alias_next(m, b, off, &i));)
    p->flags = (uint8_t)((p->flags & ~clear) | set);
}

static bool alias_has_code(struct mem *m, const struct mem_block *b, uint64_t off) {
  unsigned i = 0;
  for (struct mem_page *p; (p = alias_next(m, b, off, &i));)
    if (p->flags & PAGE_CODE_HERE)
      return true;
  return false;
}

/* --- mapping ------------------------------------------------------------------------------------------ */

static void page_clear(struct mem *m, struct mem_page *p) {
  if (p->flags & PAGE_CODE_HERE) {
    p->flags &= (uint8_t)~PAGE_CODE_HERE;
    if (!alias_has_code(m, p->block, page_offset(p)))
      alias_flags(m, p->block, page_offset(p), PAGE_CODE, 0);
  }
  if (p->mmio)
    m->mmio[p->mmio].pages--;
  *p = (struct mem_page){0};
}

static void page_set(struct mem *m, struct mem_page *p, struct mem_block *rd, uint64_t rd_offset, uint8_t *write) {
  page_clear(m, p);
  p->write = write;
  if (!rd)
    return;
  p->read = rd->host + rd_offset;
  p->block = rd;
  p->rom = write == NULL;
  if (rd->log && !rd->log[rd_offset / MEM_PAGE])
    p->flags |= PAGE_LOG;
  if (alias_has_code(m, rd, rd_offset))
    p->flags |= PAGE_CODE;
}

static void announce(struct mem *m, uint32_t pa, uint64_t size) {
  if (m->on_map_change)
    m->on_map_change(m->listener, pa, size);
}

/* A long run of page entries is about to be written: have the host provide them in few and large pieces. */
static void prepare_entries(struct mem *m, uint32_t pa, uint64_t size) {
  uintptr_t first = (uintptr_t)&m->page[pa / MEM_PAGE] & ~(uintptr_t)(MEM_PAGE - 1);
  uintptr_t end = (uintptr_t)&m->page[(pa + size) / MEM_PAGE] & ~(uintptr_t)(MEM_PAGE - 1);
  madvise((void *)first, end - first, MADV_HUGEPAGE);
  madvise((void *)first, end - first, MADV_POPULATE_WRITE);
}

void mem_map_split(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *rd, uint64_t rd_offset,
                   struct mem_block *wr, uint64_t wr_offset) {
  DGM_ASSERT(pa % MEM_PAGE == 0 && size % MEM_PAGE == 0 && pa + size <= (uint64_t)MEM_PAGES * MEM_PAGE);
  DGM_ASSERT(!rd || rd_offset + size <= rd->size);
  DGM_ASSERT(!wr || wr_offset + size <= wr->size);
  announce(m, pa, size);
  if (rd)
    alias_note(m, rd, (int64_t)pa - (int64_t)rd_offset);
  if (size >= LONG_RUN)
    prepare_entries(m, pa, size);
  for (uint64_t off = 0; off < size; off += MEM_PAGE)
    page_set(m, &m->page[(pa + off) / MEM_PAGE], rd, rd_offset + off, wr ? wr->host + wr_offset + off : NULL);
}

void mem_map_ram(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *b, uint64_t offset) {
  mem_map_split(m, pa, size, b, offset, b, offset);
}

void mem_map_rom(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *b, uint64_t offset) {
  mem_map_split(m, pa, size, b, offset, NULL, 0);
}

int mem_map_mmio(struct mem *m, uint32_t pa, uint64_t size, const struct mmio_ops *ops, void *opaque,
                 const char *name) {
  DGM_ASSERT(size > 0 && size <= UINT32_MAX && pa + size <= (uint64_t)MEM_PAGES * MEM_PAGE);
  uint32_t first = pa / MEM_PAGE, last = (uint32_t)((pa + size - 1) / MEM_PAGE);
  announce(m, first * MEM_PAGE, (uint64_t)(last - first + 1) * MEM_PAGE);
  for (uint32_t n = first; n <= last; n++)
    page_clear(m, &m->page[n]);
  unsigned slot = 1;
  while (slot < m->mmio_count && m->mmio[slot].pages)
    slot++;
  if (slot == MMIO_MAX)
    return -ENOMEM;
  if (slot == m->mmio_count)
    m->mmio_count++;
  m->mmio[slot] = (struct mem_mmio){ops, opaque, pa, (uint32_t)size, name, last - first + 1};
  for (uint32_t n = first; n <= last; n++)
    m->page[n].mmio = (uint16_t)slot;
  return 0;
}

void mem_unmap(struct mem *m, uint32_t pa, uint64_t size) {
  if (size == 0)
    return;
  DGM_ASSERT(pa + size <= (uint64_t)MEM_PAGES * MEM_PAGE);
  uint32_t first = pa / MEM_PAGE, last = (uint32_t)((pa + size - 1) / MEM_PAGE);
  announce(m, first * MEM_PAGE, (uint64_t)(last - first + 1) * MEM_PAGE);
  for (uint32_t n = first; n <= last; n++)
    page_clear(m, &m->page[n]);
}

/* --- accesses ----------------------------------------------------------------------------------------- */

/* The largest piece of an access of `size` bytes at `offset` that a handler takes at once. */
static int mmio_piece(const struct mem_mmio *io, uint32_t offset, int size) {
  int max = io->ops->max_size ? io->ops->max_size : 4;
  int piece = size < max ? size : max;
  while (piece > 1 && (offset & (uint32_t)(piece - 1)))
    piece /= 2;
  return piece;
}

static uint64_t mmio_read(const struct mem *m, uint16_t slot, uint32_t pa, int size) {
  struct mem_mmio io = m->mmio[slot]; /* a copy: the handler may remap */
  uint64_t value = 0;
  for (int done = 0; done < size;) {
    uint32_t offset = pa + (uint32_t)done - io.base;
    int piece = mmio_piece(&io, offset, size - done);
    uint64_t part = all_ones;
    if (offset < io.size && io.ops->read)
      part = io.ops->read(io.opaque, offset, piece);
    value |= mask_size(part, piece) << (done * 8);
    done += piece;
  }
  return value;
}

static void mmio_write(const struct mem *m, uint16_t slot, uint32_t pa, int size, uint64_t value) {
  struct mem_mmio io = m->mmio[slot];
  for (int done = 0; done < size;) {
    uint32_t offset = pa + (uint32_t)done - io.base;
    int piece = mmio_piece(&io, offset, size - done);
    if (offset < io.size && io.ops->write)
      io.ops->write(io.opaque, offset, piece, mask_size(value >> (done * 8), piece));
    done += piece;
  }
}

/* One handler call is all it takes: the usual case. */
static inline bool mmio_whole(const struct mem_mmio *io, uint32_t offset, int size) {
  return size <= (io->ops->max_size ? io->ops->max_size : 4) && (offset & (uint32_t)(size - 1)) == 0 &&
         offset < io->size;
}

uint64_t mem_read(struct mem *m, uint32_t pa, int size) {
  const struct mem_page *p = &m->page[pa / MEM_PAGE];
  if (p->read) {
    uint64_t value = 0;
    if (size == 4) { /* page walks */
      uint32_t dword;
      memcpy(&dword, p->read + pa % MEM_PAGE, 4);
      return dword;
    }
    memcpy(&value, p->read + pa % MEM_PAGE, (size_t)size);
    return value;
  }
  const struct mem_mmio *io = &m->mmio[p->mmio];
  if (p->mmio && io->ops->read && mmio_whole(io, pa - io->base, size))
    return mask_size(io->ops->read(io->opaque, pa - io->base, size), size);
  if (p->mmio)
    return mmio_read(m, p->mmio, pa, size);
  return mask_size(all_ones, size);
}

/* Somebody is about to store into a page with PAGE_CODE or PAGE_LOG. */
static void note_write(struct mem *m, const struct mem_page *p, uint32_t pa, unsigned size) {
  struct mem_block *b = p->block;
  uint64_t off = page_offset(p);
  if (p->flags & PAGE_LOG) {
    mem_log_mark(b, off, MEM_PAGE);
    alias_flags(m, b, off, PAGE_LOG, 0);
  }
  if ((p->flags & PAGE_SHADOWED) && m->on_table_write)
    m->on_table_write(m->listener, b, off + pa % MEM_PAGE, size);
  if ((p->flags & PAGE_CODE) && m->on_code_write) {
    unsigned i = 0;
    for (struct mem_page *q; (q = alias_next(m, b, off, &i));)
      if (q->flags & PAGE_CODE_HERE)
        m->on_code_write(m->listener, (uint32_t)(q - m->page) * MEM_PAGE + pa % MEM_PAGE, size);
  }
}

void mem_write(struct mem *m, uint32_t pa, int size, uint64_t value) {
  const struct mem_page *p = &m->page[pa / MEM_PAGE];
  if (p->write) {
    if (p->flags)
      note_write(m, p, pa, (unsigned)size);
    memcpy(p->write + pa % MEM_PAGE, &value, (size_t)size);
  } else if (p->mmio && !p->rom) {
    const struct mem_mmio *io = &m->mmio[p->mmio];
    if (io->ops->write && mmio_whole(io, pa - io->base, size))
      io->ops->write(io->opaque, pa - io->base, size, mask_size(value, size));
    else
      mmio_write(m, p->mmio, pa, size, value);
  }
}

/* The device at pa, if `count` elements from there on may be accessed in one go. */
static const struct mem_mmio *run_device(struct mem *m, uint32_t pa, int size, uint32_t count) {
  const struct mem_page *p = &m->page[pa / MEM_PAGE];
  const struct mem_mmio *io = &m->mmio[p->mmio];
  uint32_t bytes = count * (uint32_t)size;
  if (p->read || p->write || !p->mmio || !io->ops->runs || !io->ops->read || !io->ops->write ||
      !mmio_whole(io, pa - io->base, size) || bytes > MEM_PAGE - pa % MEM_PAGE || bytes > io->size - (pa - io->base))
    return NULL;
  return io;
}

uint32_t mem_fill_run(struct mem *m, uint32_t pa, int size, uint64_t value, uint32_t count) {
  const struct mem_mmio *found = run_device(m, pa, size, count);
  if (!found)
    return 0;
  struct mem_mmio io = *found; /* a copy: the handler may remap */
  uint32_t offset = pa - io.base;
  value = mask_size(value, size);
  if (io.ops->fill && io.ops->fill(io.opaque, offset, size, value, count))
    return count;
  for (uint32_t i = 0; i < count; i++)
    io.ops->write(io.opaque, offset + i * (uint32_t)size, size, value);
  return count;
}

uint32_t mem_write_run(struct mem *m, uint32_t pa, int size, const uint8_t *from, uint32_t count) {
  const struct mem_mmio *found = run_device(m, pa, size, count);
  if (!found)
    return 0;
  struct mem_mmio io = *found;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t value = 0;
    memcpy(&value, from + i * (size_t)size, (size_t)size);
    io.ops->write(io.opaque, pa - io.base + i * (uint32_t)size, size, value);
  }
  return count;
}

uint32_t mem_copy_run(struct mem *m, uint32_t to, uint32_t from, int size, uint32_t count) {
  const struct mem_mmio *dst = run_device(m, to, size, count), *src = run_device(m, from, size, count);
  if (!dst || !src)
    return 0;
  struct mem_mmio d = *dst, s = *src;
  for (uint32_t i = 0; i < count * (uint32_t)size; i += (uint32_t)size) {
    uint64_t value = mask_size(s.ops->read(s.opaque, from - s.base + i, size), size);
    d.ops->write(d.opaque, to - d.base + i, size, value);
  }
  return count;
}

/* One access of at most 4 bytes, naturally aligned, as bus masters make them where there is no memory. */
static unsigned dma_piece(uint64_t pa, size_t len) {
  unsigned piece = 4;
  while (piece > len || (pa & (piece - 1)))
    piece /= 2;
  return piece;
}

void mem_dma_read(struct mem *m, uint64_t pa, void *buf, size_t len) {
  uint8_t *to = buf;
  while (len) {
    size_t n = MEM_PAGE - pa % MEM_PAGE;
    n = n < len ? n : len;
    if (pa >= (uint64_t)MEM_PAGES * MEM_PAGE) {
      memset(to, 0xff, n);
    } else if (m->page[pa / MEM_PAGE].read) {
      memcpy(to, m->page[pa / MEM_PAGE].read + pa % MEM_PAGE, n);
    } else {
      n = dma_piece(pa, n);
      uint64_t value = mem_read(m, (uint32_t)pa, (int)n);
      memcpy(to, &value, n);
    }
    to += n;
    pa += n;
    len -= n;
  }
}

void mem_dma_write(struct mem *m, uint64_t pa, const void *buf, size_t len) {
  const uint8_t *from = buf;
  while (len && pa < (uint64_t)MEM_PAGES * MEM_PAGE) {
    const struct mem_page *p = &m->page[pa / MEM_PAGE];
    size_t n = MEM_PAGE - pa % MEM_PAGE;
    n = n < len ? n : len;
    if (p->write) {
      if (p->flags)
        note_write(m, p, (uint32_t)pa, (unsigned)n);
      memcpy(p->write + pa % MEM_PAGE, from, n);
    } else {
      n = dma_piece(pa, n);
      uint64_t value = 0;
      memcpy(&value, from, n);
      mem_write(m, (uint32_t)pa, (int)n, value);
    }
    from += n;
    pa += n;
    len -= n;
  }
}

/* --- dirty logging and code tracking ------------------------------------------------------------------ */

int mem_log_enable(struct mem_block *b) {
  if (b->log)
    return 0;
  b->log = malloc(b->size / MEM_PAGE);
  if (!b->log)
    return -ENOMEM;
  memset(b->log, 1, b->size / MEM_PAGE);
  return 0;
}

bool mem_log_dirty(const struct mem_block *b, uint64_t offset) {
  return offset < b->size && (!b->log || b->log[offset / MEM_PAGE]);
}

void mem_log_clear(struct mem *m, struct mem_block *b, uint64_t offset, uint64_t size) {
  if (!b->log || offset >= b->size || size == 0)
    return;
  uint64_t end = size < b->size - offset ? offset + size : b->size;
  unsigned cleaned = 0;
  for (uint64_t off = offset & ~(uint64_t)(MEM_PAGE - 1); off < end; off += MEM_PAGE) {
    if (!b->log[off / MEM_PAGE])
      continue;
    b->log[off / MEM_PAGE] = 0;
    alias_flags(m, b, off, 0, PAGE_LOG);
    if (++cleaned < PROTECT_ALL && m->on_protect)
      m->on_protect(m->listener, b->host + off);
  }
  if (cleaned >= PROTECT_ALL && m->on_protect_range)
    m->on_protect_range(m->listener, b->host + offset, end - offset);
  else if (cleaned >= PROTECT_ALL && m->on_protect)
    m->on_protect(m->listener, NULL);
}

/* The page keeps PAGE_LOG until the CPU writes to it; that only costs a slow path. */
void mem_log_mark(struct mem_block *b, uint64_t offset, uint64_t size) {
  if (!b->log || offset >= b->size || size == 0)
    return;
  uint64_t end = size < b->size - offset ? offset + size : b->size;
  for (uint64_t off = offset & ~(uint64_t)(MEM_PAGE - 1); off < end; off += MEM_PAGE)
    b->log[off / MEM_PAGE] = 1;
}

void mem_set_code(struct mem *m, uint32_t pa, bool code) {
  struct mem_page *p = &m->page[pa / MEM_PAGE];
  if (!p->read)
    return;
  if (code) {
    bool known = (p->flags & PAGE_CODE) != 0;
    p->flags |= PAGE_CODE_HERE;
    if (known)
      return;
    alias_flags(m, p->block, page_offset(p), 0, PAGE_CODE);
    if (m->on_protect)
      m->on_protect(m->listener, p->read);
  } else if (p->flags & PAGE_CODE_HERE) {
    p->flags &= (uint8_t)~PAGE_CODE_HERE;
    if (!alias_has_code(m, p->block, page_offset(p)))
      alias_flags(m, p->block, page_offset(p), PAGE_CODE, 0);
  }
}

bool mem_code_only_here(struct mem *m, uint32_t pa) {
  const struct mem_page *p = &m->page[pa / MEM_PAGE];
  unsigned i = 0;
  for (struct mem_page *q; (q = alias_next(m, p->block, page_offset(p), &i));)
    if (q != p && (q->flags & PAGE_CODE_HERE))
      return false;
  return true;
}

void mem_set_table(struct mem *m, struct mem_block *b, uint64_t offset, bool table) {
  alias_flags(m, b, offset, table ? 0 : PAGE_SHADOWED, table ? PAGE_SHADOWED : 0);
  if (table && m->on_protect)
    m->on_protect(m->listener, b->host + offset);
}

void mem_forget_code(struct mem *m) {
  for (unsigned i = 0; i < m->alias_count; i++) {
    const struct mem_alias *a = &m->alias[i];
    for (uint64_t off = 0; off < a->block->size; off += MEM_PAGE) {
      int64_t pa = (int64_t)off + a->delta;
      if (pa >= 0 && pa < (int64_t)MEM_PAGES * MEM_PAGE)
        m->page[pa / MEM_PAGE].flags &= (uint8_t)~(PAGE_CODE | PAGE_CODE_HERE | PAGE_SHADOWED);
    }
  }
}

/* --- in a child process ------------------------------------------------------------------------------- */

static int copy_run(int fd, const uint8_t *from, off_t offset, size_t len) {
  while (len) {
    ssize_t n = pwrite(fd, from, len, offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -EIO;
    from += n, offset += n, len -= (size_t)n;
  }
  return 0;
}

/* What is there of a block; holes stay holes. */
static int copy_block(const struct mem *m, const struct mem_block *b, int fd) {
  off_t end = (off_t)(b->fd_offset + b->size);
  for (off_t at = (off_t)b->fd_offset, hole; at < end; at = hole) {
    at = lseek(m->fd, at, SEEK_DATA);
    if (at < 0 || at >= end)
      return at < 0 && errno != ENXIO ? -errno : 0;
    hole = lseek(m->fd, at, SEEK_HOLE);
    if (hole < 0)
      return -errno;
    hole = hole < end ? hole : end;
    int error = copy_run(fd, b->host + ((uint64_t)at - b->fd_offset), at, (size_t)(hole - at));
    if (error)
      return error;
  }
  return 0;
}

int mem_forked(struct mem *m) {
  int fd = memfd_create("guest memory", MFD_CLOEXEC);
  int error = fd < 0 || ftruncate(fd, (off_t)m->fd_size) < 0 ? -errno : 0;
  for (const struct mem_block *b = m->blocks; b && !error; b = b->next)
    error = copy_block(m, b, fd);
  for (const struct mem_block *b = m->blocks; b && !error; b = b->next)
    if (mmap(b->host, b->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
             (off_t)b->fd_offset) == MAP_FAILED)
      error = -errno;
  if (error) {
    if (fd >= 0)
      close(fd);
    return error;
  }
  close(m->fd);
  m->fd = fd;
  return 0;
}
