-- SPDX-License-Identifier: MIT
-- Every test here must fail, each in its way: tests/scripts.sh looks for the messages.
local helper = require "helper"

machine { memory = 8, timeout = 1 }

setup(function()
  wait_text("any key: go on", { timeout = 20 })
end)

test("text that does not come", function()
  wait_text("Abort, Retry, Ignore?", { timeout = 2.5 })
end)
test("none of a list", function() wait_text { "one", "two" } end)
test("serial that does not come", function() wait_serial("login:") end)
test("text that stays", function() wait_text("Memory", { gone = true }) end)
test("wrong check", function() check(1 + 1 == 3, "sums are wrong") end)
test("fail", function() fail("no reason") end)
test("in another file", function() helper.deep("hello") end)
test("Lua's own error", function() local t = nil; t.x = 1 end)
test("too much memory", function() local t = {}; while true do t[#t + 1] = ("x"):rep(100000) .. #t end end)
test("too long", function() while true do end end)
test("too long although caught", function() while true do pcall(function() while true do end end) end end)
test("no such key", function() press("ctrl-nonsense") end)
test("no such character", function() type("caf\xc3\xa9") end)
test("no picture", function() wait_screen("absent.png") end)
test("outside", function() read_file("/etc/passwd") end)
test("outside by dots", function() read_file("../../../../../../../../etc/passwd") end)
test("binary code", function() assert(load("\27Lua")) end)
test("module outside", function() require "..helper" end)
test("addresses", function() string.format("%p", {}) end)
test("order of tables", function() for k in pairs { [{}] = 1, [{}] = 2 } do log(k) end end)
test("no such option", function() wait_text("x", { timout = 1 }) end)
test("no such drive", function() insert("fdb", "verdicts.lua") end)
test("no file system", function() list_files("hda") end)
test("off", function()
  powerdown() -- nobody listens
  wait_off { timeout = 1 }
end)
test("beside the screen", function() move_to(5000, 1) end)
test("error that is no text", function() error({}) end)
test("globals that are not there", function() return os.time() end)
test("stopped", function()
  local i = 0
  while true do i = i + 1; wait(0.01); if i == 20 then error("counted to 20") end end
end)
