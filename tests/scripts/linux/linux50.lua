-- SPDX-License-Identifier: MIT
-- Fifty tests over one Linux that is booted once: each runs in a copy of the machine that begins where setup ended, so
-- that what one of them leaves behind (files, processes, modules) is not there for the next. tests/suites.sh makes the
-- kernel and initramfs from Debian's packages.
machine {
  memory = 128, kernel = "vmlinuz", initrd = "initramfs", append = "console=ttyS0 quiet",
  rtc = "base=2020-02-20T20:20:20", timeout = 120,
}

setup(function()
  wait_serial("ready for tests", { timeout = 300 })
  wait(0.5)
end)

-- What a command says on the shell's terminal, without the last line feed, and its exit status.
local function run(command, timeout)
  local before = #serial_text()
  serial_send(command .. "\necho @END:$?\n")
  local status = wait_serial("@END:(%d+)", { pattern = true, timeout = timeout })
  local text = serial_text():sub(before + 1)
  text = text:gsub("@END:.*", ""):gsub("\n+$", "")
  return text, tonumber(status)
end

-- The command says exactly this.
local function says(name, command, wanted)
  test(name, function()
    local text, status = run(command)
    check(text == wanted, ("'%s' said '%s', not '%s'"):format(command, text, wanted))
    check(status == 0, "exit status " .. status)
  end)
end

-- The command says something that the pattern matches.
local function like(name, command, pattern)
  test(name, function()
    local text, status = run(command)
    check(text:find(pattern), ("'%s' said '%s'"):format(command, text))
    check(status == 0, "exit status " .. status)
  end)
end

-- The command ends with this status.
local function ends(name, command, wanted)
  test(name, function()
    local text, status = run(command)
    check(status == wanted, ("'%s' ended with %d, not %d: %s"):format(command, status, wanted, text))
  end)
end

-- The shell.
says("arithmetic", "echo $((7 * 6)) $((1 << 20)) $((-7 / 2)) $((0x7fffffff + 1))", "42 1048576 -3 2147483648")
says("loops", "i=0; while [ $i -lt 5 ]; do i=$((i + 1)); printf %d, $i; done; echo", "1,2,3,4,5,")
says("functions and recursion", "f() { [ $1 -le 1 ] && echo 1 || echo $(($1 * $(f $(($1 - 1))))); }; f 10", "3628800")
says("here documents", "cat <<EOF\none $((1 + 1))\nthree\nEOF", "one 2\nthree")
says("case and patterns", "case readme.txt in *.c) echo c ;; *.t?t) echo text ;; esac", "text")
says("parameters", "a=archive.tar.gz; echo ${a%%.*} ${a#*.} ${#a} ${b:-none}", "archive tar.gz 14 none")
says("command substitution", "echo $(echo $(echo deep))", "deep")
says("positional parameters", "set -- x y z; shift; echo $# $*", "2 y z")
ends("exit status", "(exit 37)", 37)
ends("a command that is not there", "nonsense-command", 127)
ends("a signal's status", "sh -c 'kill -9 $$'", 137)
says("traps", "sh -c 'trap \"echo caught\" USR1; kill -USR1 $$; echo on'", "caught\non")

-- Pipes and processes.
says("pipes", "seq 1 100 | grep 7 | wc -l", "19")
says("a long pipe", "seq 1 2000 | sort -rn | head -n 3 | tr '\\n' ' '; echo", "2000 1999 1998 ")
says("pipe of a megabyte", "dd if=/dev/zero bs=1024 count=1024 2>/dev/null | md5sum",
  "b6d81b360a5672d80c27430f39153e2c  -")
says("FIFO", "mkfifo /tmp/f; (echo through >/tmp/f &); cat /tmp/f", "through")
says("background and wait", "sh -c '(sleep 0.2; echo late) & wait; echo after'", "late\nafter")
says("kill a sleeper", "sh -c 'sleep 1000 & sleep 0.3; kill $!; wait $!; echo $?'", "Terminated\n143")
says("many processes", "sh -c 'for i in $(seq 1 50); do (exit 0) & done; wait; echo all'", "all")
like("zombies are reaped", "sh -c 'true & exec sleep 0.1'; ps | grep -c '[Z]  '; true", "^0$")
says("umask", "umask 027; touch /tmp/u; stat -c %a /tmp/u", "640")
ends("timeout ends a command", "timeout 1 sleep 10", 143)
like("an open file is a link", "readlink /proc/self/fd/0", "^/dev/ttyS0$")

