/* SPDX-License-Identifier: MIT */
/* Finding and loading firmware images. */
#include "devices/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "core/log.h"

static bool exists(const char *dir, const char *name, char *path, size_t size) {
  return dir && (size_t)snprintf(path, size, "%s/%s", dir, name) < size && access(path, F_OK) == 0;
}

bool firmware_find(const char *name, const char *const *dirs, unsigned count, char *path, size_t size) {
  for (unsigned i = 0; i < count; i++)
    if (exists(dirs[i], name, path, size))
      return true;
  return exists(CONFIG_SEABIOS_DIR, name, path, size);
}

static int read_all(int fd, uint8_t *to, uint64_t len) {
  for (uint64_t done = 0; done < len;) {
    ssize_t n = read(fd, to + done, len - done);
    if (n < 0)
      return -errno;
    if (n == 0)
      return -EIO; /* it shrank */
    done += (uint64_t)n;
  }
  return 0;
}

int firmware_read(const char *path, uint64_t max, uint8_t **data, uint64_t *len) {
  struct stat st;
  int error = 0;
  const char *why = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  *data = NULL;
  if (fd < 0 || fstat(fd, &st) < 0) {
    error = -errno;
  } else if (!S_ISREG(st.st_mode)) {
    error = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    why = S_ISDIR(st.st_mode) ? NULL : "not a regular file";
  } else if (st.st_size == 0 || (uint64_t)st.st_size > max) {
    error = -EINVAL;
    why = st.st_size == 0 ? "it is empty" : "it is too big";
  } else {
    *len = (uint64_t)st.st_size;
    *data = malloc(*len);
    error = *data ? read_all(fd, *data, *len) : -ENOMEM;
  }
  if (fd >= 0)
    close(fd);
  if (error) {
    error_report("cannot load %s: %s", path, why ? why : strerror(-error));
    free(*data);
    *data = NULL;
  }
  return error;
}
