-- SPDX-License-Identifier: MIT
-- 10,000 characters into a file by DOS's COPY CON; the file is then taken from the disk. With FreeDOS on a floppy.
local lines = require "text"

machine { memory = 16, boot = "a", image = "fda", timeout = 60 }

test("10,000 keys into DOS", function()
  wait_text("^A:.>", { pattern = true })
  local text, before = table.concat(lines, "\n") .. "\n", time()
  check(#text > 10000)
  type("copy con typed.txt\n")
  type(text)
  log(#text, "characters in", time() - before, "s")
  press("f6")
  type("\n")
  wait_idle()
  local got = get_file("fda", "typed.txt"):gsub("\r", "")
  check(got == text, "it got " .. #got .. " of " .. #text)
end)
