-- SPDX-License-Identifier: MIT
-- Runs can be repeated: what this logs must be the same each time, whatever the host does meanwhile.
machine { memory = 8, cpu = "pentium" }

test("counts", function()
  wait_text("any key: go on")
  local r = registers()
  log(string.format("%.9f", time()), icount(), r.eip, r.esp, r.eflags)
  press("spc")
  wait_serial("demo: screen mode13h")
  log(string.format("%.9f", time()), icount(), #serial_text())
  for key, value in pairs { b = 2, [3] = "c", a = 1, [1.5] = "x", [true] = 0 } do
    log(key, value)
  end
  log(math.random(1000), tostring({}), print)
end)

test("skipped", function()
  skip("there is nothing to do")
end)
