/* SPDX-License-Identifier: MIT */
/* What the replay*.c files share; see replay.h. */
#ifndef CORE_REPLAY_INT_H
#define CORE_REPLAY_INT_H

#include "core/chardev.h"
#include "core/machine.h"
#include "core/net.h"
#include "core/replay.h"

#define REPLAY_ARGS 1024
#define REPLAY_PAYLOAD_MAX (1u << 20)

/* --- the file: replay_file.c --- */

struct replay_record {
  enum replay_kind kind;
  struct replay_place place;
  const uint8_t *data;
  uint32_t size;
  uint64_t offset; /* in the file */
};

struct replay_file {
  int fd; /* writing; -1: reading */
  char *path;
  bool failed;   /* a write did, and it was said */
  uint8_t *data; /* reading: all of it */
  size_t size, at;
};

int replay_file_create(struct replay_file *f, const char *path, char *error, size_t size); /* 0, -1 */
int replay_file_open(struct replay_file *f, const char *path, char *error, size_t size);
void replay_file_close(struct replay_file *f);
void replay_file_write(struct replay_file *f, enum replay_kind kind, const struct replay_place *p,
                       const void *data, uint32_t size);
/* The record at f->at, which moves on. 1; 0 at the end, or where the file was cut off; -1 if it is damaged
 * there. */
int replay_file_next(struct replay_file *f, struct replay_record *r);

/* --- the machine: replay.c --- */

struct replay_deferred {    /* until the machine is at rest, in order */
  void (*fn)(void *opaque); /* NULL: an input */
  void *opaque;
  enum replay_kind kind;
  uint8_t *data;
  uint32_t size;
  struct replay_deferred *next;
};

struct replay_stream {
  struct replay *replay;
  unsigned number;
  struct chardev *dev;
  size_t (*can_receive)(void *opaque);
  void (*receive)(void *opaque, const uint8_t *buf, size_t len);
  void *opaque;
};

struct replay_cable {
  struct replay *replay;
  unsigned number;
  struct net_cable *cable;
};

struct replay {
  bool playing;
  struct machine *machine;
  struct replay_file file;
  struct replay_header header;
  char *text; /* behind the header's strings */
  const char *args[REPLAY_ARGS + 1];
  struct input_sink input; /* as the devices made it */
  void (*powerdown)(struct machine *m);
  struct replay_stream stream[REPLAY_STREAMS];
  struct replay_cable cable[REPLAY_CABLES];
  void (*command)(void *opaque, char *line);
  void *command_opaque;
  struct replay_deferred *first, **last;
  bool applying; /* what comes now is not live */
  bool ended, quiet;
  /* checkpoints */
  uint64_t every, next_check;
  unsigned memory_every, checks;
  uint64_t break_at;
  int64_t snapshot_ns, next_snapshot; /* 0: none */
  /* playing */
  size_t begin; /* of the records behind the header */
  struct replay_record next;
  bool has_next;
  unsigned stuck; /* polls without progress at the next record's count, at this place */
  struct replay_place stuck_at;
  struct replay_place good, end; /* the last checkpoint that agreed; the file's last record */
  bool complete;
  uint64_t inputs, matched; /* so far: inputs, checkpoints */
  uint64_t screen;          /* hash of the last one that was compared */
  char difference[256];
};

#endif
