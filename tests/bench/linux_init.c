/* SPDX-License-Identifier: MIT */
/*
 * Real work under Linux: /init of the guest, and natively a program that works in the same directory under
 * chroot: linux_init DIRECTORY [FILTER] Speaks with bench.c as guest.c and native.c do, in the guest over the
 * first serial port. A piece of work is a shell command; its standard output, which must not depend on the
 * time or the place, makes the checksum. Natively what counts is the CPU time of the command and all its
 * descendants; in the guest bench.c takes the emulator's between the lines S and E, and E also says how long
 * it took by the guest's clock ("@" and ns).
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const struct work {
  const char *name, *group, *command;
} works[] = {
    {"gzip", "compress", "gzip -nc /input | cksum"},
    {"gunzip", "compress", "gunzip -c /tmp/input.gz | cksum"},
    {"xz", "compress", "head -c 1M /input | xz -T1 -3 | cksum"},
    {"unxz", "compress", "unxz -c /tmp/input.xz | cksum"},
    {"bzip2", "compress", "head -c 3M /input | bzip2 | cksum"},
    {"bunzip2", "compress", "bunzip2 -c /tmp/input.bz2 | cksum"},
    {"sha256sum", "digest", "cat /input /input /input | sha256sum"},
    {"md5sum", "digest", "cat /input /input /input | md5sum"},
    {"openssl-sha512", "digest", "cat /input /input | openssl dgst -sha512"},
    {"openssl-aes", "digest", "openssl enc -aes-256-cbc -pass pass:bench -nosalt -pbkdf2 -iter 10 -in /input | cksum"},
    {"openssl-rsa", "digest", "for i in 1 2 3 4; do openssl dgst -sha256 -sign /key /init; done | cksum"},
    {"gzip-long", "long", "for i in 1 2 3 4 5; do cat /input; done | gzip -nc | cksum"},
    {"xz-long", "long", "cat /input | xz -T1 -6 | cksum"},
    {"sha256sum-long", "long", "for i in $(seq 20); do cat /input; done | sha256sum"},
    {"openssl-long", "long", "for i in $(seq 40); do cat /input; done | openssl dgst -sha512"},
    {"perl-long", "long",
     "perl -e 'my ($s, @a) = (0); for my $i (1..4000000) { $a[$i % 1000] += $i * 0.5; $s = ($s * 31 + $i) % "
     "65521; }"
     " print $s, \" \", $a[7]'"},
    {"python-long", "long",
     "python3.11 -c 's, x = 0, 0.5\nfor i in range(6000000):\n  s = (s * 31 + i) % 65521\n  x = 3.7 * x * (1 "
     "- x)\n"
     "print(s, x)'"},
    {"perl-words", "scripts",
     "perl -e 'my %h; for my $i (1..120000) { my $k = join \"-\", $i % 977, chr(65 + $i % 26); $h{$k} .= "
     "\"x\";"
     " $h{$k} =~ s/xxx/y/; } print join(\",\", map { \"$_=$h{$_}\" } sort keys %h)'"},
    {"perl-numbers", "scripts",
     "perl -e 'my ($s, @a) = (0); for my $i (1..150000) { $a[$i % 1000] += $i * 0.5; $s = ($s * 31 + $i) % "
     "65521; }"
     " print $s, \" \", $a[7]'"},
    {"python-objects", "scripts",
     "python3.11 -c 'd = {}\nfor i in range(100000):\n  k = str(i % 977)\n  d.setdefault(k, []).append(i)\n"
     "print(sum(len(v) * int(k) for k, v in sorted(d.items())))'"},
    {"python-numbers", "scripts",
     "python3.11 -c 's, x = 0, 0.5\nfor i in range(200000):\n  s = (s * 31 + i) % 65521\n  x = 3.7 * x * (1 "
     "- x)\n"
     "print(s, x)'"},
    {"python-start", "scripts",
     "for i in 1 2 3 4 5 6; do python3.11 -c 'import os, re; print(os.sep)'; done"},
    {"shell-loop", "scripts", "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo $i"},
    {"fork-exec-static", "system",
     "i=0; while [ $i -lt 1000 ]; do /bin/busybox true; i=$((i + 1)); done; echo $i"},
    {"fork-exec-dynamic", "system", "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i + 1)); done; echo $i"},
    {"subshells", "system", "i=0; while [ $i -lt 1000 ]; do i=$(echo $((i + 1))); done; echo $i"},
    {"tiny-syscalls", "system", "dd if=/dev/zero of=/dev/null bs=1 count=300000 2>/dev/null; echo"},
    {"pipes", "system", "dd if=/dev/zero bs=512 count=60000 2>/dev/null | cat | cat | cksum"},
    {"tar-tmpfs", "system",
     "cd /tmp && for i in 1 2 3; do tar cf t.tar /tree 2>/dev/null; mkdir t; tar xf t.tar -C t; find t | wc "
     "-l;"
     " rm -rf t t.tar; done"},
    {"find-grep", "system", "find /tree -type f | LC_ALL=C sort | xargs grep -c import | cksum"},
};

enum { WORKS = sizeof works / sizeof *works };

/* What programs find in their environment; OpenSSL is to take its SSE2 code on each side. */
static char *const environment[] = {
    "PATH=/usr/bin:/bin", "HOME=/", "LC_ALL=C", "PYTHONHASHSEED=0", "OPENSSL_ia32cap=0x07808931:0", NULL,
};