-- Files.
says("write and read", "echo hello >/tmp/a; cat /tmp/a", "hello")
says("append", "echo 1 >/tmp/a; echo 2 >>/tmp/a; tr '\\n' ' ' </tmp/a; echo", "1 2 ")
says("permissions", "touch /tmp/p; chmod 640 /tmp/p; stat -c %a:%s /tmp/p", "640:0")
says("hard links", "echo x >/tmp/h1; ln /tmp/h1 /tmp/h2; stat -c %h /tmp/h1", "2")
says("symbolic links", "ln -s /tmp/nowhere /tmp/s; [ -L /tmp/s ] && [ ! -e /tmp/s ] && readlink /tmp/s", "/tmp/nowhere")
says("rename", "echo r >/tmp/r1; mv /tmp/r1 /tmp/r2; ls /tmp/r?", "/tmp/r2")
says("find", "mkdir -p /tmp/d/e/f; touch /tmp/d/e/f/g; find /tmp/d -type f", "/tmp/d/e/f/g")
says("tar", "mkdir /tmp/t; seq 1 999 >/tmp/t/n; tar cf - -C /tmp t | tar tf - | tail -n 1", "t/n")
says("gzip", "seq 1 5000 | gzip | gunzip | md5sum | cut -c 1-8", "a5a208cd")
says("a sparse file", "dd if=/dev/zero of=/tmp/z bs=1 count=1 seek=10M 2>/dev/null; stat -c %s /tmp/z", "10485761")
says("awk", "seq 1 10 | awk '{s += $1 * $1} END {print s}'", "385")
says("sed", "echo abcabc | sed 's/b\\(.\\)/[\\1]/g'", "a[c]a[c]")
says("digest", "printf abc | sha256sum | cut -c 1-16", "ba7816bf8f01cfea")
says("bc", "echo '2 ^ 100' | bc", "1267650600228229401496703205376")

-- The kernel.
like("version", "uname -sm", "^Linux i[3-6]86$")
like("the processor", "grep -m 1 'model name' /proc/cpuinfo", "Dragoman")
like("memory", "awk '/MemTotal/ {print ($2 > 90000 && $2 < 131072)}' /proc/meminfo", "^1$")
like("the clock", "date -u +%F", "^2020%-02%-20$")
test("time passes", function()
  local before, now = tonumber((run("date +%s"))), time()
  wait(3)
  local passed = tonumber((run("date +%s"))) - before
  check(passed >= 3 and passed <= 4 + (time() - now - 3), "3 seconds were " .. passed)
end)
says("interrupts are counted", "a=$(awk '/^intr/ {print $2}' /proc/stat); sleep 0.5; " ..
  "b=$(awk '/^intr/ {print $2}' /proc/stat); [ $b -gt $a ] && echo more", "more")
says("no modules at first", "lsmod | tail -n +2 | wc -l", "0")
like("a module", "insmod /lib/dummy.ko && lsmod | grep -c ^dummy && ip link show dummy0 | grep -c BROADCAST", "^1\n1$")
says("sysctl", "echo 7 >/proc/sys/kernel/printk; cut -f 1 /proc/sys/kernel/printk", "7")

-- File systems and the network.
says("tmpfs and its limit", "mkdir /tmp/m; mount -t tmpfs -o size=64k m /tmp/m; " ..
  "dd if=/dev/zero of=/tmp/m/x bs=1k count=100 2>/dev/null; stat -c %s /tmp/m/x", "65536")
says("loopback", "ping -c 2 -W 5 127.0.0.1 | grep -c 'bytes from 127.0.0.1'", "2")
says("TCP", "(echo over TCP | nc -l -p 77 >/dev/null &); sleep 0.3; nc 127.0.0.1 77 </dev/null | head -n 1", "over TCP")

test("a panic is recognised", function()
  serial_send("echo c >/proc/sysrq-trigger\n")
  local crash = expect_crash("panic")
  check(crash.text:find("sysrq triggered crash"), crash.text)
end)
