/* SPDX-License-Identifier: MIT */
/*
 * PC speaker: channel 2 of the timer, gated and mixed by the two low bits of port 61h. Reports what should be
 * heard; makes no sound itself. Pulse-width tricks through the one-shot modes are reported as cone positions
 * only.
 */
#include "devices/pcspk.h"

#define PIT_INPUT_HZ 1193182u

struct pcspk {
  struct device dev;
  bool gate, data;
  uint8_t mode;
  uint32_t count;
  uint32_t hz; /* reported last */
  bool level;
  void (*changed)(void *opaque, uint32_t hz, bool level);
  void *opaque;
};

static void pcspk_update(struct pcspk *s) {
  bool square = s->mode == 3 || s->mode == 2;
  uint32_t hz = s->gate && s->data && square && s->count ? PIT_INPUT_HZ / s->count : 0;
  bool level = s->data && !hz;
  if (hz == s->hz && level == s->level)
    return;
  s->hz = hz;
  s->level = level;
  if (s->changed)
    s->changed(s->opaque, hz, level);
}

void pcspk_set(void *pcspk, bool gate, bool data) {
  struct pcspk *s = pcspk;
  s->gate = gate;
  s->data = data;
  pcspk_update(s);
}

void pcspk_tone(void *pcspk, int mode, uint32_t count) {
  struct pcspk *s = pcspk;
  s->mode = (uint8_t)mode;
  s->count = count;
  pcspk_update(s);
}

uint32_t pcspk_hz(const struct device *dev) { return DEVICE(const struct pcspk, dev)->hz; }

static void pcspk_reset(struct device *dev) {
  struct pcspk *s = DEVICE(struct pcspk, dev);
  s->mode = 3;
  s->count = 0;
  pcspk_set(s, false, false);
}

static int pcspk_init(struct device *dev, const struct device_args *args) {
  struct pcspk *s = DEVICE(struct pcspk, dev);
  const struct pcspk_config *config = args->config;
  if (config) {
    s->changed = config->changed;
    s->opaque = config->opaque;
  }
  pcspk_reset(dev);
  return 0;
}

static const struct field pcspk_fields[] = {
    FIELD(BOOL, struct pcspk, gate),
    FIELD(BOOL, struct pcspk, data),
    FIELD(U8, struct pcspk, mode),
    FIELD(U32, struct pcspk, count),
    FIELD(U32, struct pcspk, hz),
    FIELD(BOOL, struct pcspk, level),
    FIELDS_END,
};

const struct device_class pcspk_class = {
    .name = "pcspk",
    .size = sizeof(struct pcspk),
    .init = pcspk_init,
    .reset = pcspk_reset,
    .fields = pcspk_fields,
};
