#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The runner of dragoman test: tests that pass, fail, are skipped, whose process crashes or hangs; order and -j; the matrix;
# filters, retries, reports; guests that crash; what is left behind when it is interrupted. Prints "N passed, N failed".
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
    sed 's/^/  | /' out | tail -n 40
    failed=$((failed + 1))
  fi
}

run() { # ARGUMENT...: output in `out`, exit status in `status`
  timeout 600 "$build/dragoman" test "$@" >out 2>&1
  status=$?
}

is() { [ "$1" = "$2" ]; }
says() { grep -qF -- "$1" out; }
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

# --- verdicts, order, reports ---

cat >mixed.lua <<'END'
machine { memory = 8 }
local n = 0
setup(function() wait_text("any key: go on") n = n + 1 end)
test("passes", function() n = n + 1 check(n == 2) end)
test("begins where setup ended", function() n = n + 1 check(n == 2) log("n is " .. n) end)
test("fails <&>", function() wait(1) fail("because of \"this\" <&>") end)
test("is skipped", function() skip("not today") end)
test("takes long", function() wait(20) end)
test("is short", function() wait(0.1) end)
test("ends the machine", function() wait_text("nothing like that", { timeout = 1 }) end)
END
run --json one.json --junit one.xml mixed.lua
ok "exit status $status of failures" is $status 1
ok "the sum" says '# 4 passed, 2 failed, 1 skipped'
ok "the plan" is "$(sed -n 2p out)" 1..7
ok "skipped" says 'ok 4 - mixed.lua: is skipped # SKIP not today'
ok "what a failure says" says 'message: "because of \"this\" <&>"'
ok "a log" says '# n is 2'
ok "the last screen of a failure" [ -s 'dragoman-test/mixed/fails----/screen.png' ]
ok "the screens before" [ -s 'dragoman-test/mixed/fails----/history.png' ]
ok "its log" grep -q 'any key: go on' 'dragoman-test/mixed/fails----/log.txt'
ok "nothing of what passes" [ ! -e dragoman-test/mixed/passes ]
ok "JUnit: the sum" grep -q '<testsuite name="mixed.lua" tests="7" failures="2" errors="0" skipped="1"' one.xml
ok "JUnit: escapes" grep -q 'message="because of &quot;this&quot; &lt;&amp;&gt;"' one.xml
grep -vE 'host_seconds' out >first
same() { sed -E 's/"(host_seconds|fork_ms|fork_cpu_ms)": [0-9.]+//g' "$1"; }
run -j 3 --json two.json mixed.lua
grep -vE 'host_seconds' out >second
ok "-j 3: the same in the same order" cmp -s first second
same one.json >first
same two.json >second
ok "-j 3: the same counts and screens" cmp -s first second
ok "counts are there" is "$(grep -c '"instructions": [1-9]' one.json)" 7
ok "hashes are there" is "$(grep -c '"screen_hash": "[0-9a-f]*[1-9a-f]' one.json)" 7
rm -rf dragoman-test

# --- what is run ---

run --filter '/passes|short/' mixed.lua
ok "--filter /expression/" says '# 2 passed, 0 failed, 0 skipped'
ok "nothing is left of what passes" [ ! -e dragoman-test ]
run --filter 'nothing like it' mixed.lua
ok "a filter that leaves nothing: exit status $status" is $status 2
run --filter passes --cpu 486 --cpu pentium --list mixed.lua
ok "--list with a matrix" is "$(tr '\n' ' ' <out)" 'mixed.lua: passes [486] mixed.lua: passes [pentium] '
run --filter passes --cpu 486 --cpu pentium --output kept mixed.lua mixed.lua
ok "a matrix" says '# 4 passed, 0 failed, 0 skipped'
ok "a directory for each cell" is "$(cd kept && echo *)" 'mixed-486 mixed-486-3 mixed-pentium mixed-pentium-4'
run --filter fails --retries 2 mixed.lua
ok "--retries" says 'attempts: 3'
cat >bad.lua <<'END'
setup(function() fail("no way") end)
test("one", function() end)
test("two", function() end)
END
run bad.lua
ok "setup that fails: exit status $status" is $status 1
ok "setup that fails: every test" is "$(grep -c 'message: "setup: no way"' out)" 2
sed 's/fail("no way")/skip("not here")/' bad.lua >skip.lua
run skip.lua
ok "setup that skips" says '# 0 passed, 0 failed, 2 skipped'
ok "setup that skips: exit status $status" is $status 0
cat >keep.lua <<'END'
setup(function() wait_text("any key: go on") snapshot("page") end)
test("restore", function() press("spc") wait_serial("demo: screen mode13h") restore("page") wait_text("any key: go on") end)
test("own", function() snapshot("own") wait(1) restore("own") end)
END
rm -rf dragoman-test
run -j 2 keep.lua
ok "snapshots of setup and of tests" says '# 2 passed, 0 failed, 0 skipped'
ok "snapshots go" [ ! -e dragoman-test ]

# --- processes that are lost ---

