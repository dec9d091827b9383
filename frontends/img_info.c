/* SPDX-License-Identifier: MIT */
/* dragoman-img: info, map, check, snapshot: looking at images, as text for people and as JSON. */
#include "frontends/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int one_file(const struct img_args *a) {
  return a->words == 1
             ? 0
             : img_error(a, a->words ? "Expecting one image file name" : "Expecting image file name");
}

static void json_text(const char *text) {
  putchar('"');
  for (; *text; text++)
    if (*text == '"' || *text == '\\')
      printf("\\%c", *text);
    else if ((unsigned char)*text < 0x20)
      printf("\\u%04x", *text);
    else
      putchar(*text);
  putchar('"');
}

/* A format's own facts: "lazy refcounts" is "lazy-refcounts" in JSON. */
static void json_items(const struct block_info *info, const char *indent) {
  for (unsigned i = 0; i < info->items; i++) {
    printf("%s%s\"", i ? ",\n" : "", indent);
    for (const char *at = info->item[i].key; *at; at++)
      putchar(*at == ' ' ? '-' : *at);
    printf("\": ");
    if (info->item[i].text)
      json_text(info->item[i].value);
    else
      printf("%s", info->item[i].value);
  }
}

static struct block_snapshot *load_snapshots(struct block *b, int *count) {
  struct block_snapshot *list = calloc(BLOCK_SNAPSHOTS, sizeof *list);
  *count = list ? block_snapshots(b, list, BLOCK_SNAPSHOTS) : 0;
  if (*count > (int)BLOCK_SNAPSHOTS)
    *count = BLOCK_SNAPSHOTS;
  return list;
}

static void print_snapshots(const struct block_snapshot *list, int count) {
  printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  for (int i = 0; i < count; i++) {
    char size[32], date[32], clock[32];
    time_t when = (time_t)(list[i].date_ns / 1000000000);
    struct tm tm;
    localtime_r(&when, &tm);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
    uint64_t ms = list[i].vm_clock_ns / 1000000;
    snprintf(clock, sizeof clock, "%02d:%02d:%02d.%03d", (int)(ms / 3600000 % 100), (int)(ms / 60000 % 60),
             (int)(ms / 1000 % 60), (int)(ms % 1000));
    printf("%-9s %-16s %8s%20s%13s%11s\n", list[i].id, list[i].name, img_size(list[i].state_size, size), date,
           clock, "");
  }
}

static void json_snapshots(const struct block_snapshot *list, int count) {
  printf("    \"snapshots\": [\n");
  for (int i = 0; i < count; i++) {
    printf("        {\n            \"id\": ");
    json_text(list[i].id);
    printf(",\n            \"name\": ");
    json_text(list[i].name);
    printf(",\n            \"vm-state-size\": %" PRIu64 ",\n            \"date-sec\": %" PRIu64
           ",\n            \"date-nsec\": %" PRIu64 ",\n            \"vm-clock-sec\": %" PRIu64
           ",\n            \"vm-clock-nsec\": %" PRIu64 "\n        }%s\n",
           list[i].state_size, list[i].date_ns / 1000000000, list[i].date_ns % 1000000000,
           list[i].vm_clock_ns / 1000000000, list[i].vm_clock_ns % 1000000000, i + 1 < count ? "," : "");
  }
  printf("    ],\n");
}

static void info_text(struct block *b, const struct block_info *info, const char *backing_path) {
  char size[32];
  int count;
  printf("image: %s\nfile format: %s\n", block_path(b), block_format_name(b));
  printf("virtual size: %s (%" PRIu64 " bytes)\n", img_size(block_size(b), size), block_size(b));
  printf("disk size: %s\n", img_size(block_file_bytes(b), size));
  if (info->encrypted)
    printf("encrypted: yes\n");
  if (info->cluster_size)
    printf("cluster_size: %" PRIu64 "\n", info->cluster_size);
  if (info->dirty)
    printf("cleanly shut down: no\n");
  if (block_backing_name(b)) {
    printf("backing file: %s", block_backing_name(b));
    if (backing_path && strcmp(backing_path, block_backing_name(b)))
      printf(" (actual path: %s)", backing_path);
    printf("\n");
    if (block_backing_format(b))
      printf("backing file format: %s\n", block_backing_format(b));
  }
  struct block_snapshot *list = load_snapshots(b, &count);
  if (count > 0)
    print_snapshots(list, count);
  free(list);
  if (info->items)
    printf("Format specific information:\n");
  for (unsigned i = 0; i < info->items; i++)
    printf("    %s: %s\n", info->item[i].key, info->item[i].value);
}

