#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Channels and the monitor for real: SeaBIOS without a screen talks to the first serial port, which is connected
# to a file, a socket, a pty, standard output; the monitor answers on a socket. Ends with "N passed, N failed".
set -u
: "${BUILD:?}"
dragoman=$(cd "$BUILD" && pwd)/dragoman
work=$(mktemp -d) || exit 1
pid=
trap '[ -n "$pid" ] && kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0
failed=0
truncate -s 1440K floppy.img

check() { # what file pattern
  if grep -aq -- "$3" "$2"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1: no '$3' in:"
    tail -n 20 "$2" | sed 's/^/  | /'
  fi
}

expect() { # what actual expected
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $1: $2, not $3"
  fi
}

await() { # command...: until it succeeds, ten seconds at most
  for i in $(seq 50); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.2
  done
  return 1
}

start() { # option...
  "$dragoman" -display none -vga none -fda floppy.img -snapshot -monitor unix:monitor,server,nowait \
    -pidfile pid "$@" >stdout 2>stderr </dev/null &
  pid=$!
  await test -S monitor
}

monitor() { # line...
  printf '%s\n' "$@" | timeout 10 socat -t 1 - UNIX:monitor >answer
}

finish() { # signal: ends it; $status
  kill "-$1" "$pid"
  wait "$pid"
  status=$?
  pid=
}

if ! command -v socat >/dev/null; then
  echo "socat is not installed: skipped"
  echo "0 passed, 0 failed"
  exit 0
fi

# --- a file, and the monitor on a socket ---
start -serial file:serial.log
await grep -aq 'SeaBIOS' serial.log
check 'serial to a file' serial.log 'SeaBIOS (version'
monitor 'info status' 'info chardev' 'x/1i 0xffff0' 'frobnicate'
check 'greeting' answer '^Dragoman .* monitor - type'
check 'prompt and echo' answer '^(dragoman) info status'
check 'info status' answer '^VM status: running'
check 'info chardev' answer '^serial0: filename=file:serial.log'
check 'x/i' answer '^0x000ffff0:  ea .* ljmp'
check 'unknown command' answer "^unknown command: 'frobnicate'"
monitor 'stop' 'info status'
check 'a second connection' answer '^VM status: paused'
expect 'the pidfile' "$(cat pid)" "$pid"
finish TERM
expect 'SIGTERM ends with' $status 0
expect 'left behind' "$(ls monitor pid 2>/dev/null)" ''

start
printf 'quit\n' | socat -t 1 - UNIX:monitor >answer
wait $pid
expect 'quit ends with' $? 0
pid=

# --- sockets ---
start -serial unix:serial,server,nowait
timeout 8 socat -u UNIX:serial - >from-socket &
reader=$!
sleep 0.5
monitor 'system_reset'
await grep -aq 'SeaBIOS' from-socket
check 'serial to a unix socket' from-socket 'SeaBIOS (version'
finish INT
wait $reader
expect 'SIGINT ends with' $status 0

# The start waits for a client without nowait; mon: lets the monitor share the line.
"$dragoman" -display none -vga none -fda floppy.img -snapshot -serial mon:unix:shared,server \
  >stdout 2>stderr </dev/null &
pid=$!
await grep -q waiting stderr
check 'waits for its client' stderr 'waiting for a connection'
{
  sleep 3
  printf '\001c'
  sleep 0.5
  printf 'info name\ninfo status\n'
  sleep 0.5
  printf '\001x'
  sleep 1
} | timeout 20 socat -t 3 - UNIX:shared >from-mux
check 'serial through the mux' from-mux 'SeaBIOS (version'
check 'monitor through the mux' from-mux '^VM status: running'
check 'Ctrl-A x' from-mux 'terminated'
wait $pid
expect 'Ctrl-A x ends with' $? 0
pid=

# --- a pty ---
start -serial pty
await grep -q 'serial0 is /dev/pts/' stderr
pty=$(sed -n 's|.*serial0 is ||p' stderr)
timeout 8 cat "$pty" >from-pty 2>/dev/null & # ends with an error, as the line is cut
reader=$!
await grep -aq 'SeaBIOS' from-pty
check 'serial to a pty' from-pty 'SeaBIOS (version'
finish HUP
wait $reader
expect 'SIGHUP ends with' $status 0

# --- standard input and output ---
timeout 10 "$dragoman" -nographic -vga none -fda floppy.img -snapshot -serial stdio -monitor none \
  >from-stdout 2>stderr </dev/null &
pid=$!
await grep -aq 'SeaBIOS' from-stdout
check 'serial to standard output' from-stdout 'SeaBIOS (version'
kill -TERM "$pid"
wait "$pid"
pid=
printf 'info version\nquit\n' |
  timeout 10 "$dragoman" -display none -fda floppy.img -snapshot -monitor stdio >from-pipe 2>&1
expect 'monitor from a pipe ends with' $? 0
check 'monitor from a pipe' from-pipe '^(dragoman) info version'

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
