/* SPDX-License-Identifier: MIT */
/* dragoman test: its command line, filters, escapes of its reports, guests that have crashed and that have
 * not, sandbox. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "frontends/test/crash.h"
#include "frontends/test/escape.h"
#include "frontends/test/history.h"
#include "frontends/test/runner.h"
#include "frontends/test/sandbox.h"

/* --- the command line --------------------------------------------------------------------------------- */

static struct run_options options;
static char error[1024];

static enum run_action parse(const char *line) {
  static char copy[1024];
  char *word[64], *rest = copy;
  int count = 0;
  snprintf(copy, sizeof copy, "%s", line);
  while (rest && *rest && count < 64)
    word[count++] = strsep(&rest, " ");
  error[0] = '\0';
  return run_parse(&options, count, word, error, sizeof error);
}

START_TEST(command_line) {
  ck_assert_int_eq(parse("a.lua"), RUN_TESTS_NOW);
  ck_assert(options.sandbox && !options.keep && options.jobs == 1 && options.retries == 0);
  ck_assert_str_eq(options.output, "dragoman-test");
  ck_assert_int_eq(parse("-j 4 --image x.img --image y.img --cpu 486 --cpu=pentium a.lua b.lua"),
                   RUN_TESTS_NOW);
  ck_assert_uint_eq(options.jobs, 4);
  ck_assert_uint_eq(options.images, 2);
  ck_assert_str_eq(options.image[1], "y.img");
  ck_assert_uint_eq(options.cpus, 2);
  ck_assert_str_eq(options.cpu[1], "pentium");
  ck_assert_uint_eq(options.scripts, 2);
  ck_assert_int_eq(
      parse("-j8 --retries 2 --timeout 30 --output out --no-sandbox --junit=j.xml --json j.json a.lua"),
      RUN_TESTS_NOW);
  ck_assert(options.jobs == 8 && options.retries == 2 && options.host_seconds == 30 && options.keep);
  ck_assert(!options.sandbox && !strcmp(options.output, "out") && !strcmp(options.junit, "j.xml"));
  ck_assert_str_eq(options.json, "j.json");
  ck_assert_int_eq(parse("--accel interp --memory 8 a.lua"), RUN_TESTS_NOW);
  ck_assert_uint_eq(options.options, 4);
  ck_assert_str_eq(options.option[2], "-m");
  ck_assert_int_eq(parse("--list a.lua"), RUN_LIST_ONLY);
  ck_assert_int_eq(parse("--help"), RUN_HELP);
  ck_assert_int_eq(parse("-- -a.lua"), RUN_TESTS_NOW);
  ck_assert_str_eq(options.script[0], "-a.lua");
}
END_TEST

START_TEST(wrong_command_lines) {
  static const struct {
    const char *line, *says;
  } cases[] = {
      {"", "which script"},
      {"--update", "which script"},
      {"--nonsense a.lua", "--nonsense: unknown option"},
      {"--nonsense=1 a.lua", "unknown option"},
      {"a.lua --image", "--image: needs a value"},
      {"-j 0 a.lua", "-j: wants a number from 1 to 256"},
      {"-j x a.lua", "wants a number"},
      {"-j -1 a.lua", "wants a number"},
      {"-j 257 a.lua", "wants a number"},
      {"--timeout 0 a.lua", "--timeout: wants seconds"},
      {"--retries 101 a.lua", "from 0 to 100"},
      {"--filter /[/ a.lua", "--filter /[/:"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    ck_assert_msg(parse(cases[i].line) == RUN_WRONG, "%s", cases[i].line);
    ck_assert_msg(strstr(error, cases[i].says) != NULL, "%s: %s", cases[i].line, error);
  }
}
END_TEST

START_TEST(filters) {
  const char *full = "pages.lua: text over a picture [disk.img, 486]", *name = "text over a picture";
  static const struct {
    const char *filter;
    bool wanted;
  } cases[] = {
      {"over", true},
      {"pages.lua", true},
      {"disk.img", true},
      {"Over", false},
      {"text*", true},
      {"*486]", true},
      {"*486\\]", true},
      {"pages*", true},
      {"picture*", false},
      {"/^pages/", true},
      {"/a (picture|sound)/", true},
      {"/^text/", false},
      {"/48[67]/", true},
      {"/", false},
      {"t?xt over*", true},
  };
  parse("a.lua");
  ck_assert(run_wanted(&options, full, name)); /* no filter */
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    options.filters = 1;
    options.filter[0] = cases[i].filter;
    ck_assert_msg(run_wanted(&options, full, name) == cases[i].wanted, "%s", cases[i].filter);
    options.filters = 2; /* any of them */
    options.filter[1] = "/picture/";
    ck_assert(run_wanted(&options, full, name));
  }
}
END_TEST

