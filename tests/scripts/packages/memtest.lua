-- SPDX-License-Identifier: MIT
-- memtest86+ from Debian's package, as a kernel.
machine { memory = 32, kernel = "memtest86+/boot/memtest86+ia32.bin", timeout = 120 }

setup(function()
  wait_text("Memtest86+", { timeout = 60 })
end)

test("it tests", function()
  wait_text("Test #%d+", { pattern = true })
  local tests = { "Address test", "Moving inversions", "Block move" }
  wait_text(tests, { timeout = 300 })
  check(screen_text():find("Pass:") , "there is no count of passes")
end)

test("it knows the memory", function()
  local size = wait_text("Memory *: *([%d.]+)M", { pattern = true })
  check(tonumber(size) > 30 and tonumber(size) <= 32, "memory: " .. size .. " MB")
end)

test("Esc restarts the machine", function()
  press("esc")
  wait_text("Test #", { gone = true, timeout = 60 })
end)