cat >endless.lua <<'END'
machine { memory = 8 }
setup(function() wait_text("any key: go on") end)
test("endless", function() while true do wait(1) end end)
test("after it", function() wait(0.1) end)
END

# start OPTION...: runs endless.lua, and waits for the test's process, `child`; the runner is `runner`
start() {
  "$build/dragoman" test "$@" endless.lua >out 2>&1 &
  runner=$!
  child=
  for _ in $(seq 600); do
    template=$(pgrep -P $runner | head -n 1)
    [ -n "$template" ] && child=$(pgrep -P "$template" | head -n 1)
    [ -n "$child" ] && break
    sleep 0.1
  done
  sleep 0.3
}
gone() { # PID: within some seconds
  for _ in $(seq 50); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}
if command -v pgrep >/dev/null; then
  start
  kill -SEGV "$child"
  wait $runner
  ok "a test whose process crashes" says 'message: "the emulator crashed: Segmentation fault"'
  ok "the next one runs" says 'ok 2 - endless.lua: after it'
  start --timeout 1
  kill -STOP "$child"
  wait $runner
  ok "a test whose process hangs" says 'did not end within 30 s'
  ok "the next one runs then" says 'ok 2 - endless.lua: after it'
  start
  kill -KILL "$template"
  wait $runner
  ok "a template that is killed" says 'the emulator crashed between tests: Killed'
  start
  kill -INT $runner
  wait $runner
  ok "interrupted: exit status" is $? 2
  ok "interrupted" says 'Bail out!'
  ok "interrupted: nothing runs on" gone "$child"
  start
  kill -KILL $runner
  wait $runner 2>/dev/null
  ok "killed: nothing runs on" gone "$child"
  ok "killed: nor the template" gone "$template"
else
  echo "skipped: pgrep is not installed"
fi
run --timeout 2 --filter endless endless.lua
ok "a script that does not end" says "more than 2 seconds of the host's CPU time"

# --- guests that crash ---

boot() { # NAME: a boot sector from standard input, and a script that boots it
  { printf 'bits 16\norg 0x7c00\n'; cat; printf 'times 510-($-$$) db 0\ndw 0xaa55\ntimes 2879*512 db 0\n'; } >"$1.asm"
  nasm -f bin -o "$1.img" "$1.asm" || echo "FAILED: nasm"
  cat >"$1.lua" <<END
machine { memory = 8, fda = "$1.img", boot = "a" }
test("unexpected", function() wait(40) end)
test("expected", function()
  local c = expect_crash("$2", { timeout = 40 })
  log(c.kind, string.format("%04x:%08x", c.cs, c.eip), c.module, c.text)
end)
END
  run --output "crash-$1" --json crash.json "$1.lua"
  ok "$1: not expected, and expected" says '# 1 passed, 1 failed, 0 skipped'
  ok "$1: the kind" grep -q "\"crash\": {\"kind\": \"$2\"" crash.json
  ok "$1: at once" awk -F'"guest_seconds": ' '/unexpected/ {exit !($2 + 0 < 25)}' crash.json
  ok "$1: a file about it" grep -q "\"kind\": \"$2\"" "crash-$1/$1/unexpected/crash.json"
}
boot triple triple-fault <<'END'
cli
lidt [none]
mov eax, cr0
or al, 1
mov cr0, eax
int3
none: dw 0
dd 0
END
boot halted halted <<'END'
cli
hlt
jmp $
END
boot loop no-progress <<'END'
sti
jmp $
END
boot blue blue-screen <<'END'
mov ax, 3
int 10h
mov ax, 0xb800
mov es, ax
xor di, di
mov ax, 0x1f20
mov cx, 2000
rep stosw
mov di, 160 * 8
mov si, text
mov ah, 0x1f
xor cx, cx
mov ds, cx
next: lodsb
stosw
test al, al
jnz next
wait_: hlt
jmp wait_
text: db 'A fatal exception 0E has occurred at 0028:C00068F8 in VxD VMM(01) +', 0
END
ok "blue: where" says '# blue-screen 0028:c00068f8 VMM'
boot panic panic <<'END'
xor ax, ax
mov ds, ax
mov si, text
mov dx, 0x3f8
next: lodsb
out dx, al
test al, al
jnz next
wait_: hlt
jmp wait_
text: db '[    1.234567] EIP: foo_read+0x12/0x34', 10, '[    1.234568] Kernel panic - not syncing: Fatal exception', 13, 10, 0
END
boot dos dos <<'END'
xor ax, ax
mov ds, ax
mov si, text
next: lodsb
mov ah, 14
int 10h
test al, al
jnz next
wait_: hlt
jmp wait_
text: db 13, 10, 'JemmEx: exception 06 occured at CS:EIP=0133:00001FE2, ERRC=00000000', 13, 10, 0
END
ok "dos: where" says '# dos 0133:00001fe2'
cat >fine.lua <<'END'
machine { memory = 8 }
test("no crash", function()
  wait_text("any key: go on")
  check(not pcall(expect_crash, nil, { timeout = 2 }))
end)
END
run fine.lua
ok "a guest that is fine" is $status 0
finish