/* --- escapes ------------------------------------------------------------------------------------------ */

static const char *escaped(void (*escape)(FILE *, const char *), const char *text) {
  static char out[512];
  memset(out, 0, sizeof out);
  FILE *f = fmemopen(out, sizeof out - 1, "w");
  escape(f, text);
  fclose(f);
  return out;
}

START_TEST(escapes) {
  ck_assert_str_eq(escaped(escape_xml, "a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  ck_assert_str_eq(escaped(escape_xml, "x\ny\tz"), "x&#10;y&#9;z");
  ck_assert_str_eq(escaped(escape_xml, "\x1b[1m\x01"), "\xef\xbf\xbd[1m\xef\xbf\xbd");
  ck_assert_str_eq(escaped(escape_xml, "]]>"), "]]&gt;");
  ck_assert_str_eq(escaped(escape_xml, "\xc3\xa4 \xe2\x94\x80 \xf0\x9f\x90\x89"),
                   "\xc3\xa4 \xe2\x94\x80 \xf0\x9f\x90\x89");
  ck_assert_str_eq(escaped(escape_xml, "\xff\xc3"), "\xef\xbf\xbd\xef\xbf\xbd");
  ck_assert_str_eq(escaped(escape_xml, "\xc0\x80"), "\xef\xbf\xbd\xef\xbf\xbd"); /* too long a form */
  ck_assert_str_eq(escaped(escape_xml, "\xed\xa0\x80"),
                   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");              /* half a pair */
  ck_assert_str_eq(escaped(escape_xml, "\xef\xbf\xbf"), "\xef\xbf\xbd"); /* no character of XML */
  ck_assert_str_eq(escaped(escape_json, "a\"b\\c\nd\x01\x7f"), "\"a\\\"b\\\\c\\nd\\u0001\\u007f\"");
  ck_assert_str_eq(escaped(escape_json, "\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  ck_assert_str_eq(escaped(escape_yaml, "a\x1b\"\n"), "\"a\\x1b\\\"\\n\"");
}
END_TEST

/* --- crashes ------------------------------------------------------------------------------------------ */

static struct crash serial(const char *text) {
  struct crash c = {0};
  ck_assert_int_eq(crash_in_serial(text, strlen(text), &c), c.kind != CRASH_NONE);
  return c;
}

START_TEST(linux_crashes) {
  struct crash c = serial("[    3.141592] BUG: kernel NULL pointer dereference, address: 00000000\r\n"
                          "[    3.141593] #PF: supervisor write access in kernel mode\r\n"
                          "[    3.141594] Oops: 0002 [#1] PREEMPT SMP\r\n"
                          "[    3.141595] EIP: ext4_find_entry+0x12/0x340 [ext4]\r\n"
                          "[    3.141596] Kernel panic - not syncing: Fatal exception in interrupt\r\n");
  ck_assert_int_eq(c.kind, CRASH_PANIC);
  ck_assert_str_eq(c.module, "ext4:ext4_find_entry+0x12/0x340");
  ck_assert_ptr_ne(strstr(c.text, "Fatal exception in interrupt"), NULL);
  c = serial("Unable to handle kernel NULL pointer dereference at virtual address 00000004\n"
             "*pde = 00000000\nOops: 0000\nCPU:    0\nEIP:    0010:[<c0123456>]    Not tainted\n");
  ck_assert_int_eq(c.kind, CRASH_OOPS);
  ck_assert_uint_eq(c.eip, 0xc0123456);
  c = serial("<0>Kernel panic: VFS: Unable to mount root fs on 03:01\n");
  ck_assert_int_eq(c.kind, CRASH_PANIC);
  c = serial("general protection fault: 0000 [#1] SMP\nRIP: 0010:do_exit+0x1/0x2\n");
  ck_assert_int_eq(c.kind, CRASH_OOPS);
  ck_assert_str_eq(c.module, "do_exit+0x1/0x2");
  ck_assert_int_eq(serial("$ grep 'Kernel panic - not syncing' /var/log/messages\n").kind, CRASH_NONE);
  ck_assert_int_eq(serial("Kernel panicked once, long ago\nOops, wrong password\n").kind, CRASH_NONE);
  ck_assert_int_eq(serial("general protection fault: the book\n").kind, CRASH_NONE);
  ck_assert_int_eq(serial("[ 12.5] EIP: nothing happened\n").kind, CRASH_NONE);
  ck_assert_int_eq(serial("").kind, CRASH_NONE);
}
END_TEST

static struct crash text_screen(uint8_t attribute, const char *text) {
  static uint8_t cells[80 * 25], attributes[80 * 25];
  struct crash c = {0};
  memset(cells, ' ', sizeof cells);
  memset(attributes, attribute, sizeof attributes);
  for (int y = 8; *text; y++) {
    size_t n = strcspn(text, "\n");
    memcpy(cells + y * 80 + 3, text, n);
    text += n + (text[n] == '\n');
  }
  ck_assert_int_eq(crash_in_cells(cells, attributes, 80, 25, &c), c.kind != CRASH_NONE);
  return c;
}

START_TEST(windows_text_screens) {
  const char *text = "A fatal exception 0E has occurred at 0028:C00068F8 in VxD VMM(01) +\n"
                     "000058F8.  The current application will be terminated.";
  struct crash c = text_screen(0x1f, text);
  ck_assert_int_eq(c.kind, CRASH_BLUE_SCREEN);
  ck_assert_str_eq(c.module, "VMM");
  ck_assert(c.guest_says && c.cs == 0x28 && c.eip == 0xc00068f8);
  ck_assert_int_eq(text_screen(0x07, text).kind, CRASH_NONE); /* a text about it */
  ck_assert_int_eq(text_screen(0x1f, "Windows Setup is copying files\nF3=Exit").kind, CRASH_NONE);
  ck_assert_int_eq(text_screen(0x1f, "About: A fatal exception 0E has occurred at 0028:C0").kind, CRASH_NONE);
  c = text_screen(0x07, "While initializing device NDIS:\nWindows protection error.  You need to restart");
  ck_assert_int_eq(c.kind, CRASH_BLUE_SCREEN);
  c = text_screen(0x1f, "*** STOP: 0x0000000A (0x00000000,0x0000001A,0x00000000,0x80114738)\n"
                        "IRQL_NOT_LESS_OR_EQUAL*** Address 80114738 has base at 80100000 - ntoskrnl.exe");
  ck_assert_int_eq(c.kind, CRASH_STOP);
}
END_TEST

START_TEST(dos_crashes) {
  struct crash c = text_screen(0x07, "Invalid Opcode at 0F3C 0102 0206 0000");
  ck_assert_int_eq(c.kind, CRASH_DOS);
  c = text_screen(0x07, "JemmEx: exception 06 occured at CS:EIP=0133:00001FE2, ERRC=00000000");
  ck_assert_int_eq(c.kind, CRASH_DOS);
  ck_assert(c.guest_says && c.cs == 0x133 && c.eip == 0x1fe2);
  c = text_screen(0x07, "EMM386 has detected error #06 in an application at memory address 0CB5:0ABD.");
  ck_assert_int_eq(c.kind, CRASH_DOS);
  ck_assert(c.cs == 0xcb5 && c.eip == 0xabd);
  ck_assert_int_eq(text_screen(0x07, "C:\\>TYPE README\nInvalid Opcode at all times").kind, CRASH_NONE);
  ck_assert_int_eq(text_screen(0x07, "Invalid Opcode is a message\nJemmEx loaded").kind, CRASH_NONE);
}
END_TEST

/* --- pictures ----------------------------------------------------------------------------------------- */

static uint32_t pixels[640 * 480];
static struct surface picture = {.pixels = pixels, .width = 640, .height = 480, .stride = 640};

static void paint(uint32_t ground, uint32_t ink, int lines) {
  for (int i = 0; i < 640 * 480; i++)
    pixels[i] = ground;
  for (int y = 16; y < 16 + lines * 12; y++)
    for (int x = 8; x < 600; x += 3)
      if (y % 12 < 8)
        pixels[y * 640 + x] = ink;
}

START_TEST(stop_screens) {
  struct crash c = {0};
  paint(0x0000a8, 0xffffff, 14);
  ck_assert(crash_is_blue(&picture));
  ck_assert(crash_in_picture(&picture,
                             "*** STOP: 0x0000001E (0xC0000005,0xFBFE7617,0x00000000,0x00000000)\n"
                             "KMODE_EXCEPTION_NOT_HANDLED\n\n"
                             "*** Address FBFE7617 base at FBFE5000, DateStamp 3d6dd67c - spcmdcon.sys\n",
                             &c));
  ck_assert_int_eq(c.kind, CRASH_STOP);
  ck_assert_str_eq(c.module, "spcmdcon.sys");
  ck_assert(c.guest_says && c.eip == 0xfbfe7617);
  c = (struct crash){0};
  ck_assert(crash_in_picture(&picture,
                             "A problem has been detected and Windows has been shut down to prevent damage\n"
                             "The problem seems to be caused by the following file: SPCMDCON.SYS\n",
                             &c));
  ck_assert_str_eq(c.module, "SPCMDCON.SYS");
  c = (struct crash){0};
  ck_assert(crash_in_picture(&picture, NULL, &c)); /* by its colours */
  ck_assert_int_eq(c.kind, CRASH_STOP);
  c = (struct crash){0};
  ck_assert(
      !crash_in_picture(&picture, "Windows NT Setup. To continue, press ENTER. To leave it, press F3.", &c));
  paint(0x0000a8, 0xffffff, 0); /* nothing on it */
  ck_assert(!crash_in_picture(&picture, NULL, &c));
  paint(0x000000, 0xc0c0c0, 14); /* a console */
  ck_assert(!crash_is_blue(&picture));
  ck_assert(!crash_in_picture(&picture, "A problem has been detected and nothing is blue", &c));
  paint(0x0000a8, 0xffffff, 14);
  for (int i = 0; i < 6; i++) /* a desktop has icons */
    pixels[100 * 640 + i] = 0x100000u * (unsigned)(i + 1);
  ck_assert(!crash_is_blue(&picture));
  ck_assert(!crash_in_picture(&picture, NULL, &c));
}
END_TEST

START_TEST(dead_loops) {
  ck_assert(crash_is_dead_loop((const uint8_t *)"\xeb\xfe\x90\x90", 4, true, true));
  ck_assert(crash_is_dead_loop((const uint8_t *)"\xe9\xfd\xff\x90\x90", 5, false, true));
  ck_assert(!crash_is_dead_loop((const uint8_t *)"\xe9\xfd\xff\x90\x90", 5, true, true));
  ck_assert(
      !crash_is_dead_loop((const uint8_t *)"\x90\xeb\xfd\x90", 4, true, true)); /* an interrupt may come */
  ck_assert(crash_is_dead_loop((const uint8_t *)"\x90\xeb\xfd\x90", 4, true, false));
  ck_assert(!crash_is_dead_loop((const uint8_t *)"\xe4\x64\xa8\x01\x74\xfa", 6, true,
                                false));                                           /* waits for a device */
  ck_assert(!crash_is_dead_loop((const uint8_t *)"\xe2\xfe\x90", 3, true, false)); /* LOOP comes to its end */
}
END_TEST

START_TEST(crash_json) {
  struct crash c = {.kind = CRASH_PANIC,
                    .text = "a \"b\"\n",
                    .module = "m",
                    .cs = 0x60,
                    .eip = 0xc0100000,
                    .time = 1500000000,
                    .icount = 77};
  char out[512] = "";
  FILE *f = fmemopen(out, sizeof out - 1, "w");
  crash_write_json(&c, f);
  fclose(f);
  ck_assert_str_eq(
      out, "{\"kind\": \"panic\", \"text\": \"a \\\"b\\\"\\n\", \"module\": \"m\", \"cs\": \"0x0060\", "
           "\"eip\": \"0xc0100000\", \"eip_from\": \"cpu\", \"guest_seconds\": 1.500000, "
           "\"instructions\": 77}");
  for (int k = 1; k < CRASH_KINDS; k++)
    ck_assert_int_eq(crash_kind_from_name(crash_kind_name((enum crash_kind)k)), k);
  ck_assert_int_eq(crash_kind_from_name("nonsense"), CRASH_NONE);
}
END_TEST

START_TEST(contact_sheet) {
  static struct history h;
  char path[] = "/var/tmp/dragoman-history-XXXXXX";
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(history_write(&h, path), -ENOENT);
  for (int i = 0; i < 20; i++) {
    paint((uint32_t)i, (uint32_t)i, 0);
    history_add(&h, &picture);
  }
  ck_assert_uint_eq(h.count, HISTORY_SCREENS);
  for (unsigned i = 0; i < HISTORY_SCREENS; i++) /* the last ones, in order */
    ck_assert_uint_eq(h.picture[(h.first + i) % HISTORY_SCREENS][1234], 20 - HISTORY_SCREENS + i);
  uint8_t head[24];
  ck_assert_int_eq(history_write(&h, path), 0);
  int written = open(path, O_RDONLY);
  ck_assert_int_eq(read(written, head, sizeof head), sizeof head);
  ck_assert_int_eq(memcmp(head + 1, "PNG", 3), 0);
  ck_assert_uint_eq((unsigned)head[18] << 8 | head[19], 4 + 4 * (HISTORY_WIDTH + 4));
  close(written);
  close(fd);
  unlink(path);
  history_free(&h);
}
END_TEST

/* --- the sandbox -------------------------------------------------------------------------------------- */

#if CONFIG_SECCOMP && !CONFIG_SANITIZE
static bool refused(long result) { return result < 0 && (errno == EPERM || errno == EACCES); }

/* What a script or guest that has broken out would try. Returns the number of the first thing that went
 * wrong. */
static int try_to_escape(const char *dir, bool landlock) {
  char path[300];
  if (landlock && !refused(open("/etc/passwd", O_RDONLY)))
    return 1;
  if (landlock && !refused(open("/var/tmp/escaped", O_WRONLY | O_CREAT, 0600)))
    return 2;
  snprintf(path, sizeof path, "%s/../escaped", dir);
  if (landlock && !refused(open(path, O_WRONLY | O_CREAT, 0600)))
    return 3;
  snprintf(path, sizeof path, "%s/link", dir);
  if (symlink("/etc/passwd", path) == 0)
    return 4;
  if (!refused(socket(AF_UNIX, SOCK_STREAM, 0)) || !refused(socket(AF_INET, SOCK_STREAM, 0)))
    return 5;
  char *const words[] = {(char *)"true", NULL};
  if (!refused(execve("/bin/true", words, words)))
    return 6;
  if (!refused(kill(getppid(), 0)))
    return 7;
  snprintf(path, sizeof path, "%s/own", dir);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || write(fd, "x", 1) != 1 || rename(path, path))
    return 8;
  pid_t pid = fork(); /* a template may */
  if (pid == 0) {
    if (sandbox_enter_leaf(path, sizeof path) < 0)
      _exit(20);
    if (!refused(fork()))
      _exit(21);
    if (landlock && !refused(open("/etc/passwd", O_RDONLY)))
      _exit(22);
    _exit(lseek(fd, 0, SEEK_SET) == 0 && read(fd, path, 1) == 1 ? 0 : 23);
  }
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) != pid)
    return 9;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 10;
}

