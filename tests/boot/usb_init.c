/* SPDX-License-Identifier: MIT */
/*
 * /init of the guest of usb.sh: a Linux that loads the drivers of the USB controller, pointers, keyboards and
 * disks and of the PS/2 mouse, lists the bus, tells on the console what input events arrive until Esc is
 * pressed, copies the first half of the USB disk to the second, and powers off. "usb: ok" if all went well.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define INPUTS 16

static bool failed;

static void say(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  printf("usb: ");
  vprintf(format, ap);
  printf("\n");
  fflush(stdout);
  va_end(ap);
}

static void wrong(const char *what) {
  say("FAILED: %s: %m", what);
  failed = true;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * Since Linux 4.16 its driver of VMware's pointer works only where CPUID tells of VMware or KVM
 * (x86_hyper_type & ~4 == 1), which a plain PC's processor does not. The rest of the driver is put to the
 * test without that condition.
 */
static void trust_port(char *data, size_t *size) {
  static const char condition[] = "\x83\xe0\xfb\x83\xf8\x01\x74"; /* and eax,~4; cmp eax,1; je */
  char *at = memmem(data, *size, condition, sizeof condition - 1);
  if (at) {
    at[6] = (char)0xeb;                                  /* jmp */
    *size -= sizeof "~Module signature appended~\n" - 1; /* it holds no longer */
  } else {
    say("no condition in the driver of VMware's pointer");
  }
}

/* Load /modules/NAME.ko after what its .modinfo says it depends on; file names have - or _ where modules have
 * _. */
