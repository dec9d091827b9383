-- SPDX-License-Identifier: MIT
-- Screens against pictures, which tests/scripts.sh makes by --update.
local demo = require "lib"

machine { memory = 16 }

test("picture", function()
  demo.go_to("mode13h")
  wait_screen("mode13h.png", { timeout = 2 })
end)

test("picture of text", function()
  wait_text("any key: go on")
  wait_screen("text.png", { mask = { 0, 32, 720, 368 }, timeout = 2 })
  wait_screen("text.png", { region = { { 0, 0, 720, 16 }, { 0, 16, 720, 16 } }, timeout = 2 })
end)
