/* SPDX-License-Identifier: MIT */
/*
 * dragoman test: runs the tests of scripts one after the other, each in a process of its own on a machine of
 * its own, and reports in TAP 13 (testanything.org). A test that takes its process down, or does not end, has
 * failed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/test/script.h"
#include "frontends/test/test.h"

#define LIST_MAX 256
#define HOST_SECONDS 600
#define PATIENCE 5 /* times the ceiling of CPU time may pass on the clock: hosts are loaded */

struct run {
  const char *script[LIST_MAX], *image[LIST_MAX], *dir[LIST_MAX], *option[LIST_MAX];
  unsigned scripts, images, dirs, options;
  const char *output;
  bool keep, update;
  unsigned host_seconds;
  unsigned number, passed, failed, skipped;
};

static const char usage[] =
    "Usage: dragoman test [option]... SCRIPT.lua...\n\n"
    "  --image FILE     run every test with this image in the drive that the script means for it; may be "
    "repeated\n"
    "  --update         wait_screen accepts what it sees: pictures are written anew\n"
    "  --keep DIR       pictures and logs go there, also of tests that pass [dragoman-test, of those that "
    "fail]\n"
    "  --path DIR       scripts may read files there too; may be repeated\n"
    "  --cpu, --accel, --memory VALUE\n"
    "                   instead of what the script says\n"
    "  --host-timeout S ceiling for each test, in seconds of the host's CPU time [600]\n"
    "  --list           print the names of the tests\n"
    "  --help           this text\n";

/* --- reporting --- */

static void put_quoted(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\')
      fprintf(out, "\\%c", *text);
    else if (*text == '\n')
      fputs("\\n", out);
    else if ((unsigned char)*text < 0x20 || *text == 0x7f)
      fprintf(out, "\\x%02x", (unsigned char)*text);
    else
      fputc(*text, out);
  }
  fputc('"', out);
}

static void put_block(FILE *out, const char *key, const char *text) {
  fprintf(out, "  %s: |\n", key);
  while (*text) {
    size_t n = strcspn(text, "\n");
    fprintf(out, "    %.*s\n", (int)n, text);
    text += n + (text[n] == '\n');
  }
}

static void put_line(FILE *out, unsigned number, const char *name, const struct script_result *r) {
  fprintf(out, "%sok %u - %s", r->verdict == VERDICT_FAIL ? "not " : "", number, name);
  if (r->verdict == VERDICT_SKIP)
    fprintf(out, " # SKIP %s", r->message);
  fputc('\n', out);
  if (r->verdict == VERDICT_SKIP)
    return;
  fprintf(out, "  ---\n");
  if (r->verdict == VERDICT_FAIL) {
    fprintf(out, "  message: ");
    put_quoted(out, r->message);
    fputc('\n', out);
    if (r->line)
      fprintf(out, "  at: %s:%d\n", r->file, r->line);
    if (r->trace[0])
      put_block(out, "trace", r->trace);
  }
  fprintf(out, "  guest_time: %.6f\n  instructions: %llu\n  host_seconds: %.2f\n", (double)r->time / 1e9,
          (unsigned long long)r->icount, r->host_seconds);
}

/* --- one test, in the child --- */

static int run_test(struct script *s, unsigned test, unsigned number, const char *name, bool keep,
                    const char *files, FILE *out) {
  struct script_result r;
  script_set_log(s, out);
  bool ready = script_setup(s, &r);
  double setup_seconds = r.host_seconds;
  if (ready) {
    script_result_free(&r);
    script_run(s, test, &r);
    r.host_seconds += setup_seconds;
  }
  put_line(out, number, name, &r);
  if (r.screen)
    put_block(out, "screen", r.screen);
  if (script_machine(s) && (keep || r.verdict == VERDICT_FAIL)) {
    int error = script_save(s);
    if (error)
      fprintf(out, "  files: \"cannot be written: %s\"\n", strerror(-error));
    else
      fprintf(out, "  files: %s\n", files);
  }
  if (r.verdict != VERDICT_SKIP)
    fprintf(out, "  ...\n");
  int status = r.verdict == VERDICT_PASS ? 0 : r.verdict == VERDICT_SKIP ? 3 : 1;
  script_result_free(&r);
  script_close(s);
  return fclose(out) ? 1 : status;
}