static const char prepare[] = "gzip -nc /input >/tmp/input.gz; head -c 3M /input | xz -T1 -1 >/tmp/input.xz;"
                              "head -c 3M /input | bzip2 >/tmp/input.bz2";

static int guest;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double seconds(struct timeval t) { return (double)t.tv_sec * 1e9 + (double)t.tv_usec * 1e3; }

/* CPU time in ns; the sum of what it printed. */
static double execute(const char *command, unsigned *sum) {
  int ends[2], status;
  unsigned char buffer[4096];
  struct rusage used;
  if (pipe(ends))
    return -1;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    char *const args[] = {"sh", "-c", (char *)command, NULL};
    execve("/bin/sh", args, environment);
    _exit(127);
  }
  close(ends[1]);
  *sum = 2166136261u;
  ssize_t n;
  while ((n = read(ends[0], buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < n; i++)
      *sum = (*sum ^ buffer[i]) * 16777619u;
  close(ends[0]);
  if (wait4(pid, &status, 0, &used) != pid || status)
    return -1;
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

static void run(const struct work *w) {
  unsigned sum;
  if (guest) {
    printf("S %s\n", w->name);
    fflush(stdout);
    usleep(20000);
  }
  double start = now(), used = execute(w->command, &sum);
  if (used < 0)
    printf("F %s failed\n", w->name);
  else if (guest)
    printf("E %s %s 1 %08x @%.0f\n", w->name, w->group, sum, now() - start);
  else
    printf("R %s %s 1 %08x %.0f\n", w->name, w->group, sum, used);
  fflush(stdout);
}

/* The guest's standard input and output are the serial port, as it is. */
static void set_up_guest(void) {
  struct termios t;
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
  int fd = open("/dev/ttyS0", O_RDWR);
  dup2(fd, STDIN_FILENO);
  dup2(fd, STDOUT_FILENO);
  tcgetattr(fd, &t);
  cfmakeraw(&t);
  tcsetattr(fd, TCSANOW, &t);
}

/* A mount namespace of our own, and a user namespace if we aren't root. */
static int set_up_native(const char *directory) {
  int flags = CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0);
  if (unshare(flags) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || chdir(directory) ||
      mount("/dev", "dev", NULL, MS_BIND | MS_REC, NULL) || mount("tmpfs", "tmp", "tmpfs", 0, NULL) ||
      chroot(".")) {
    perror("bench: chroot");
    return -1;
  }
  return 0;
}

static int contains_any(const char *name, const char *list) {
  char copy[256], *rest = copy, *part;
  snprintf(copy, sizeof copy, "%s", list);
  if (!*copy)
    return 1;
  while ((part = strsep(&rest, ",")))
    if (*part && strstr(name, part))
      return 1;
  return 0;
}

int main(int argc, char **argv) {
  char line[64];
  unsigned number, sum;
  guest = getpid() == 1;
  const char *filter = guest ? getenv("filter") : argc > 2 ? argv[2] : "";
  if (guest)
    set_up_guest();
  else if (argc < 2 || set_up_native(argv[1]))
    return 1;
  for (unsigned i = 0; i < WORKS; i++)
    if (contains_any(works[i].name, filter ? filter : "") ||
        contains_any(works[i].group, filter ? filter : ""))
      printf("K %u %s %s\n", i, works[i].name, works[i].group);
  printf("B\n");
  fflush(stdout);
  int prepared = 0;
  while (fgets(line, sizeof line, stdin) && line[0] != 'q') {
    if (!prepared)
      prepared = execute(prepare, &sum) >= 0;
    if (sscanf(line, "r %u", &number) == 1 && number < WORKS)
      run(&works[number]);
  }
  return 0;
}
