/* SPDX-License-Identifier: MIT */
/* Channels: the list, what a specification means, and the two simple kinds, null and file. See channel.h. */
#include "frontends/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

struct file_channel {
  struct channel c;
  int fd;
  char *path;
  bool created, started, failed;
};

void channel_add(struct channel_set *set, struct channel *c, const char *label) {
  c->set = set;
  snprintf(c->dev.label, sizeof c->dev.label, "%s", label);
  struct channel **link = &set->first;
  while (*link)
    link = &(*link)->next;
  *link = c;
}

void channel_fail(struct channel *c, int error) {
  error_report("%s: cannot write to %s: %s; free some space or choose another target", c->dev.label,
               c->description, strerror(error));
  machine_request_quit(c->set->machine, 1);
}

static void plain_destroy(struct channel *c) { free(c); }

static size_t null_write(struct chardev *dev, const uint8_t *buf, size_t len) {
  (void)dev;
  (void)buf;
  return len;
}

static int open_null(struct channel_set *set, const char *label, const char *name, struct channel **out) {
  struct channel *c = calloc(1, sizeof *c);
  if (!c)
    return -1;
  c->dev.write = null_write;
  c->destroy = plain_destroy;
  snprintf(c->description, sizeof c->description, "%s", name);
  channel_add(set, c, label);
  *out = c;
  return 0;
}

/* --- file: output only --- */

static size_t file_write(struct chardev *dev, const uint8_t *buf, size_t len) {
  struct file_channel *f = (struct file_channel *)dev;
  size_t done = 0;
  while (done < len && !f->failed) {
    ssize_t n = write(f->fd, buf + done, len - done);
    if (n >= 0) {
      done += (size_t)n;
    } else if (errno != EINTR) {
      f->failed = true;
      channel_fail(&f->c, errno);
    }
  }
  return len;
}

static int file_start(struct channel *c, char *error, size_t size) {
  struct file_channel *f = (struct file_channel *)c;
  struct stat st;
  f->started = true;
  if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(f->fd, 0) < 0) {
    snprintf(error, size, "cannot empty %s: %s", f->path, strerror(errno));
    return -1;
  }
  return 0;
}

static void file_destroy(struct channel *c) {
  struct file_channel *f = (struct file_channel *)c;
  close(f->fd);
  if (f->created && !f->started)
    unlink(f->path); /* the start failed elsewhere: leave nothing behind */
  free(f->path);
  free(f);
}

static int open_file(struct channel_set *set, const char *label, const char *path, struct channel **out,
                     char *error, size_t size) {
  struct file_channel *f = calloc(1, sizeof *f);
  if (!f || !(f->path = strdup(path))) {
    free(f);
    snprintf(error, size, "out of memory");
    return -1;
  }
  f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  f->created = f->fd >= 0;
  if (f->fd < 0 && errno == EEXIST)
    f->fd = open(path, O_WRONLY | O_CLOEXEC);
  if (f->fd < 0) {
    snprintf(error, size, "%s: cannot write to file %s: %s", label, path, strerror(errno));
    free(f->path);
    free(f);
    return -1;
  }
  f->c.dev.write = file_write;
  f->c.start = file_start;
  f->c.destroy = file_destroy;
  snprintf(f->c.description, sizeof f->c.description, "file:%s", path);
  channel_add(set, &f->c, label);
  *out = &f->c;
  return 0;
}

/* --- the specification --- */

int channel_open(struct channel_set *set, const char *label, const char *spec, struct channel **out,
                 char *error, size_t size) {
  bool mux = !strncmp(spec, "mon:", 4);
  struct channel *c = NULL;
  int r;
  *out = NULL;
  if (mux)
    spec += 4;
  if (!strcmp(spec, "none"))
    return 0;
  if (!strcmp(spec, "null") || !strncmp(spec, "vc", 2))
    r = open_null(set, label, spec, &c);
  else if (!strcmp(spec, "stdio"))
    r = channel_open_stdio(set, label, !mux, &c, error, size);
  else if (!strcmp(spec, "pty"))
    r = channel_open_pty(set, label, &c, error, size);
  else if (!strncmp(spec, "file:", 5))
    r = open_file(set, label, spec + 5, &c, error, size);
  else
    r = channel_open_socket(set, label, spec, &c, error, size);
  if (r < 0)
    return r;
  *out = mux ? channel_mux_new(set, label, c) : c;
  if (!*out) {
    snprintf(error, size, "out of memory");
    return -1;
  }
  return 0;
}

int channel_start_all(struct channel_set *set, char *error, size_t size) {
  for (struct channel *c = set->first; c; c = c->next)
    if (c->start && c->start(c, error, size) < 0)
      return -1;
  return 0;
}

void channel_close_all(struct channel_set *set) {
  while (set->first) {
    struct channel *c = set->first;
    set->first = c->next;
    c->destroy(c);
  }
}

void channel_info(struct channel_set *set, FILE *out) {
  for (struct channel *c = set->first; c; c = c->next)
    fprintf(out, "%s: filename=%s\n", c->dev.label, c->description);
}