static void info_json(struct block *b, const struct block_info *info, const char *backing_path) {
  int count;
  printf("{\n");
  if (block_backing_name(b) && block_backing_format(b)) {
    printf("    \"backing-filename-format\": ");
    json_text(block_backing_format(b));
    printf(",\n");
  }
  printf("    \"virtual-size\": %" PRIu64 ",\n    \"filename\": ", block_size(b));
  json_text(block_path(b));
  printf(",\n");
  if (info->cluster_size)
    printf("    \"cluster-size\": %" PRIu64 ",\n", info->cluster_size);
  printf("    \"format\": \"%s\",\n    \"actual-size\": %" PRIu64 ",\n", block_format_name(b),
         block_file_bytes(b));
  struct block_snapshot *list = load_snapshots(b, &count);
  if (count > 0)
    json_snapshots(list, count);
  free(list);
  if (info->items) {
    printf("    \"format-specific\": {\n        \"type\": \"%s\",\n        \"data\": {\n",
           block_format_name(b));
    json_items(info, "            ");
    printf("\n        }\n    },\n");
  }
  if (block_backing_name(b)) {
    printf("    \"full-backing-filename\": ");
    json_text(backing_path ? backing_path : block_backing_name(b));
    printf(",\n    \"backing-filename\": ");
    json_text(block_backing_name(b));
    printf(",\n");
  }
  printf("    \"dirty-flag\": %s\n}", info->dirty ? "true" : "false");
}

/* Where the backing file is, from where the image is. */
static char *backing_path(const struct block *b) {
  const char *name = block_backing_name(b), *slash = strrchr(block_path(b), '/');
  if (!name)
    return NULL;
  char *path = NULL;
  if (*name == '/' || !slash)
    return strdup(name);
  return asprintf(&path, "%.*s/%s", (int)(slash - block_path(b)), block_path(b), name) < 0 ? NULL : path;
}

int img_info(const struct img_args *a) {
  if (one_file(a))
    return 1;
  char *path = strdup(a->word[0]), *format = a->f ? strdup(a->f) : NULL;
  int status = 0;
  if (a->json && a->chain)
    printf("[\n");
  for (unsigned depth = 0; path && depth < 64; depth++) {
    struct block *b = img_open(a, path, format, BLOCK_CHECK | BLOCK_NO_BACKING);
    status = !b;
    if (!b)
      break;
    struct block_info info;
    block_info(b, &info);
    char *next = backing_path(b);
    if (depth)
      printf(a->json ? ",\n" : "\n");
    (a->json ? info_json : info_text)(b, &info, next);
    free(path);
    free(format);
    path = next;
    format = block_backing_format(b) ? strdup(block_backing_format(b)) : NULL;
    block_close(b);
    if (!a->chain)
      break;
  }
  free(path);
  free(format);
  if (a->json)
    printf(a->chain ? "\n]\n" : "\n");
  return status;
}

/* --- map ---------------------------------------------------------------------------------------------- */

struct extent {
  uint64_t start, length;
  int state;
  unsigned depth;
};

static void print_extent(const struct img_args *a, const struct extent *e, bool first) {
  if (!e->length)
    return;
  if (a->json)
    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s}",
           first ? "" : ",\n", e->start, e->length, e->depth,
           e->state == BLOCK_STATE_UNALLOCATED ? "false" : "true",
           e->state == BLOCK_STATE_DATA ? "false" : "true", e->state == BLOCK_STATE_DATA ? "true" : "false");
  else if (e->state == BLOCK_STATE_DATA)
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%u\n", e->start, e->length, e->depth);
}

int img_map(const struct img_args *a) {
  if (one_file(a))
    return 1;
  struct block *b = img_open(a, a->word[0], a->f, 0);
  if (!b)
    return 1;
  struct extent e = {0};
  bool first = true;
  printf("%s", a->json ? "[" : "Offset          Length          Depth\n");
  for (uint64_t at = 0, n; at < block_size(b); at += n) {
    unsigned depth;
    int state = block_map(b, at, block_size(b) - at, &n, &depth);
    if (state < 0) {
      img_error(a, "Could not read file metadata: %s", strerror(-state));
      block_close(b);
      return 1;
    }
    if (e.length && (int)e.state == state && e.depth == depth) {
      e.length += n;
      continue;
    }
    print_extent(a, &e, first);
    first &= !e.length;
    e = (struct extent){at, n, state, depth};
  }
  print_extent(a, &e, first);
  printf("%s", a->json ? "]\n" : "");
  block_close(b);
  return 0;
}

