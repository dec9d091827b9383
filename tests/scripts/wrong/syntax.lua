-- SPDX-License-Identifier: MIT
test("never", function()
  this is no Lua
end)
