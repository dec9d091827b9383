/* SPDX-License-Identifier: MIT */
/*
 * Reports: TAP version 13 with YAML blocks (testanything.org), JUnit's XML as CI systems read it, JSON with
 * what can be compared between runs (instructions, hashes of screens).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "frontends/test/escape.h"
#include "frontends/test/runner.h"

/* --- TAP ---------------------------------------------------------------------------------------------- */

void report_tap_begin(const struct run *run, FILE *out) {
  fprintf(out, "TAP version 13\n1..%u\n", run->tests);
}

void report_tap_test(const struct run *run, unsigned i, FILE *out) {
  const struct run_test *t = &run->test[i];
  const struct script_result *r = &t->outcome.result;
  if (t->outcome.log)
    fputs(t->outcome.log, out);
  fprintf(out, "%sok %u - %s", r->verdict == VERDICT_FAIL ? "not " : "", i + 1, t->full_name);
  if (r->verdict == VERDICT_SKIP)
    fprintf(out, " # SKIP %.*s", (int)strcspn(r->message, "\n"), r->message);
  fputc('\n', out);
  if (r->verdict == VERDICT_SKIP)
    return;
  fprintf(out, "  ---\n");
  if (r->verdict == VERDICT_FAIL) {
    fprintf(out, "  message: ");
    escape_yaml(out, r->message);
    fputc('\n', out);
    if (r->line)
      fprintf(out, "  at: %s:%d\n", r->file, r->line);
    if (r->trace[0]) {
      fprintf(out, "  trace: |\n");
      escape_block(out, r->trace, 4);
    }
    if (r->crash.kind != CRASH_NONE) {
      fprintf(out, "  crash: ");
      crash_write_json(&r->crash, out); /* which is YAML, too */
      fputc('\n', out);
    }
  }
  fprintf(out, "  guest_time: %.6f\n  instructions: %" PRIu64 "\n  host_seconds: %.2f\n",
          (double)r->time / 1e9, r->icount, r->host_seconds);
  if (t->attempts > 1)
    fprintf(out, "  attempts: %u\n", t->attempts);
  if (r->verdict == VERDICT_FAIL && r->screen && r->screen[0]) {
    fprintf(out, "  screen: |\n");
    escape_block(out, r->screen, 4);
  }
  if (t->kept)
    fprintf(out, "  files: %s/%s\n", run->options.output, t->files);
  fprintf(out, "  ...\n");
}

void report_tap_end(const struct run *run, FILE *out) {
  if (run->note[0])
    fprintf(out, "# sandbox: %s\n", run->note);
  fprintf(out, "# %u passed, %u failed, %u skipped\n", run->passed, run->failed, run->skipped);
  if (run->flaky)
    fprintf(out, "# %u of those that passed did so only when repeated\n", run->flaky);
}

/* --- JUnit -------------------------------------------------------------------------------------------- */

static void put_attribute(FILE *out, const char *name, const char *value) {
  fprintf(out, " %s=\"", name);
  escape_xml(out, value);
  fputc('"', out);
}

static void put_case(const struct run *run, const struct run_test *t, FILE *out) {
  const struct script_result *r = &t->outcome.result;
  fprintf(out, "    <testcase");
  put_attribute(out, "classname", t->cell->label);
  put_attribute(out, "name", t->name);
  fprintf(out, " time=\"%.3f\">\n", r->host_seconds);
  if (r->verdict == VERDICT_SKIP) {
    fprintf(out, "      <skipped");
    put_attribute(out, "message", r->message);
    fprintf(out, "/>\n");
  } else if (r->verdict == VERDICT_FAIL) {
    fprintf(out, "      <failure");
    put_attribute(out, "message", r->message);
    put_attribute(out, "type", r->crash.kind != CRASH_NONE ? crash_kind_name(r->crash.kind) : "check");
    fputc('>', out);
    if (r->line) {
      escape_xml(out, r->file);
      fprintf(out, ":%d\n", r->line);
    }
    escape_xml(out, r->trace);
    if (r->screen && r->screen[0]) {
      fprintf(out, "\n--- the screen ---\n");
      escape_xml(out, r->screen);
    }
    fprintf(out, "</failure>\n");
  }
  if (t->outcome.log || t->kept) {
    fprintf(out, "      <system-out>");
    if (t->outcome.log)
      escape_xml(out, t->outcome.log);
    if (t->kept) { /* as Jenkins' and GitLab's readers know it */
      fprintf(out, "[[ATTACHMENT|");
      escape_xml(out, run->output);
      fputc('/', out);
      escape_xml(out, t->files);
      fprintf(out, "/screen.png]]");
    }
    fprintf(out, "</system-out>\n");
  }
  fprintf(out, "    </testcase>\n");
}