static void load(const char *name) {
  char path[128], depends[512] = "";
  struct stat st;
  snprintf(path, sizeof path, "/modules/%s.ko", name);
  int fd = open(path, O_RDONLY);
  if (fd < 0) {
    for (char *c = path; *c; c++)
      *c = *c == '_' ? '-' : *c;
    fd = open(path, O_RDONLY);
  }
  if (fd < 0 || fstat(fd, &st) < 0) {
    wrong(name);
    return;
  }
  char *data = malloc((size_t)st.st_size);
  if (!data || read(fd, data, (size_t)st.st_size) != st.st_size) {
    wrong(name);
    return;
  }
  size_t size = (size_t)st.st_size;
  const char *info = memmem(data, size, "\0depends=", 9);
  snprintf(depends, sizeof depends, "%s", info ? info + 9 : "");
  if (!strcmp(name, "psmouse"))
    trust_port(data, &size);
  char *rest;
  for (char *word = strtok_r(depends, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
    load(word);
  syscall(SYS_init_module, data, size, ""); /* may be there already */
  free(data);
  close(fd);
}

/* --- the bus, as lsusb has it --- */

static const char *attribute(const char *device, const char *name) {
  static char text[4][128];
  static unsigned turn;
  char path[512], *to = text[turn++ % 4];
  snprintf(path, sizeof path, "/sys/bus/usb/devices/%s/%s", device, name);
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, to, sizeof text[0] - 1);
  if (fd >= 0)
    close(fd);
  to[n > 0 ? n - 1 : 0] = 0;
  return to;
}

static unsigned list_bus(bool tell) {
  unsigned count = 0;
  DIR *dir = opendir("/sys/bus/usb/devices");
  struct dirent *e;
  while (dir && (e = readdir(dir)))
    if (e->d_name[0] != '.' && !strchr(e->d_name, ':')) {
      count++;
      if (tell)
        say("device %s: %s:%s %s Mb/s \"%s\"", e->d_name, attribute(e->d_name, "idVendor"),
            attribute(e->d_name, "idProduct"), attribute(e->d_name, "speed"),
            attribute(e->d_name, "product"));
    }
  if (dir)
    closedir(dir);
  return count;
}

/* --- events --- */

struct input {
  int fd;
  char name[80];
  int x, y, dx, dy, wheel, key, value;
};

static struct input input[INPUTS];
static struct pollfd fds[INPUTS];
static unsigned inputs;

static void open_inputs(void) {
  for (int i = 0; i < INPUTS; i++) {
    char path[32];
    snprintf(path, sizeof path, "/dev/input/event%d", i);
    struct input *in = &input[inputs];
    *in = (struct input){.fd = open(path, O_RDWR), .key = -1};
    if (in->fd < 0)
      continue;
    ioctl(in->fd, EVIOCGNAME(sizeof in->name), in->name);
    say("input %s", in->name);
    fds[inputs++] = (struct pollfd){.fd = in->fd, .events = POLLIN};
  }
}

static bool take_event(struct input *in) {
  struct input_event e;
  if (read(in->fd, &e, sizeof e) != sizeof e)
    return true;
  if (e.type == EV_ABS && e.code == ABS_X)
    in->x = e.value;
  else if (e.type == EV_ABS && e.code == ABS_Y)
    in->y = e.value;
  else if (e.type == EV_REL && e.code == REL_X)
    in->dx = e.value;
  else if (e.type == EV_REL && e.code == REL_Y)
    in->dy = e.value;
  else if (e.type == EV_REL && e.code == REL_WHEEL)
    in->wheel = e.value;
  else if (e.type == EV_KEY) {
    in->key = e.code;
    in->value = e.value;
  } else if (e.type == EV_SYN) {
    say("event %s: at %d %d, moved %d %d, wheel %d, key %d %d", in->name, in->x, in->y, in->dx, in->dy,
        in->wheel, in->key, in->value);
    bool end = in->key == KEY_ESC && in->value == 0;
    in->dx = in->dy = in->wheel = in->value = 0;
    in->key = -1;
    return !end;
  }
  return true;
}

static void show_events(void) {
  open_inputs();
  say("ready");
  for (;;) {
    if (poll(fds, inputs, 60000) <= 0) {
      wrong("no Esc came");
      return;
    }
    for (unsigned i = 0; i < inputs; i++)
      if (fds[i].revents & POLLIN && !take_event(&input[i]))
        return;
  }
}

/* --- the disk --- */

static void copy_disk(void) {
  unsigned long long size = 0;
  int fd = -1;
  for (int i = 0; i < 100 && (fd = open("/dev/sda", O_RDWR)) < 0; i++)
    usleep(100000);
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0) {
    wrong("/dev/sda");
    return;
  }
  size_t half = (size_t)size / 2;
  char *data = malloc(half), *again = malloc(half);
  double begin = now();
  if (!data || !again || pread(fd, data, half, 0) != (ssize_t)half)
    wrong("reading");
  double middle = now();
  if (pwrite(fd, data, half, (off_t)half) != (ssize_t)half || fsync(fd) < 0)
    wrong("writing");
  double end = now();
  ioctl(fd, BLKFLSBUF, 0);
  if (pread(fd, again, half, (off_t)half) != (ssize_t)half || memcmp(data, again, half)) {
    say("FAILED: the copy differs");
    failed = true;
  }
  say("disk of %llu bytes: half read in %.3f s, written in %.3f s", size, middle - begin, end - middle);
  close(fd);
}

int main(void) {
  mount("none", "/dev", "devtmpfs", 0, "");
  mount("none", "/sys", "sysfs", 0, "");
  static const char *const modules[] = {"uhci-hcd", "usbhid",   "hid-generic", "evdev",
                                        "psmouse",  "scsi_mod", "sd_mod",      "usb-storage"};
  for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
    load(modules[i]);
  for (int i = 0; i < 100 && list_bus(false) < 6; i++)
    usleep(100000);
  usleep(1500000); /* the last device's drivers, and the PS/2 mouse */
  list_bus(true);
  show_events();
  copy_disk();
  say(failed ? "failed" : "ok");
  reboot(RB_POWER_OFF);
  return 0;
}
