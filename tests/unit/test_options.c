/* SPDX-License-Identifier: MIT */
/* The command line: what is understood, what is refused and with which words. */
#include "tests/unit/options_line.h"

Suite *suite_options(void);

START_TEST(defaults) {
  good("");
  ck_assert_uint_eq(o.ram_mb, 128);
  ck_assert(o.vga == BOARD_VGA_STD && !o.counted && !o.nographic && !o.snapshot);
  ck_assert_int_eq(o.display, DISPLAY_DEFAULT);
  ck_assert_int_eq(o.rtc_base, -1);
}
END_TEST

START_TEST(memory_sizes) {
  static const struct {
    const char *text;
    uint32_t mb;
  } cases[] = {
      {"-m 64", 64},   {"-m 64M", 64},     {"-m 1G", 1024}, {"-m 1.5G", 1536}, {"-m size=32M", 32},
      {"-m 2048K", 2}, {"--m 3584", 3584}, {"-m 1", 1},     {"-m 16MB", 16},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    good(cases[i].text);
    ck_assert_uint_eq(o.ram_mb, cases[i].mb);
  }
  bad("-m 0", "1M to 3584M");
  bad("-m 4G", "1M to 3584M");
  bad("-m 100K", "1M to 3584M");
  bad("-m -5", "not a size");
  bad("-m lots", "not a size");
  bad("-m 12Q", "not a size");
  bad("-m 1e3", "not a size");
  bad("-m 0x10", "not a size");
  bad("-m 64,slots=2", "only a size");
  bad("-m", "needs an argument");
}
END_TEST

START_TEST(images) {
  good("a.img");
  ck_assert_str_eq(o.drive[0].file, "a.img");
  good("-hdb b.img -cdrom c.iso --fda f.img -fdb g.img");
  ck_assert_str_eq(o.drive[1].file, "b.img");
  ck_assert_str_eq(o.drive[2].file, "c.iso");
  ck_assert(o.drive[2].cdrom);
  ck_assert_str_eq(o.drive[FLOPPY_DRIVE(0)].file, "f.img");
  ck_assert_str_eq(o.drive[FLOPPY_DRIVE(1)].file, "g.img");
  bad("a.img -hda b.img", "defined twice");
  bad("a.img b.img", "defined twice");
  bad("-cdrom a.iso -hdc b.img", "defined twice");
  bad("-hda a.img -hdb a.img", "two drives");
  good("-snapshot -hda a.img -hdb a.img");
}
END_TEST

START_TEST(drive_option) {
  good("-drive file=x,,y.img,if=ide,index=3,format=raw,snapshot=on,serial=ABC");
  ck_assert_str_eq(o.drive[3].file, "x,y.img");
  ck_assert_str_eq(o.drive[3].serial, "ABC");
  ck_assert(o.drive[3].snapshot && !o.drive[3].cdrom);
  good("-drive file=f.img,if=floppy,readonly=on -drive file=g.img,if=floppy,index=1");
  ck_assert(o.drive[FLOPPY_DRIVE(0)].readonly);
  ck_assert_str_eq(o.drive[FLOPPY_DRIVE(1)].file, "g.img");
  good("-drive media=cdrom,if=ide -drive file=a -drive file=b,bus=1,unit=1");
  ck_assert(o.drive[2].cdrom && !o.drive[2].file);
  ck_assert_str_eq(o.drive[0].file, "a");
  ck_assert_str_eq(o.drive[3].file, "b");
  bad("-drive file=a,if=virtio", "if=ide and if=floppy");
  good("-drive file=a,format=qcow2,overlay=b");
  ck_assert_str_eq(o.drive[0].format, "qcow2");
  ck_assert_str_eq(o.drive[0].overlay, "b");
  bad("-drive file=a,format=tape", "the formats are raw, qcow2");
  bad("-drive file=a,overlay=", "overlay=FILE");
  bad("-drive file=a,if=floppy,overlay=b,readonly=on", "contradict");
  bad("-drive file=a,snapshot-name=s", "snapshot=on");
  bad("-drive file=a,index=4", "index=0 to 3");
  bad("-drive file=a,if=floppy,index=2", "index=0 to 1");
  bad("-drive file=a,index=1,bus=0", "contradict");
  bad("-drive if=ide", "needs file=");
  bad("-drive file=a,colour=red", "'colour' is not understood");
  bad("-drive file=a,file=b", "given twice");
  bad("-drive file=a,snapshot=maybe", "on or off");
  bad("-drive file=a,readonly=on", "snapshot=on");
  bad("-drive file=a,if=floppy,media=cdrom", "contradict");
  bad("-fda a -drive file=b,if=floppy,index=0", "defined twice");
}
END_TEST

