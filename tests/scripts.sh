#!/bin/sh
# SPDX-License-Identifier: MIT
#
# dragoman test: the suite over the demo disk (tests/scripts/demo) passes and can be repeated; wrong scripts
# (tests/scripts/wrong) fail with the messages and exit statuses that they should; pictures are accepted and compared; files
# on FAT volumes are what mtools put there (tests/unit/test_fat.c has the other way round). Prints "N passed, N failed".
set -u
: "${SRC:?}" "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
src=$(cd "$SRC" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0
cd "$work" || exit 1

ok() { # WHAT COMMAND...
  what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "FAILED: $what"
    sed 's/^/  | /' out | tail -n 60
    failed=$((failed + 1))
  fi
}

run() { # ARGUMENT...: output in `out`, exit status in `status`
  timeout 600 "$build/dragoman" test "$@" >out 2>&1
  status=$?
}

is() { [ "$1" = "$2" ]; }
says() { grep -qF -- "$1" out; }
says_not() { ! grep -qF -- "$1" out; }
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

run --help
if [ $status -eq 2 ] && says 'without scripts'; then
  echo "skipped: built without Lua"
  finish
fi
ok "--help" is $status 0

# --- the demo's suite ---

cp -r "$src/tests/scripts/demo" "$src/tests/scripts/wrong" .
run demo/pages.lua
ok "demo/pages.lua: exit status $status" is $status 0
ok "demo/pages.lua: verdicts" says '# 9 passed, 0 failed, 0 skipped'
ok "demo/pages.lua: nothing is kept of what passes" is "$(find dragoman-test -type f 2>/dev/null)" ""
run --accel interp --cpu 486 demo/repeat.lua
ok "demo/repeat.lua, interpreted 486: exit status $status" is $status 0

run demo/repeat.lua
grep -v host_seconds out >first
ok "skip" says 'ok 2 - repeat.lua: skipped # SKIP there is nothing to do'
ok "order of keys" is "$(sed -n 's/^# \([a-z0-9.]*\) \([a-z0-9]*\)$/\1/p' out | tail -n 6 | tr '\n' ' ')" 'true 1.5 3 a b '
(while :; do :; done) &
busy=$!
run demo/repeat.lua
kill $busy
wait $busy 2>/dev/null
grep -v host_seconds out >second
ok "repeated under load" cmp -s first second

# --- typing ---

cp -r "$src/tests/scripts/typing" .
cp "$build/tests/boot/keys.bin" typing
run typing/bios.lua
ok "typing 10,000 characters: exit status $status" is $status 0

# --- pictures ---

run demo/screens.lua
ok "pictures that are not there: exit status $status" is $status 1
ok "pictures that are not there" says 'there is no mode13h.png yet'
run --update demo/screens.lua
ok "--update: exit status $status" is $status 0
ok "--update makes a picture" [ -s demo/mode13h.png ]
run demo/screens.lua
ok "pictures: exit status $status" is $status 0
cp demo/text.png demo/mode13h.png
run --keep kept demo/screens.lua
ok "another size: exit status $status" is $status 1
ok "another size" says 'the screen did not become mode13h.png within 2 s: it has 640x400 pixels, the picture 720x400'
ok "what was there instead" [ -s kept/screens/picture/screen-actual.png ]
ok "the last screen" [ -s kept/screens/picture/screen.png ]
ok "the serial log" grep -q '^demo: screen mode13h' kept/screens/picture/screen-serial0.log

# --- failures ---

run --host-timeout 2 wrong/verdicts.lua
ok "failures: exit status $status" is $status 1
ok "every one failed" says '# 0 passed, 28 failed, 0 skipped'
for message in \
  "'Abort, Retry, Ignore?' did not appear within 2.5 s" 'at: verdicts.lua:12' 'guest_time: 2.6' \
  '  Dragoman demo disk                    text mode and CPU' \
  "'one' or 'two' did not appear within 1 s" "'login:' did not come from the serial port within 1 s" \
  "'Memory' did not go within 1 s" 'sums are wrong' 'no reason' 'at: helper.lua:5' \
  'verdicts.lua:20: in function' 'attempt to index a nil value' 'more than 64 MB of memory' \
  "more than 2 seconds of the host's CPU time" "there is no key 'nonsense'" 'no key for the character 0xc3' \
  'there is no absent.png yet' "'/etc/passwd' lies outside" 'attempt to load a binary chunk' \
  'is no name of a module' 'would print an address' 'no order that could be repeated' "no option 'timout'" \
  "no drive 'fdb'" 'no FAT file system' '5000, 1 is not on the screen' 'an error that is no text' \
  'the machine is still on after 1 s' 'counted to 20'; do
  ok "failures: $message" says "$message"
done
ok "files of failures" [ -s dragoman-test/verdicts/fail/screen.png ]
for script in syntax empty serial early nodisk absent; do
  run wrong/$script.lua
  ok "$script.lua: exit status $status" is $status 2
  ok "$script.lua: a message and nothing else" is "$(grep -c '' out)" 1
done
run --nonsense x demo/pages.lua
ok "unknown option: exit status $status" is $status 2
run --list demo/pages.lua wrong/empty.lua
ok "--list" says 'pages.lua: text over a picture'

# --- files on disks ---

if ! command -v mformat >/dev/null; then
  echo "skipped: mtools is not installed"
  finish
fi
mkdir fat
seq 1 4000 >fat/numbers.txt
printf 'short' >s.txt
cat >fat/fat.lua <<'END'
machine { memory = 8, DRIVE = "disk.img" }
local many = {}
for i = 1, 20000 do many[i] = "line " .. i .. "\n" end
many = table.concat(many)
test("files", function()
  local names = {}
  for _, f in ipairs(list_files("DRIVE")) do names[#names + 1] = f.name .. (f.directory and "/" or "=" .. f.size) end
  log(table.concat(names, " "))
  check(get_file("DRIVE", "numbers from a long name.txt") == read_file("numbers.txt"), "long")
  check(get_file("DRIVE", "NUMBER~1.TXT") == read_file("numbers.txt"), "its short name")
  check(get_file("DRIVE", "dir/s.txt") == "short", "short")
  put_file("DRIVE", "NEW.TXT", "new\r\n")
  put_file("DRIVE", "dir/sub directory/Mixed Name.text", many)
  put_file("DRIVE", "numbers from a long name.txt", "replaced")
  for i = 1, 80 do put_file("DRIVE", "many/a rather long name, number " .. i, tostring(i)) end
  remove_file("DRIVE", "dir/s.txt")
  check(get_file("DRIVE", "dir/sub directory/mixed name.TEXT") == many, "back")
  check(#list_files("DRIVE", "many") == 80)
  check(not pcall(get_file, "DRIVE", "dir/s.txt"))
  check(not pcall(put_file, "DRIVE", "a/*", ""))
  check(not pcall(remove_file, "DRIVE", "many"))
end)
END
volume() { # NAME DRIVE mformat-arguments...
  name=$1 drive=$2
  shift 2
  rm -f fat/disk.img
  mformat -C -i fat/disk.img "$@" :: && mcopy -i fat/disk.img fat/numbers.txt '::numbers from a long name.txt' &&
    mmd -i fat/disk.img ::dir && mcopy -i fat/disk.img s.txt ::dir/s.txt || echo "mtools failed"
  sed "s/DRIVE/$drive/g" fat/fat.lua >fat/run.lua
  cksum fat/disk.img >before
  run fat/run.lua
  ok "$name: exit status $status" is $status 0
  ok "$name: what is on it" says "dir/ numbers from a long name.txt=18893"
  cksum fat/disk.img >after
  ok "$name: the image is as it was" cmp -s before after
}
volume FAT12 fda -f 1440
volume FAT16 hda -T 65536 -h 16 -s 63 -c 4
volume FAT32 hda -F -T 200000 -h 16 -s 63 -c 1
finish