/* --- the parent --- */

static int64_t host_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Pass on what the child writes until it closes the pipe. False: it did not within the time. */
static bool pass_on(int fd, int64_t end) {
  char buf[4096];
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t left = end - host_ms();
    int ready = left > 0 ? poll(&p, 1, left < 1000 ? (int)left : 1000) : 0;
    if (ready == 0 && left <= 0)
      return false;
    if (ready <= 0)
      continue;
    ssize_t n = read(fd, buf, sizeof buf);
    if (n == 0)
      return true;
    if (n > 0)
      fwrite(buf, 1, (size_t)n, stdout);
  }
}

static void report_loss(struct run *run, const char *name, const char *why) {
  printf("not ok %u - %s\n  ---\n  message: \"%s\"\n  ...\n", run->number, name, why);
}

static void fork_test(struct run *run, struct script *s, unsigned test, const char *name, const char *files) {
  int fd[2], status = 0;
  char why[160];
  run->number++;
  fflush(stdout);
  pid_t child = pipe(fd) == 0 ? fork() : -1;
  if (child < 0) {
    snprintf(why, sizeof why, "no process can be made: %s", strerror(errno));
    report_loss(run, name, why);
    run->failed++;
    return;
  }
  if (child == 0) {
    close(fd[0]);
    FILE *out = fdopen(fd[1], "w");
    _exit(out ? run_test(s, test, run->number, name, run->keep, files, out) : 1);
  }
  close(fd[1]);
  bool ended = pass_on(fd[0], host_ms() + (int64_t)run->host_seconds * 2 * PATIENCE * 1000 + 30000);
  close(fd[0]);
  if (!ended)
    kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  if (!ended || !WIFEXITED(status)) {
    snprintf(why, sizeof why,
             ended ? "the emulator crashed: %s" : "the emulator did not end and was killed%s",
             ended ? strsignal(WTERMSIG(status)) : "");
    report_loss(run, name, why);
    run->failed++;
  } else if (WEXITSTATUS(status) == 0) {
    run->passed++;
  } else if (WEXITSTATUS(status) == 3) {
    run->skipped++;
  } else {
    run->failed++;
  }
}

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* A name for files: letters, digits, dashes. */
static void file_name(char *out, size_t size, const char *script, const char *image, const char *test) {
  snprintf(out, size, "%.*s-%s%s%s", (int)strcspn(script, "."), script, test, image ? "-" : "",
           image ? image : "");
  for (char *p = out; *p; p++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
      *p = '-';
}

/* Load a script; NULL with a message on standard error. */
static struct script *load(const struct run *run, const char *path, const char *image) {
  char error[4096];
  struct script_config config = {
      .path = path,
      .dirs = run->dir,
      .dir_count = run->dirs,
      .image = image,
      .options = run->option,
      .option_count = run->options,
      .output = run->output,
      .update = run->update,
      .host_seconds = run->host_seconds,
  };
  struct script *s = script_load(&config, error, sizeof error);
  if (!s)
    error_report("%s", error);
  return s;
}

static int run_script(struct run *run, const char *path, const char *image) {
  struct script *s = load(run, path, image);
  if (!s)
    return -1;
  for (unsigned i = 0; i < script_test_count(s); i++) {
    char name[512], files[400], where[4600];
    const char *test = script_test_name(s, i);
    snprintf(name, sizeof name, "%s: %s%s%s%s", last_part(path), test, image ? " [" : "",
             image ? last_part(image) : "", image ? "]" : "");
    file_name(files, sizeof files, last_part(path), image ? last_part(image) : NULL, test);
    snprintf(where, sizeof where, "%s/%s*", run->output, files);
    script_set_output(s, run->output, files);
    fork_test(run, s, i, name, where);
  }
  script_close(s);
  return 0;
}

static int list_tests(const struct run *run) {
  int status = 0;
  for (unsigned i = 0; i < run->scripts; i++) {
    struct script *s = load(run, run->script[i], NULL);
    for (unsigned k = 0; s && k < script_test_count(s); k++)
      printf("%s: %s\n", last_part(run->script[i]), script_test_name(s, k));
    status |= s ? 0 : 2;
    script_close(s);
  }
  return status;
}

static unsigned count_tests(const struct run *run, bool *broken) {
  unsigned count = 0;
  for (unsigned i = 0; i < run->scripts; i++) {
    struct script *s = load(run, run->script[i], NULL);
    *broken |= !s;
    count += s ? script_test_count(s) : 0;
    script_close(s);
  }
  return count * (run->images ? run->images : 1);
}

static int run_all(struct run *run) {
  bool broken = false;
  unsigned count = count_tests(run, &broken);
  if (broken)
    return 2;
  printf("TAP version 13\n1..%u\n", count);
  for (unsigned i = 0; i < run->scripts; i++)
    for (unsigned k = 0; k < (run->images ? run->images : 1); k++)
      if (run_script(run, run->script[i], run->images ? run->image[k] : NULL) < 0)
        return 2;
  printf("# %u passed, %u failed, %u skipped\n", run->passed, run->failed, run->skipped);
  return fflush(stdout) || run->failed ? 1 : 0;
}

/* --- the command line --- */

static bool add(const char **list, unsigned *count, const char *value) {
  if (*count == LIST_MAX)
    return false;
  list[(*count)++] = value;
  return true;
}

/* -1: wrong; 0: run; 1: list; 2: done. */
static int parse(struct run *run, int argc, char **argv) {
  static const struct {
    const char *name, *option;
  } machine[] = {{"--cpu", "-cpu"}, {"--accel", "-accel"}, {"--memory", "-m"}};
  int action = 0;
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    const char *option = NULL;
    if (word[0] != '-') {
      if (!add(run->script, &run->scripts, word))
        return -1;
      continue;
    }
    if (!strcmp(word, "--update") || !strcmp(word, "--list")) {
      run->update |= word[2] == 'u';
      action |= word[2] == 'l';
      continue;
    }
    if (!strcmp(word, "--help")) {
      fputs(usage, stdout);
      return 2;
    }
    for (size_t k = 0; k < sizeof machine / sizeof machine[0]; k++)
      if (!strcmp(word, machine[k].name))
        option = machine[k].option;
    bool known = option || !strcmp(word, "--image") || !strcmp(word, "--keep") || !strcmp(word, "--path") ||
                 !strcmp(word, "--host-timeout");
    if (!known || !value) {
      error_report("test: %s: %s; 'dragoman test --help' lists all", word,
                   known ? "needs a value" : "unknown option");
      return -1;
    }
    i++;
    bool room = true;
    if (option)
      room = add(run->option, &run->options, option) && add(run->option, &run->options, value);
    else if (!strcmp(word, "--image"))
      room = add(run->image, &run->images, value);
    else if (!strcmp(word, "--path"))
      room = add(run->dir, &run->dirs, value);
    else if (!strcmp(word, "--keep"))
      run->output = value, run->keep = true;
    else
      run->host_seconds = (unsigned)strtoul(value, NULL, 10);
    if (!room || !run->host_seconds) {
      error_report("test: %s: %s", word, room ? "wants seconds" : "too often");
      return -1;
    }
  }
  if (!run->scripts) {
    error_report("test: which script? 'dragoman test --help' lists the options");
    return -1;
  }
  return action;
}

int test_command(int argc, char **argv) {
  struct run *run = calloc(1, sizeof *run);
  if (!run)
    return 2;
  run->output = "dragoman-test";
  run->host_seconds = HOST_SECONDS;
  int action = parse(run, argc, argv);
  int status = action < 0 ? 2 : action == 2 ? 0 : action == 1 ? list_tests(run) : run_all(run);
  free(run);
  return status;
}