START_TEST(unknown_options) {
  bad("-cdrmo x", "did you mean -cdrom?");
  bad("-hdx a.img", "did you mean -hd");
  bad("--nografic", "did you mean -nographic?");
  bad("-xyzzyplugh", "-help");
  bad("-enable-kvm", "leave it out");
  bad("-vnc :1", "screendump");
  bad("-m 64 -m 128", "given twice");
  good("-m 64 -m 64");
}
END_TEST

START_TEST(contradictions) {
  bad("-initrd a", "needs -kernel");
  bad("-append a", "needs -kernel");
  bad("-nographic -display sdl", "contradict");
  bad("-serial stdio -monitor stdio", "mon:stdio");
  bad("-nographic -serial mon:stdio -debugcon stdio", "stdio");
  bad("-accel interp -machine pc,accel=tlb", "keep one");
  bad("-D x.log", "-d");
  good("-kernel k -initrd i -append a");
}
END_TEST

START_TEST(nographic_defaults) {
  good("-nographic");
  ck_assert_uint_eq(o.serial_count, 1);
  ck_assert_str_eq(o.serial[0], "mon:stdio");
  good("-nographic -serial file:x");
  ck_assert_str_eq(o.monitor[0], "stdio");
  good("-nographic -monitor none");
  ck_assert_str_eq(o.serial[0], "stdio");
  good("-nographic -serial stdio");
  ck_assert_uint_eq(o.monitor_count, 0);
}
END_TEST

START_TEST(channels) {
  good("-serial unix:/x/y,server,nowait -serial tcp:localhost:1234,server=on,wait=off -serial pty -serial "
       "null");
  ck_assert_uint_eq(o.serial_count, 4);
  bad("-serial a -serial b", "not a channel");
  bad("-serial null -serial null -serial null -serial null -serial null", "4 serial ports");
  bad("-serial tcp:1234", "tcp:HOST:PORT");
  bad("-serial tcp:h:99999", "tcp:HOST:PORT");
  bad("-serial unix:", "no path");
  bad("-serial unix:x,nowait", "add server");
  bad("-serial unix:x,server,frob", "'frob' is not understood");
  bad("-monitor file:x", "commands cannot come from there");
  bad("-monitor mon:stdio", "is for -serial");
  bad("-serial mon:file:x", "cannot be reached");
}
END_TEST

START_TEST(machine_options) {
  good("-M pc-i440fx-7.2,accel=interp -cpu pentium -smp 1 -accel interp,x=y,z");
  ck_assert_str_eq(o.accel, "interp");
  ck_assert_str_eq(o.accel_options, "x=y,z");
  bad("-M q35", "one machine");
  bad("-smp 2", "one CPU");
  bad("-accel kvm", "use window");
  bad("-accel tcg", "window");
  bad("-vga ega", "std, cirrus and none");
  good("-vga cirrus");
  ck_assert_int_eq(o.vga, BOARD_VGA_CIRRUS);
  good("-vga none");
  ck_assert_int_eq(o.vga, BOARD_VGA_NONE);
  bad("-display gtk", "sdl and none");
  good("-cpu help");
  ck_assert_int_eq(o.action, ACTION_CPU_HELP);
  good("-help -nonsense");
  ck_assert_int_eq(o.action, ACTION_HELP);
  good("--version");
  ck_assert_int_eq(o.action, ACTION_VERSION);
}
END_TEST

START_TEST(boot_and_clock) {
  good("-boot d");
  ck_assert_str_eq(o.boot_order, "d");
  good("-boot order=ac,once=d,menu=on");
  ck_assert_str_eq(o.boot_order, "ac");
  ck_assert_str_eq(o.boot_once, "d");
  ck_assert(o.boot_menu);
  bad("-boot x", "no boot device");
  bad("-boot aa", "twice");
  bad("-boot splash=x", "not understood");
  good("-rtc base=1998-06-25T10:30:00,clock=vm");
  ck_assert_int_eq(o.rtc_base, 898770600);
  ck_assert(o.rtc_clock_vm);
  good("-rtc base=1970-01-02");
  ck_assert_int_eq(o.rtc_base, 86400);
  good("-rtc base=localtime");
  ck_assert(o.rtc_localtime);
  bad("-rtc base=yesterday", "a date");
  bad("-rtc base=2000-13-01", "a date");
  bad("-rtc clock=sun", "host and vm");
}
END_TEST

