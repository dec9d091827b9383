-- SPDX-License-Identifier: MIT
-- The course of the built-in demo disk (roms/demo): what its scripts have in common.
local demo = {}

-- From the first page on to this one: text, mode13h, mode12h, vbe, protected, keyboard, benchmark.
function demo.go_to(screen)
  while true do
    local which = wait_serial({ "demo: screen " .. screen, "demo: type", "demo: screen " }, { timeout = 60 })
    if which == 1 then
      return
    elseif which == 2 then
      type("Dragoman\n")
    else
      press("spc")
    end
  end
end

return demo