/* --- check -------------------------------------------------------------------------------------------- */

static void check_text(const struct block_check *c) {
  if (c->corruptions_fixed || c->leaks_fixed)
    printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
           " leaked clusters\n    %" PRIu64 " corruptions\n\n",
           c->leaks_fixed, c->corruptions_fixed);
  if (!c->corruptions && !c->leaks && !c->errors)
    printf("No errors were found on the image.\n");
  if (c->corruptions)
    printf("\n%" PRIu64
           " errors were found on the image.\nData may be corrupted, or further writes to the image may "
           "corrupt it.\n",
           c->corruptions);
  if (c->leaks)
    printf("\n%" PRIu64
           " leaked clusters were found on the image.\nThis means waste of disk space, but no harm to "
           "data.\n",
           c->leaks);
  if (c->errors)
    printf("\n%" PRIu64 " internal errors have occurred during the check.\n", c->errors);
  if (c->clusters)
    printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
           c->allocated, c->clusters, (double)c->allocated * 100 / (double)c->clusters,
           c->allocated ? (double)c->fragmented * 100 / (double)c->allocated : 0,
           c->allocated ? (double)c->compressed * 100 / (double)c->allocated : 0);
  if (c->image_end)
    printf("Image end offset: %" PRIu64 "\n", c->image_end);
}

static void check_json(const struct img_args *a, const char *format, const struct block_check *c) {
  const struct {
    const char *key;
    uint64_t n;
  } optional[] = {
      {"image-end-offset", c->image_end},
      {"total-clusters", c->clusters},
      {"allocated-clusters", c->allocated},
      {"fragmented-clusters", c->fragmented},
      {"compressed-clusters", c->compressed},
      {"corruptions", c->corruptions},
      {"leaks", c->leaks},
      {"corruptions-fixed", c->corruptions_fixed},
      {"leaks-fixed", c->leaks_fixed},
  };
  printf("{\n    \"filename\": ");
  json_text(a->word[0]);
  printf(",\n    \"format\": \"%s\",\n", format);
  for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
    if (optional[i].n)
      printf("    \"%s\": %" PRIu64 ",\n", optional[i].key, optional[i].n);
  printf("    \"check-errors\": %" PRIu64 "\n}\n", c->errors);
}

/* 0 good, 1 could not be checked, 2 damaged, 3 leaks, 63 nothing to check in this format. */
int img_check(const struct img_args *a) {
  enum block_repair repair = BLOCK_REPAIR_NONE;
  if (one_file(a))
    return 1;
  if (a->r && strcmp(a->r, "leaks") && strcmp(a->r, "all"))
    return img_error(a, "--repair expects 'leaks' or 'all' but got '%s'", a->r);
  if (a->r)
    repair = !strcmp(a->r, "all") ? BLOCK_REPAIR_ALL : BLOCK_REPAIR_LEAKS;
  struct block *b = img_open(a, a->word[0], a->f, BLOCK_CHECK | BLOCK_NO_BACKING | (a->r ? BLOCK_WRITE : 0));
  struct block_check c = {.verbose = !a->quiet && !a->json};
  const char *error;
  if (!b)
    return 1;
  int result = block_check(b, &c, repair, &error);
  if (result) {
    img_error(a, "%s", error);
    block_close(b);
    return result == -ENOTSUP ? 63 : 1;
  }
  if (a->json)
    check_json(a, block_format_name(b), &c);
  else if (!a->quiet)
    check_text(&c);
  block_close(b);
  return c.corruptions ? 2 : c.leaks ? 3 : c.errors ? 1 : 0;
}

/* --- snapshot ----------------------------------------------------------------------------------------- */

int img_snapshot(const struct img_args *a) {
  static const enum block_snapshot_action actions[] = {[IMG_CREATE] = BLOCK_SNAPSHOT_CREATE,
                                                       [IMG_APPLY] = BLOCK_SNAPSHOT_APPLY,
                                                       [IMG_DELETE] = BLOCK_SNAPSHOT_DELETE};
  if (one_file(a))
    return 1;
  bool change = a->action > IMG_LIST;
  struct block *b = img_open(a, a->word[0], a->f, BLOCK_NO_BACKING | (change ? BLOCK_WRITE : 0));
  const char *error;
  int status = 0;
  if (!b)
    return 1;
  if (change && block_snapshot(b, actions[a->action], a->l, &error))
    status = img_error(a, "%s", error);
  if (!change) {
    int count;
    struct block_snapshot *list = load_snapshots(b, &count);
    if (count > 0)
      print_snapshots(list, count);
    free(list);
  }
  block_close(b);
  return status;
}