START_TEST(counted_time) {
  good("-icount shift=3");
  ck_assert(o.counted);
  ck_assert_uint_eq(o.mhz, 125);
  good("-icount 0");
  ck_assert_uint_eq(o.mhz, 1000);
  good("-icount auto");
  ck_assert_uint_eq(o.mhz, 100);
  good("-icount on");
  ck_assert(o.counted);
  ck_assert_int_eq(o.rtc_base, 946684800);
  good("-icount on -rtc base=utc");
  ck_assert_int_eq(o.rtc_base, -1);
  bad("-icount on -rtc clock=host", "contradict");
  bad("-icount shift=10", "0 to 9");
  bad("-icount shift=x", "0 to 9");
  bad("-icount rr=record", "go together");
  bad("-icount rrfile=x", "go together");
  bad("-icount rr=both,rrfile=x", "record or replay");
  bad("-icount shift=off,rr=record,rrfile=x", "needs counted time");
  bad("-icount sleep=maybe", "on or off");
}
END_TEST

START_TEST(cpu_speed) {
  good("-cpu 486");
  ck_assert_str_eq(o.cpu, "486");
  ck_assert_uint_eq(o.cpu_mhz, 0);
  good("-cpu 486,mhz=66");
  ck_assert_str_eq(o.cpu, "486");
  ck_assert_uint_eq(o.cpu_mhz, 66);
  bad("-cpu mhz=66", "write NAME");
  bad("-cpu 486,speed=66", "write NAME");
  bad("-cpu 486,mhz=0", "1 to 10000");
  bad("-cpu 486,mhz=6x", "1 to 10000");
  bad("-cpu 486,mhz", "1 to 10000");
  bad("-cpu 486,mhz=66 -icount on", "contradict");
}
END_TEST

START_TEST(devices) {
  good("-nodefaults -device isa-debug-exit,iobase=0xf4,iosize=0x04 -device pc-testdev");
  ck_assert_uint_eq(o.device_count, 2);
  ck_assert_str_eq(o.device[0].driver, "isa-debug-exit");
  ck_assert_str_eq(o.device[0].props, "iobase=0xf4,iosize=0x04");
  ck_assert_ptr_null(o.device[1].props);
  bad("-device e1000", "no such device");
  bad("-device ,id=x", "begin with");
  bad("-device driver=pc-testdev", "begin with");
}
END_TEST

START_TEST(usb) {
  good("");
  ck_assert(!o.usb && !o.no_vmport);
  good("-nodefaults -usb -machine pc,vmport=off");
  ck_assert(o.usb && o.no_vmport && o.device_count == 0);
  good("-nodefaults -usbdevice tablet -usbdevice keyboard -machine vmport=auto");
  ck_assert(o.usb && !o.no_vmport);
  ck_assert_uint_eq(o.device_count, 2);
  ck_assert_str_eq(o.device[0].driver, "usb-tablet");
  ck_assert_str_eq(o.device[1].driver, "usb-kbd");
  good("-nodefaults -usb -drive if=none,id=x,file=a.img,readonly=on -device usb-storage,port=1,drive=x");
  ck_assert_uint_eq(o.none_count, 1);
  ck_assert_str_eq(o.none[0].file, "a.img");
  ck_assert_str_eq(o.none[0].id, "x");
  ck_assert(o.none[0].readonly);
  ck_assert_str_eq(o.device[0].drive, "x");
  bad("-usbdevice serial", "tablet, mouse and keyboard");
  bad("-drive if=none,file=a", "needs id=");
  bad("-drive if=none,id=a", "file=NAME is missing");
  bad("-drive if=none,id=a,file=b -drive if=none,id=a,file=c", "given twice");
}
END_TEST

Suite *suite_options(void) {
  Suite *s = suite_create("options");
  TCase *t = tcase_create("options");
  tcase_add_test(t, defaults);
  tcase_add_test(t, memory_sizes);
  tcase_add_test(t, images);
  tcase_add_test(t, drive_option);
  tcase_add_test(t, unknown_options);
  tcase_add_test(t, contradictions);
  tcase_add_test(t, nographic_defaults);
  tcase_add_test(t, channels);
  tcase_add_test(t, machine_options);
  tcase_add_test(t, boot_and_clock);
  tcase_add_test(t, counted_time);
  tcase_add_test(t, cpu_speed);
  tcase_add_test(t, devices);
  tcase_add_test(t, usb);
  suite_add_tcase(s, t);
  return s;
}
