/* SPDX-License-Identifier: MIT */
/*
 * See sandbox.h; landlock(7), seccomp(2), libseccomp. The filter lists what is allowed; all else fails with
 * EPERM, so that a library that tries something optional goes on without. open() itself stays allowed: which
 * files, Landlock says.
 */
#include "frontends/test/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In headers newer than Debian 12's: rights of later versions, and the structure's later fields. */
#define FS_REFER (1ull << 13)     /* version 2 */
#define FS_TRUNCATE (1ull << 14)  /* 3 */
#define FS_IOCTL_DEV (1ull << 15) /* 5 */
#define NET_BIND_CONNECT 3ull     /* 4 */
#define SCOPE_SOCKET_SIGNAL 3ull  /* 6 */
#define READ_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_FILES                                                                                          \
  (READ_FILES | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |  \
   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_REFER | FS_TRUNCATE)
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset {
  uint64_t fs, net, scoped;
};

void sandbox_allow(struct sandbox *b, const char *path, bool write) {
  if (!path || !*path)
    return;
  if (write && b->writes < SANDBOX_PATHS)
    b->write[b->writes++] = path;
  else if (!write && b->reads < SANDBOX_PATHS)
    b->read[b->reads++] = path;
}

/* --- files -------------------------------------------------------------------------------------------- */

static int allow_path(int rules, const char *path, uint64_t access) {
  struct stat st;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0)
    return 0; /* it is not there */
  if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
    access &= OF_FILES;
  struct landlock_path_beneath_attr below = {.allowed_access = access, .parent_fd = fd};
  int result = (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0);
  close(fd);
  return result;
}

static int confine_files(const struct sandbox *b, char *note, size_t note_size) {
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) {
    snprintf(note, note_size, "this kernel has no Landlock: which files are opened is not confined");
    return 0;
  }
  uint64_t handled = 0x1fff; /* version 1 */
  handled |= version >= 2 ? FS_REFER : 0;
  handled |= version >= 3 ? FS_TRUNCATE : 0;
  handled |= version >= 5 ? FS_IOCTL_DEV : 0;
  struct ruleset set = {.fs = handled,
                        .net = version >= 4 ? NET_BIND_CONNECT : 0,
                        .scoped = version >= 6 ? SCOPE_SOCKET_SIGNAL : 0};
  size_t size = version >= 6 ? sizeof set : version >= 4 ? 16 : 8;
  int rules = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
  if (rules < 0)
    return -1;
  int result = 0;
  for (unsigned i = 0; i < b->reads && !result; i++)
    result = allow_path(rules, b->read[i], READ_FILES & handled);
  for (unsigned i = 0; i < b->writes && !result; i++)
    result = allow_path(rules, b->write[i], WRITE_FILES & handled);
  if (!result)
    result = (int)syscall(SYS_landlock_restrict_self, rules, 0);
  int code = errno;
  close(rules);
  errno = code;
  return result;
}

/* --- system calls ------------------------------------------------------------------------------------- */

/* What a machine in one thread needs, its memory, its images, its reports; and what the C library does on its
 * way. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(fcntl),
    SCMP_SYS(flock),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(truncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(sendfile),
    SCMP_SYS(dup),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(stat),
    SCMP_SYS(fstat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rmdir),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(umask),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(msync),
    SCMP_SYS(mincore),
    SCMP_SYS(brk),
    SCMP_SYS(memfd_create),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
};
/* What the template of a test needs besides. */
static const int of_parents[] = {
    SCMP_SYS(clone),  SCMP_SYS(fork),       SCMP_SYS(wait4),
    SCMP_SYS(waitid), SCMP_SYS(pidfd_open), SCMP_SYS(seccomp),
};

static int add_filter(bool leaf) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  int result = filter ? 0 : -ENOMEM;
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0] && !result; i++)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
  for (size_t i = 0; i < sizeof of_parents / sizeof of_parents[0] && !result && !leaf; i++)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, of_parents[i], 0);
  /* prctl for what processes say about themselves, and the filter of the leaves. */
  static const int options[] = {PR_SET_PDEATHSIG, PR_SET_TIMERSLACK, PR_SET_NAME, PR_SET_VMA};
  for (size_t i = 0; i < sizeof options / sizeof options[0] && !result; i++)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, (uint64_t)options[i]));
  static const int parent_options[] = {PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP};
  for (size_t i = 0; i < 2 && !result && !leaf; i++)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, (uint64_t)parent_options[i]));
  /* Is it a terminal? The C library asks for streams. */
  if (!result)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, 0x5401));
  /* Limits of itself, read only. */
  if (!result)
    result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
  if (!result)
    result = seccomp_load(filter);
  if (filter)
    seccomp_release(filter);
  errno = -result;
  return result ? -1 : 0;
}

int sandbox_enter(const struct sandbox *b, char *note, size_t note_size, char *error, size_t size) {
  note[0] = '\0';
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || confine_files(b, note, note_size) < 0 ||
      add_filter(false) < 0) {
    snprintf(error, size, "the sandbox cannot be set up: %s (--no-sandbox does without)", strerror(errno));
    return -1;
  }
  return 0;
}

int sandbox_enter_leaf(char *error, size_t size) {
  if (add_filter(true) == 0)
    return 0;
  snprintf(error, size, "the sandbox cannot be set up: %s", strerror(errno));
  return -1;
}
