#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs the built-in demo disk: in a window if there is a desktop, else headless, with keys from the monitor
# and a screenshot of each of its screens. Report and screenshots are in demo-output below the build
# directory. Further arguments are options for the emulator. Exits 0 only if the disk reported that all its
# tests passed.
#
# DEMO_HEADLESS=1 runs headless in any case; DEMO_OUTPUT names another directory.
set -u
: "${BUILD:?}"
build=$(cd "$BUILD" && pwd)
output=${DEMO_OUTPUT:-$build/demo-output}
mkdir -p "$output" && cd "$output" || exit 1
rm -f ./*.png report.txt monitor.log keys
report=report.txt
: >"$report"

summary() {
  tr -d '\r' <"$report" | sed -n 's/^demo: \([0-9][0-9]* passed, [0-9][0-9]* failed\)$/\1/p' | tail -n 1
}

finish() {
  tr -d '\r' <"$report" >report.unix && mv report.unix "$report"
  line=$(summary)
  echo "Report:      $output/report.txt"
  if ls ./*.png >/dev/null 2>&1; then
    echo "Screenshots: $output/*.png"
  fi
  if [ -z "$line" ]; then
    echo "The demo did not run to its report."
    exit 1
  fi
  grep '^FAIL' "$report"
  echo "The demo disk: $line"
  case $line in
  0\ passed*) ;;
  *\ passed,\ 0\ failed) exit 0 ;;
  esac
  exit 1
}

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ -z "${DEMO_HEADLESS:-}" ] &&
  "$build/dragoman" -display help | grep -qx sdl; then
  echo "The demo disk runs in a window; Escape in its menu powers it off."
  "$build/dragoman" -display sdl -serial "file:$report" "$@" || echo "dragoman: exit status $?"
  finish
fi

# --- headless ---

mkfifo keys || exit 1
"$build/dragoman" -display none -serial "file:$report" -monitor stdio "$@" <keys >monitor.log 2>&1 &
emulator=$!
trap 'kill $emulator 2>/dev/null; rm -f keys' EXIT
trap 'exit 1' HUP INT TERM
exec 3>keys
trap '' PIPE

running() { kill -0 $emulator 2>/dev/null; }
monitor() { running && echo "$*" >&3; }

# appears PATTERN SECONDS: until the report has the line.
appears() {
  tries=$(($2 * 10))
  while ! grep -q "^$1" "$report"; do
    tries=$((tries - 1))
    if [ $tries -eq 0 ] || ! running; then
      return 1
    fi
    sleep 0.1
  done
}

# shot NAME: wait for the screenshot to be complete too.
shot() {
  monitor "screendump $1.png"
  tries=50
  while [ ! -s "$1.png" ] && [ $tries -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
  done
  sleep 0.1
}

patience=${DEMO_PATIENCE:-60}
number=1
for screen in text mode13h mode12h vbe protected keyboard benchmark; do
  if [ $screen = keyboard ] && appears 'demo: type' "$patience"; then
    sleep 0.3
    monitor 'type Dragoman\n'
  fi
  appears "demo: screen $screen" "$patience" || break
  shot "$number-$screen"
  monitor 'sendkey spc'
  number=$((number + 1))
done
if appears 'demo: [0-9]* passed' "$patience"; then
  shot "$number-report"
  monitor 'sendkey p'
  sleep 2
  shot "$((number + 1))-plasma"
  monitor 'sendkey esc'
  sleep 1
  monitor 'sendkey esc'
  tries=100
  while running && [ $tries -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
  done
fi
if running; then
  echo "The demo disk did not power off."
  monitor quit
  sleep 0.5
  echo "FAIL power off: still running" >>"$report"
  kill $emulator 2>/dev/null
  wait $emulator
  (finish)
  exit 1
fi
exec 3>&-
wait $emulator
status=$?
[ $status -eq 0 ] || echo "dragoman: exit status $status"
finish
