-- SPDX-License-Identifier: MIT
-- 10,000 characters into a shell on Linux's console (tests/boot/typing.sh): the file that they make comes back by the
-- serial port, and nothing of it is lost, doubled or out of order.
local lines = require "text"

machine {
  memory = 128, kernel = "kernel", initrd = "initramfs", append = "quiet vga=0x317", timeout = 300,
}

test("10,000 keys on Linux's console", function()
  wait_text("shell on i.86", { pattern = true }) -- in graphics
  wait_idle()
  local text, before = table.concat(lines, "\n") .. "\n", time()
  check(#text > 10000)
  type("cat >typed\n")
  type(text)
  log(#text, "characters in", time() - before, "s")
  press("ctrl-d")
  type("clear; (cat typed; echo end of it) >/dev/ttyS0\n")
  wait_serial("end of it")
  local got = serial_text():gsub("end of it\n$", "")
  check(got == text, "it got " .. #got .. " of " .. #text)
end)
