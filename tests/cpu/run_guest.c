/* SPDX-License-Identifier: MIT */
/*
 * Runs guest programs on a bare CPU with 16 MB of RAM and compares what they print with the lines that start
 * with ";= " in their source. Usage: run-guest ENGINE (SOURCE BINARY)...
 *
 * A program is loaded at 8000h and entered there in real mode with CS = DS = ES = SS = 0, SP = 7000h.
 * Ports: E0h prints a character, E4h a number in hexadecimal (as wide as the access) and a space,
 * E8h raises INTR with the vector written, E9h pulses NMI, EAh sets the A20 line, EBh stores a byte by DMA at
 * the address in ECh; FERR# raises INTR with vector 75h and F0h asserts IGNNE#, as on the PC/AT; F4h ends the
 * run. Triple fault and HLT without a wake-up end it too and print "shutdown" and "halt".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/segment.h"
#include "translate/translate.h"

#define LOAD 0x8000u
#define INSN_LIMIT 20000000ull
#define SHOWN 200u /* characters of a wrong line */

struct run {
  struct machine *machine;
  char out[16384];
  size_t length;
  int vector;
  uint32_t dma;
  bool done;
};

static void print(struct run *r, const char *text) {
  size_t n = strlen(text);
  if (r->length + n < sizeof r->out) {
    memcpy(r->out + r->length, text, n + 1);
    r->length += n;
  }
}

static void port_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct run *r = opaque;
  struct cpu *cpu = r->machine->cpu[0];
  char text[16] = "";
  switch (offset) {
  case 0: text[0] = (char)value; break;
  case 4: snprintf(text, sizeof text, "%0*x ", size * 2, value); break;
  case 8:
    r->vector = (int)(value & 0xff);
    cpu_set_intr(cpu, true);
    break;
  case 9: cpu_pulse_nmi(cpu); break;
  case 10: control_set_a20(cpu, value & 1); break;
  case 11: mem_dma_write(r->machine->mem, r->dma, &value, 1); break;
  case 12: r->dma = value; break;
  case 16: cpu->ignne = cpu->ferr; break;
  case 0x14:
    r->done = true;
    __atomic_or_fetch(&cpu->pending, PEND_EXIT, __ATOMIC_SEQ_CST);
    break;
  }
  print(r, text);
}

static uint32_t port_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)size;
  return 0xa0 + offset;
}

static const struct io_ops ports = {.read = port_read, .write = port_write, .max_size = 4};

static int acknowledge(void *opaque) {
  struct run *r = opaque;
  cpu_set_intr(r->machine->cpu[0], false);
  return r->vector;
}

static void ferr(struct cpu *cpu, int level) {
  struct run *r = cpu->intr_ack_opaque;
  if (!level)
    return;
  r->vector = 0x75;
  cpu_set_intr(cpu, true);
}

static bool load(struct machine *m, const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f)
    return false;
  size_t n = fread(m->ram->host + LOAD, 1, 0x60000, f);
  fclose(f);
  return n > 0;
}

static void execute(struct run *r) {
  struct machine *m = r->machine;
  struct cpu *cpu = m->cpu[0];
  for (int i = ES; i <= GS; i++)
    seg_load_real(cpu, i, 0);
  cpu->eip = cpu->next_eip = LOAD;
  cpu->gpr[ESP] = 0x7000;
  cpu->intr_ack = acknowledge;
  cpu->intr_ack_opaque = r;
  cpu->on_ferr = ferr;
  uint64_t idle = 0;
  while (!r->done) {
    uint64_t before = cpu_icount(cpu);
    cpu->icount_limit = before + 10000;
    m->config.engine->run(cpu);
    __atomic_and_fetch(&cpu->pending, ~PEND_EXIT, __ATOMIC_SEQ_CST);
    if (cpu->shutdown || (cpu->halted && !cpu_event_deliverable(cpu))) {
      print(r, cpu->shutdown ? "shutdown\n" : "halt\n");
      break;
    }
    idle = cpu_icount(cpu) == before ? idle + 1 : 0;
    if (cpu_icount(cpu) > INSN_LIMIT || idle > 100000) {
      print(r, "timeout\n");
      break;
    }
  }
}

/* The lines behind ";= " in the source. */
static bool expectation(const char *path, char *out, size_t size) {
  char line[256];
  FILE *f = fopen(path, "r");
  if (!f)
    return false;
  size_t length = 0;
  out[0] = 0;
  while (fgets(line, sizeof line, f))
    if (strncmp(line, ";= ", 3) == 0 && length < size)
      length += (size_t)snprintf(out + length, size - length, "%s", line + 3);
  fclose(f);
  return true;
}

static void show_difference(const char *want, const char *got) {
  int line = 1;
  while (*want || *got) {
    size_t a = strcspn(want, "\n"), b = strcspn(got, "\n");
    if (a != b || memcmp(want, got, a) != 0)
      printf("  line %d: expected \"%.*s\", got \"%.*s\"\n", line, (int)a, want, (int)(b < SHOWN ? b : SHOWN), got);
    want += a + (want[a] != 0);
    got += b + (got[b] != 0);
    line++;
  }
}

static const char *engine_options;

static bool run_one(const struct engine *engine, const char *source, const char *binary) {
  static char want[16384];
  struct machine_config config = {.ram_mb = 16, .cpu_model = cpu_model_find("max"), .engine = engine,
                                  .engine_options = engine_options, .counted = true};
  struct run *r = calloc(1, sizeof *r);
  if (!r)
    return false;
  r->machine = machine_new(&config);
  if (!r->machine) {
    free(r);
    return false;
  }
  mem_map_ram(r->machine->mem, 0, 16 << 20, r->machine->ram, 0);
  bool ok = false;
  if (io_map(r->machine->io, 0xe0, 0x18, &ports, r, "test") == 0 && load(r->machine, binary) &&
      expectation(source, want, sizeof want)) {
    execute(r);
    /* Spaces before a line's end do not count. */
    char *to = r->out;
    for (const char *from = r->out; *from; from++) {
      if (*from == '\n')
        while (to > r->out && to[-1] == ' ')
          to--;
      *to++ = *from;
    }
    *to = 0;
    ok = strcmp(want, r->out) == 0;
    if (!ok) {
      printf("%s with %s:\n", source, engine->name);
      show_difference(want, r->out);
    }
  }
  machine_free(r->machine);
  free(r);
  return ok;
}

int main(int argc, char **argv) {
  int passed = 0, failed = 0;
  const struct engine *engine = argc > 1 ? engine_find(argv[1], &engine_options) : NULL;
  if (!engine) {
    fprintf(stderr, "Usage: run_guest ENGINE[,OPTIONS] SOURCE BINARY...\n");
    return EXIT_FAILURE;
  }
  for (int i = 2; i + 1 < argc; i += 2) {
    if (run_one(engine, argv[i], argv[i + 1]))
      passed++;
    else
      failed++;
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
