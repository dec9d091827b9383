-- SPDX-License-Identifier: MIT
-- 10,000 characters into a program that reads them by the BIOS and falls behind now and then (tests/boot/keys.asm):
-- none is lost, doubled or out of order.
local lines = require "text"

machine { memory = 4, fda = "keys.bin", boot = "a" }

test("10,000 keys by the BIOS", function()
  wait_serial("ready")
  local text, before = table.concat(lines, "|") .. "|", time()
  check(#text > 10000)
  type(text)
  wait_idle()
  log(#text, "characters in", time() - before, "s")
  local got = serial_text():gsub("^ready", "")
  check(got == text, "it got " .. #got .. " of " .. #text .. ": ..." .. got:sub(-60))
end)
