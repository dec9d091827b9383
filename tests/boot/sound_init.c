/* SPDX-License-Identifier: MIT */
/*
 * /init of the guest of sound.sh: a Linux that loads the drivers of the sound cards, sets their mixers, plays
 * a tone with each by ALSA's own system calls, beeps with the console, records, and powers off. Says on the
 * console what it did and how long it took; "sound: ok" if all went well.
 *
 * Arguments on the kernel's command line: seconds=N for each tone; cards=sb16 or cards=adlib for those in
 * place of the cards on PCI.
 */
#include <fcntl.h>
#include <linux/kd.h>
#include <math.h>
#include <sound/asound.h>
#include <sound/asound_fm.h>
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

#define TONE 440

static bool failed;
static int seconds = 3;

static void say(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  printf("sound: ");
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

/* --- modules --- */

/* Load /modules/NAME.ko, with arguments, after what its .modinfo says it depends on. */
static bool load(const char *name, const char *arguments) {
  char path[128], depends[512] = "";
  snprintf(path, sizeof path, "/modules/%s.ko", name);
  int fd = open(path, O_RDONLY);
  struct stat st;
  if (fd < 0) { /* file names have - where modules have _ */
    for (char *c = path; *c; c++)
      *c = *c == '_' ? '-' : *c;
    fd = open(path, O_RDONLY);
  }
  if (fd < 0 && !strcmp(name, "ac97_bus"))
    fd = open("/modules/ac97_bus.ko", O_RDONLY);
  if (fd < 0 || fstat(fd, &st) < 0) {
    wrong(path);
    return false;
  }
  char *data = malloc((size_t)st.st_size);
  if (!data || read(fd, data, (size_t)st.st_size) != st.st_size) {
    wrong(path);
    return false;
  }
  const char *info = memmem(data, (size_t)st.st_size, "\0depends=", 9);
  snprintf(depends, sizeof depends, "%s", info ? info + 9 : "");
  char *rest;
  for (char *word = strtok_r(depends, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
    load(word, "");
  syscall(SYS_init_module, data, st.st_size, arguments); /* may be there already */
  free(data);
  close(fd);
  return true;
}

/* --- the mixer --- */

/* All switches on; the master at its loudest, which is 0 dB; what is between at `step`. */
static void set_mixer(int card, int step) {
  char path[64];
  snprintf(path, sizeof path, "/dev/snd/controlC%d", card);
  int fd = open(path, O_RDWR);
  static struct snd_ctl_elem_id ids[256];
  struct snd_ctl_elem_list list = {.space = 256, .pids = ids};
  struct snd_ctl_card_info about;
  if (fd < 0 || ioctl(fd, SNDRV_CTL_IOCTL_ELEM_LIST, &list) < 0 ||
      ioctl(fd, SNDRV_CTL_IOCTL_CARD_INFO, &about) < 0) {
    wrong(path);
    return;
  }
  for (unsigned i = 0; i < list.used; i++) {
    struct snd_ctl_elem_info info = {.id = ids[i]};
    struct snd_ctl_elem_value value = {.id = ids[i]};
    const char *name = (const char *)ids[i].name;
    bool master = !strncmp(name, "Master Playback", 15);
    bool source = !strncmp(name, "PCM", 3) || !strncmp(name, "Synth", 5);
    if ((!master && !source) || strstr(name, "Capture") || ioctl(fd, SNDRV_CTL_IOCTL_ELEM_INFO, &info) < 0)
      continue;
    for (unsigned k = 0; k < info.count; k++)
      value.value.integer.value[k] = info.type == SNDRV_CTL_ELEM_TYPE_BOOLEAN ? 1
                                     : master                                 ? info.value.integer.max
                                                                              : step;
    if (info.type <= SNDRV_CTL_ELEM_TYPE_INTEGER && ioctl(fd, SNDRV_CTL_IOCTL_ELEM_WRITE, &value) < 0)
      wrong(name);
  }
  say("card %d is %s, %s; %u controls", card, about.driver, about.longname, list.used);
  close(fd);
}

static void set_control(int card, const char *name, int to) {
  char path[64];
  snprintf(path, sizeof path, "/dev/snd/controlC%d", card);
  int fd = open(path, O_RDWR);
  struct snd_ctl_elem_value value = {.id = {.iface = SNDRV_CTL_ELEM_IFACE_CARD}};
  snprintf((char *)value.id.name, sizeof value.id.name, "%s", name);
  value.value.enumerated.item[0] = (unsigned)to;
  if (fd < 0 || ioctl(fd, SNDRV_CTL_IOCTL_ELEM_WRITE, &value) < 0)
    wrong(name);
  close(fd);
}

/* --- PCM --- */

static void any(struct snd_pcm_hw_params *p) {
  memset(p, 0, sizeof *p);
  memset(p->masks, 0xff, sizeof p->masks);
  for (unsigned i = 0; i <= SNDRV_PCM_HW_PARAM_LAST_INTERVAL - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL; i++)
    p->intervals[i] = (struct snd_interval){.max = UINT32_MAX};
  p->rmask = UINT32_MAX;
}

static void choose(struct snd_pcm_hw_params *p, int param, unsigned value) {
  if (param <= SNDRV_PCM_HW_PARAM_LAST_MASK) {
    memset(&p->masks[param], 0, sizeof p->masks[0]);
    p->masks[param].bits[value / 32] = 1u << value % 32;
  } else {
    p->intervals[param - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL] =
        (struct snd_interval){.min = value, .max = value, .integer = 1};
  }
}

static int open_pcm(int card, int device, char direction, unsigned rate, unsigned format) {
  char path[64];
  struct snd_pcm_hw_params p;
  snprintf(path, sizeof path, "/dev/snd/pcmC%dD%d%c", card, device, direction);
  int fd = open(path, O_RDWR);
  any(&p);
  choose(&p, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_RW_INTERLEAVED);
  choose(&p, SNDRV_PCM_HW_PARAM_FORMAT, format);
  choose(&p, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
  choose(&p, SNDRV_PCM_HW_PARAM_RATE, rate);
  choose(&p, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, 1024);
  choose(&p, SNDRV_PCM_HW_PARAM_PERIODS, 8);
  if (fd < 0 || ioctl(fd, SNDRV_PCM_IOCTL_HW_PARAMS, &p) < 0 || ioctl(fd, SNDRV_PCM_IOCTL_PREPARE) < 0) {
    wrong(path);
    return -1;
  }
  return fd;
}

/* A sine of 440 Hz on the left, of twice that on the right. */
static void play_format(int card, int device, unsigned rate, unsigned format) {
  int fd = open_pcm(card, device, 'p', rate, format);
  if (fd < 0)
    return;
  static int16_t f[1024][2];
  static uint8_t bytes[1024][2];
  unsigned total = rate * (unsigned)seconds;
  double begin = now();
  for (unsigned done = 0; done < total;) {
    unsigned n = total - done < 1024 ? total - done : 1024;
    for (unsigned i = 0; i < n; i++) {
      f[i][0] = (int16_t)lrint(12000 * sin(2 * M_PI * TONE * (done + i) / rate));
      f[i][1] = (int16_t)lrint(6000 * sin(4 * M_PI * TONE * (done + i) / rate));
      for (int side = 0; side < 2; side++)
        bytes[i][side] = (uint8_t)(lrint(f[i][side] / 256.0) + 128);
    }
    struct snd_xferi x = {.buf = f, .frames = n};
    if (format == SNDRV_PCM_FORMAT_U8)
      x.buf = bytes;
    if (ioctl(fd, SNDRV_PCM_IOCTL_WRITEI_FRAMES, &x) < 0) {
      wrong("playing");
      break;
    }
    done += n;
  }
  if (ioctl(fd, SNDRV_PCM_IOCTL_DRAIN) < 0)
    wrong("draining");
  say("card %d device %d played %d s at %u Hz in %.3f s from %.3f", card, device, seconds, rate,
      now() - begin, begin);
  close(fd);
}

static void play(int card, int device, unsigned rate) {
  play_format(card, device, rate, SNDRV_PCM_FORMAT_S16_LE);
}

static void record(int card, unsigned rate) {
  int fd = open_pcm(card, 0, 'c', rate, SNDRV_PCM_FORMAT_S16_LE);
  if (fd < 0)
    return;
  static int16_t f[1024][2];
  memset(f, 0x55, sizeof f);
  double begin = now();
  unsigned loud = 0, total = 0;
  for (; total < rate; total += 1024) {
    struct snd_xferi x = {.buf = f, .frames = 1024};
    if (ioctl(fd, SNDRV_PCM_IOCTL_READI_FRAMES, &x) < 0) {
      wrong("recording");
      break;
    }
    for (unsigned i = 0; i < 1024; i++)
      loud += f[i][0] || f[i][1];
  }
  double took = now() - begin, expected = (double)total / rate;
  say("card %d recorded %u frames at %u Hz in %.3f s, %u of them not silent", card, total, rate, took, loud);
  if (loud || took < expected * 0.95 || took > expected * 2)
    failed = true;
  close(fd);
}

static void beep(void) {
  int fd = open("/dev/tty0", O_RDWR);
  double begin = now();
  if (fd < 0 || ioctl(fd, KIOCSOUND, 1193180 / TONE) < 0) {
    wrong("the beep");
    return;
  }
  usleep((useconds_t)seconds * 1000000);
  ioctl(fd, KIOCSOUND, 0);
  say("beeped for %.3f s from %.3f", now() - begin, begin);
  close(fd);
}

/* --- FM --- */

/* A sine of 440 Hz by the carrier of channel 0. */
static void play_fm(int card, unsigned mode) {
  char path[64];
  snprintf(path, sizeof path, "/dev/snd/hwC%dD0", card);
  int fd = open(path, O_RDWR);
  struct snd_dm_fm_params params = {0};
  struct snd_dm_fm_voice voice = {.op = 1,
                                  .do_sustain = 1,
                                  .harmonic = 1,
                                  .volume = 63,
                                  .attack = 15,
                                  .release = 15,
                                  .connection = 1,
                                  .left = 1,
                                  .right = 1};
  struct snd_dm_fm_note note = {.octave = 4, .fnum = 580, .key_on = 1};
  if (fd < 0 || ioctl(fd, SNDRV_DM_FM_IOCTL_RESET) < 0 || ioctl(fd, SNDRV_DM_FM_IOCTL_SET_MODE, mode) < 0 ||
      ioctl(fd, SNDRV_DM_FM_IOCTL_SET_PARAMS, &params) < 0 ||
      ioctl(fd, SNDRV_DM_FM_IOCTL_SET_VOICE, &voice) < 0 ||
      ioctl(fd, SNDRV_DM_FM_IOCTL_PLAY_NOTE, &note) < 0) {
    wrong(path);
    return;
  }
  double begin = now();
  usleep((useconds_t)seconds * 1000000);
  note.key_on = 0;
  ioctl(fd, SNDRV_DM_FM_IOCTL_PLAY_NOTE, &note);
  say("card %d FM played %d s in %.3f s", card, seconds, now() - begin);
  close(fd);
}

static void isa_card(bool sb16) {
  if (sb16)
    load("snd_sb16", "isapnp=0 port=0x220 irq=5 dma8=1 dma16=5 mpu_port=0x330 fm_port=0x388");
  else
    load("snd_adlib", "port=0x388");
  if (sb16) {
    set_mixer(0, 31); /* 0 dB */
    play_format(0, 0, 44100, SNDRV_PCM_FORMAT_S16_LE);
    sleep(1);
    /* There is one channel for each width; until now playing had the 16-bit one. */
    set_control(0, "16-bit DMA Allocation", 2);
    play_format(0, 0, 22050, SNDRV_PCM_FORMAT_U8);
    sleep(1);
    record(0, 44100);
  }
  play_fm(0, sb16 ? SNDRV_DM_FM_MODE_OPL3 : SNDRV_DM_FM_MODE_OPL2);
}

static char cards[16] = "pci";

static void read_arguments(void) {
  char line[1024] = "";
  int fd = open("/proc/cmdline", O_RDONLY);
  ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
  line[n < 0 ? 0 : n] = '\0';
  const char *arg = strstr(line, "seconds=");
  if (arg)
    seconds = atoi(arg + 8);
  arg = strstr(line, "cards=");
  if (arg)
    sscanf(arg + 6, "%15s", cards);
}

static void pci_cards(void) {
  load("snd_ens1370", "");
  load("snd_intel8x0", "");
  load("pcspkr", "");
  sleep(2); /* the AC '97 driver measures its clock by playing */
  for (int card = 0; card < 2; card++) {
    char path[64], id[32] = "";
    snprintf(path, sizeof path, "/proc/asound/card%d/id", card);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, id, sizeof id - 1) < 0) {
      wrong(path);
      continue;
    }
    close(fd);
    bool ac97 = strncmp(id, "AudioPCI", 8) != 0;
    set_mixer(card, ac97 ? 23 : 25); /* 0 dB */
    sleep(1);
    play(card, 0, ac97 ? 48000 : 44100);
    sleep(1);
    play(card, ac97 ? 0 : 1, ac97 ? 22050 : 44100); /* variable rate; the ES1370's second converter */
    sleep(1);
    record(card, ac97 ? 48000 : 44100);
  }
  beep();
}

int main(void) {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  read_arguments();
  if (strcmp(cards, "pci") == 0)
    pci_cards();
  else
    isa_card(strcmp(cards, "sb16") == 0);
  sleep(1);
  say(failed ? "not ok" : "ok");
  sync();
  reboot(RB_POWER_OFF);
  return 1;
}
