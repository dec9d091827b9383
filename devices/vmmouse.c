/* SPDX-License-Identifier: MIT */
/*
 * VMware's hypervisor port and its absolute pointer, as the free drivers use them (Linux psmouse, X.Org's
 * xf86-input-vmmouse, open-vm-tools): IN EAX,DX with EAX = magic, CX = command, EBX = argument; results in
 * EAX to EDX. Commands: version, size of memory, pointer status, command and data. An event of the pointer is
 * four words in a queue: buttons, x, y, wheel; a PS/2 mouse packet, whose contents do not matter, tells that
 * there is one.
 *
 * Not modelled: everything else behind the port; unknown commands leave the registers alone and read as ones.
 */
#include "devices/vmmouse.h"

#include <string.h>

#include "devices/ps2mouse.h"

#define MAGIC 0x564d5868u
#define QUEUE 256 /* words */

enum { R_EAX, R_ECX, R_EDX, R_EBX };
enum { GET_VERSION = 10, GET_RAM_SIZE = 20, POINTER_DATA = 39, POINTER_STATUS = 40, POINTER_COMMAND = 41 };

#define HYPERVISOR_VERSION 6
#define PRODUCT_ESX 2

#define ENABLE 0x45414552u /* also: read the version from the queue */
#define DISABLE 0x000000f5u
#define RELATIVE 0x4c455252u
#define ABSOLUTE 0x53424152u
#define POINTER_VERSION 0x3442554au
#define STATUS_ERROR 0xffff0000u

#define BUTTON_LEFT 0x20
#define BUTTON_RIGHT 0x10
#define BUTTON_MIDDLE 0x08

struct vmmouse {
  struct device dev;
  uint32_t *gpr;
  uint32_t ram_mb;
  struct device *ps2mouse;
  uint32_t queue[QUEUE];
  uint16_t count;
  uint32_t status; /* STATUS_ERROR: disabled, or misused */
  bool absolute;
};

static void pointer_event(void *opaque, int x, int y, int dz, int buttons) {
  struct vmmouse *v = opaque;
  uint32_t *q = v->queue + v->count;
  uint32_t state = (buttons & MOUSE_LEFT ? BUTTON_LEFT : 0) | (buttons & MOUSE_RIGHT ? BUTTON_RIGHT : 0) |
                   (buttons & MOUSE_MIDDLE ? BUTTON_MIDDLE : 0);
  if (v->count + 4 > QUEUE - 4) { /* nobody reads: the last event gives way */
    q -= 4;
    v->count -= 4;
  }
  x = x < 0 ? 0 : x > INPUT_ABS_MAX ? INPUT_ABS_MAX : x;
  y = y < 0 ? 0 : y > INPUT_ABS_MAX ? INPUT_ABS_MAX : y;
  q[0] = state;
  q[1] = (uint32_t)(x * 0xffffll / INPUT_ABS_MAX);
  q[2] = (uint32_t)(y * 0xffffll / INPUT_ABS_MAX);
  q[3] = (uint32_t)dz;
  v->count += 4;
  if (v->ps2mouse)
    ps2mouse_event(v->ps2mouse, 1, 0, 0, 0);
}

static bool pointer_active(void *opaque) {
  const struct vmmouse *v = opaque;
  return v->absolute && v->status != STATUS_ERROR;
}

static void command(struct vmmouse *v, uint32_t what) {
  switch (what) {
  case ENABLE:
    v->count = 1;
    v->queue[0] = POINTER_VERSION;
    v->status = 0;
    break;
  case DISABLE:
    v->count = 0;
    v->absolute = false;
    v->status = STATUS_ERROR;
    break;
  case RELATIVE: v->absolute = false; break;
  case ABSOLUTE: v->absolute = true; break;
  }
}

/* Up to six words go to the registers in their order in the protocol: EAX, EBX, ECX, EDX (, ESI, EDI). */
static void data(struct vmmouse *v, uint32_t words) {
  static const uint8_t order[6] = {R_EAX, R_EBX, R_ECX, R_EDX, 6, 7};
  if (!words || words > 6 || words > v->count) {
    v->status = STATUS_ERROR;
    v->count = 0;
    return;
  }
  for (uint32_t i = 0; i < words; i++)
    v->gpr[order[i]] = v->queue[i];
  v->count = (uint16_t)(v->count - words);
  memmove(v->queue, v->queue + words, v->count * sizeof v->queue[0]);
}

static uint32_t vmmouse_read(void *opaque, uint32_t offset, int size) {
  struct vmmouse *v = opaque;
  uint32_t *gpr = v->gpr, argument = gpr[R_EBX];
  (void)offset;
  if (size != 4 || gpr[R_EAX] != MAGIC)
    return 0xffffffff;
  switch (gpr[R_ECX] & 0xffff) {
  case GET_VERSION:
    gpr[R_EBX] = MAGIC;
    gpr[R_ECX] = PRODUCT_ESX;
    return HYPERVISOR_VERSION;
  case GET_RAM_SIZE:
    gpr[R_EBX] = 0x1177; /* as the original */
    return v->ram_mb;
  case POINTER_STATUS: return v->status | v->count;
  case POINTER_COMMAND: command(v, argument); return gpr[R_EAX];
  case POINTER_DATA: data(v, argument); return gpr[R_EAX];
  default: return 0xffffffff;
  }
}

static void vmmouse_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque, (void)offset, (void)size, (void)value;
}

static const struct io_ops vmmouse_ops = {vmmouse_read, vmmouse_write, 4};

static void vmmouse_reset(struct device *dev) {
  struct vmmouse *v = DEVICE(struct vmmouse, dev);
  command(v, DISABLE);
}

static int vmmouse_init(struct device *dev, const struct device_args *args) {
  struct vmmouse *v = DEVICE(struct vmmouse, dev);
  const struct vmmouse_config *config = args->config;
  v->gpr = config->gpr;
  v->ram_mb = config->ram_mb;
  v->ps2mouse = config->ps2mouse;
  vmmouse_reset(dev);
  if (config->input)
    input_add_pointer(config->input,
                      &(struct input_pointer){"vmmouse", true, pointer_event, pointer_active, v});
  return io_map(dev->io, args->port[0], 4, &vmmouse_ops, dev, "vmmouse");
}

static const struct field vmmouse_fields[] = {
    FIELD_ARRAY(U32, struct vmmouse, queue),
    FIELD(U16, struct vmmouse, count),
    FIELD(U32, struct vmmouse, status),
    FIELD(BOOL, struct vmmouse, absolute),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *vmmouse_check(const struct device *dev) {
  const struct vmmouse *s = DEVICE(const struct vmmouse, dev);
  return s->count <= QUEUE ? NULL : "a queue that cannot be";
}

const struct device_class vmmouse_class = {
    .name = "vmmouse",
    .size = sizeof(struct vmmouse),
    .init = vmmouse_init,
    .reset = vmmouse_reset,
    .fields = vmmouse_fields,
    .check = vmmouse_check,
};