START_TEST(no_escape) {
  char dir[] = "/var/tmp/dragoman-sandbox-XXXXXX", path[300], note[200];
  ck_assert_ptr_ne(mkdtemp(dir), NULL);
  pid_t pid = fork();
  if (pid == 0) {
    static struct sandbox b;
    sandbox_allow(&b, dir, true);
    if (sandbox_enter(&b, note, sizeof note, error, sizeof error) < 0)
      _exit(99);
    _exit(try_to_escape(dir, !note[0]));
  }
  int status;
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
  ck_assert_int_eq(WEXITSTATUS(status), 0);
  snprintf(path, sizeof path, "%s/own", dir);
  unlink(path);
  rmdir(dir);
}
END_TEST
#endif

Suite *suite_runner(void);
Suite *suite_runner(void) {
  Suite *s = suite_create("runner");
  TCase *t = tcase_create("runner");
  tcase_add_test(t, command_line);
  tcase_add_test(t, wrong_command_lines);
  tcase_add_test(t, filters);
  tcase_add_test(t, escapes);
  tcase_add_test(t, linux_crashes);
  tcase_add_test(t, windows_text_screens);
  tcase_add_test(t, dos_crashes);
  tcase_add_test(t, stop_screens);
  tcase_add_test(t, dead_loops);
  tcase_add_test(t, crash_json);
  tcase_add_test(t, contact_sheet);
#if CONFIG_SECCOMP && !CONFIG_SANITIZE
  tcase_add_test(t, no_escape);
#endif
  suite_add_tcase(s, t);
  return s;
}
