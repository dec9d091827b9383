/* SPDX-License-Identifier: MIT */
/*
 * Which tests cover which forms of the instruction table's rows (cover.h).
 *
 *   cover-report [-a] CLASS=FILE...
 *
 * -a lists every form with its test classes; without it, only what no class covers. A form is covered when it
 * has been executed without a fault, or, of rows that always fault, has been executed at all. The last line
 * counts: passed are the forms that are covered. A form that faults wherever it can be executed in its class
 * says "(faults)".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cpu/cover.h"

#define CLASSES 16u

static const char *const insn_names[INSN_COUNT] = {
#define I(id, ...) [INSN_##id] = #id,
#include "core/insn.def"
#undef I
};

struct test_class {
  const char *name;
  unsigned name_length, forms;
  uint8_t hits[COVER_SIZE];
};
static struct test_class classes[CLASSES];
static unsigned class_count;

static bool load_class(char *argument) {
  char *equals = strchr(argument, '=');
  if (!equals || class_count == CLASSES)
    return false;
  struct test_class *c = &classes[class_count++];
  c->name = argument;
  c->name_length = (unsigned)(equals - argument);
  FILE *f = fopen(equals + 1, "rb");
  if (!f || fread(c->hits, 1, COVER_SIZE, f) != COVER_SIZE) {
    perror(equals + 1);
    return false;
  }
  fclose(f);
  return true;
}

static bool always_faults(unsigned id) {
  return id == INSN_UD0_Gv_Ev || id == INSN_UD1_Gv_Ev || id == INSN_UD2 || id == INSN_RSM;
}

static bool report_form(unsigned id, unsigned form, bool all) {
  uint8_t wanted = always_faults(id) ? COVER_FETCHED : COVER_RETIRED, seen = 0;
  for (unsigned i = 0; i < class_count; i++) {
    uint8_t hit = classes[i].hits[id * FORMS + form];
    classes[i].forms += (hit & wanted) != 0;
    seen |= hit;
  }
  bool covered = seen & wanted;
  if (covered && !all)
    return true;
  printf("%s %-24s %-48s", covered ? " " : "-", insn_names[id], form_name(id, form));
  for (unsigned i = 0; i < class_count; i++) {
    uint8_t hit = classes[i].hits[id * FORMS + form];
    if (hit)
      printf(" %.*s%s", (int)classes[i].name_length, classes[i].name, hit & wanted ? "" : "(faults)");
  }
  printf("\n");
  return covered;
}

int main(int argc, char **argv) {
  bool all = argc > 1 && strcmp(argv[1], "-a") == 0;
  unsigned covered = 0, missing = 0, forms = 0;
  for (int i = 1 + all; i < argc; i++)
    if (!load_class(argv[i])) {
      fprintf(stderr, "usage: %s [-a] CLASS=FILE...\n", argv[0]);
      return 2;
    }
  for (unsigned id = 0; id < INSN_COUNT; id++) {
    for (unsigned form = 0; form < FORMS; form++) {
      if (!row_has_form(id, form))
        continue;
      forms++;
      if (report_form(id, form, all))
        covered++;
      else
        missing++;
    }
  }
  printf("%u rows, %u forms", INSN_COUNT, forms);
  for (unsigned i = 0; i < class_count; i++)
    printf(", %.*s %u", (int)classes[i].name_length, classes[i].name, classes[i].forms);
  printf("\n%u passed, %u failed\n", covered, missing);
  return missing != 0;
}
