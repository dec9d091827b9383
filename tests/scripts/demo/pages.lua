-- SPDX-License-Identifier: MIT
-- The pages of the demo disk: text and graphics are read, keys go in, and it powers off.
local demo = require "lib"

machine { memory = 16 }

setup(function()
  wait_text("any key: go on")
end)

test("the first page is there", function()
  local size = wait_text("Memory (%d+) KB", { pattern = true })
  check(tonumber(size) > 15000, "memory: " .. size)
  wait_text("text mode and CPU", { region = { 40, 0, 40, 1 } })
  check(not screen_text():find("FAIL"), "a test of the first page failed")
  check(read_memory(0x400, 2) == "\xf8\x03", "the BIOS did not find the first serial port")
end)

test("text in 320x200 graphics", function()
  demo.go_to("mode13h")
  wait_text("Mode 13h", { timeout = 2 })
  wait_text("256 colours")
  wait_text("320x200, one byte a pixel")
end)

test("text over a picture", function()
  demo.go_to("vbe")
  local width, height = wait_text("VBE mode %x+: (%d+)x(%d+), 32 bits", { pattern = true })
  check(width == "800" and height == "600", width .. "x" .. height)
end)

test("whichever comes first", function()
  local which, text = wait_text { "no such text", "Memory" }
  check(which == 2 and text == "Memory")
end)

test("typing", function()
  demo.go_to("protected")
  press("spc")
  wait_serial("demo: type")
  type("Dragoman\n")
  local line = wait_serial("^PASS keyboard: 'Dragoman', (%d+) pressed", { pattern = true })
  check(tonumber(line) >= 9, line) -- with Shift
end)

test("to the menu, and again from the beginning", function()
  demo.go_to("benchmark")
  wait_text("benchmark")
  press("spc")
  local passed, failed = wait_serial("^demo: (%d+) passed, (%d+) failed", { pattern = true, timeout = 60 })
  check(tonumber(passed) > 30 and failed == "0", passed .. " passed, " .. failed .. " failed")
  wait_text("P plasma")
  wait_text("R restart")
  press("r")
  wait_text("text mode and CPU", { timeout = 10 })
  powerdown() -- the demo does not look at the button
  wait(1)
  check(running())
end)

test("reset", function()
  demo.go_to("mode13h")
  reset()
  wait_text("text mode and CPU", { timeout = 10 })
  check(serial_text():match("demo: screen mode13h.*demo: screen text"), "it did not begin again")
end)

test("off", function()
  press("ctrl-alt-delete") -- nothing to the demo
  local status, text = pcall(wait_off, { timeout = 1 })
  check(not status and text:find("still on"), text)
end)

test("snapshots", function()
  local when, count, text = time(), icount(), screen_text()
  snapshot("first")
  demo.go_to("mode13h")
  wait_text("Mode 13h")
  local later, instructions = time(), icount()
  for i = 1, 2 do
    restore("first")
    check(time() == when and icount() == count and screen_text() == text, "it is not where it was")
    press("spc")
    wait_serial("demo: screen mode13h")
    wait_text("Mode 13h")
    check(time() == later and icount() == instructions, "it did not go on as before")
  end
  check(not pcall(restore, "another"))
end)