static void put_suite(const struct run *run, const struct cell *c, FILE *out) {
  unsigned failed = 0, skipped = 0;
  double seconds = 0;
  for (unsigned i = c->first; i < c->first + c->count; i++) {
    const struct script_result *r = &run->test[i].outcome.result;
    failed += r->verdict == VERDICT_FAIL;
    skipped += r->verdict == VERDICT_SKIP;
    seconds += r->host_seconds;
  }
  fprintf(out, "  <testsuite");
  put_attribute(out, "name", c->label);
  fprintf(out, " tests=\"%u\" failures=\"%u\" errors=\"0\" skipped=\"%u\" time=\"%.3f\">\n", c->count, failed,
          skipped, seconds);
  for (unsigned i = c->first; i < c->first + c->count; i++)
    put_case(run, &run->test[i], out);
  fprintf(out, "  </testsuite>\n");
}

static int close_file(FILE *out) {
  bool bad = ferror(out);
  return fclose(out) || bad ? -EIO : 0;
}

int report_junit(const struct run *run, const char *path) {
  FILE *out = fopen(path, "w");
  if (!out)
    return -errno;
  fprintf(
      out,
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%u\" failures=\"%u\" errors=\"0\">\n",
      run->tests, run->failed);
  for (unsigned i = 0; i < run->cells; i++)
    if (run->cell[i].count)
      put_suite(run, &run->cell[i], out);
  fprintf(out, "</testsuites>\n");
  return close_file(out);
}

/* --- JSON --------------------------------------------------------------------------------------------- */

static void put_string(FILE *out, const char *key, const char *value) {
  fprintf(out, ", \"%s\": ", key);
  escape_json(out, value);
}

static void put_test(const struct run *run, const struct run_test *t, FILE *out) {
  static const char *const verdicts[] = {
      [VERDICT_PASS] = "pass", [VERDICT_FAIL] = "fail", [VERDICT_SKIP] = "skip"};
  const struct script_result *r = &t->outcome.result;
  fprintf(out, "    {\"name\": ");
  escape_json(out, t->full_name);
  put_string(out, "script", t->cell->script);
  put_string(out, "test", t->name);
  if (t->cell->image)
    put_string(out, "image", t->cell->image);
  if (t->cell->cpu)
    put_string(out, "cpu", t->cell->cpu);
  put_string(out, "verdict", verdicts[r->verdict]);
  if (r->verdict != VERDICT_PASS)
    put_string(out, "message", r->message);
  if (r->line) {
    put_string(out, "file", r->file);
    fprintf(out, ", \"line\": %d", r->line);
  }
  fprintf(out,
          ", \"guest_seconds\": %.9f, \"instructions\": %" PRIu64 ", \"screen_hash\": \"%016" PRIx64 "\"",
          (double)r->time / 1e9, r->icount, t->outcome.screen_hash);
  fprintf(out, ", \"host_seconds\": %.3f, \"fork_ms\": %.2f, \"fork_cpu_ms\": %.2f, \"attempts\": %u",
          r->host_seconds, t->outcome.fork_ms, t->outcome.fork_cpu_ms, t->attempts);
  if (r->crash.kind != CRASH_NONE) {
    fprintf(out, ", \"crash\": ");
    crash_write_json(&r->crash, out);
  }
  if (t->kept) {
    char path[2 * RUN_PATH];
    snprintf(path, sizeof path, "%s/%s", run->options.output, t->files);
    put_string(out, "files", path);
  }
  fputc('}', out);
}

int report_json(const struct run *run, const char *path) {
  FILE *out = fopen(path, "w");
  if (!out)
    return -errno;
  fprintf(
      out,
      "{\n  \"version\": 1,\n  \"passed\": %u,\n  \"failed\": %u,\n  \"skipped\": %u,\n  \"flaky\": %u,\n",
      run->passed, run->failed, run->skipped, run->flaky);
  fprintf(out, "  \"host_seconds\": %.3f,\n", (double)(run_clock_ms() - run->begin) / 1e3);
  if (run->note[0]) {
    fprintf(out, "  \"sandbox\": ");
    escape_json(out, run->note);
    fprintf(out, ",\n");
  }
  fprintf(out, "  \"tests\": [\n");
  for (unsigned i = 0; i < run->tests; i++) {
    put_test(run, &run->test[i], out);
    fprintf(out, "%s\n", i + 1 < run->tests ? "," : "");
  }
  fprintf(out, "  ]\n}\n");
  return close_file(out);
}
