-- SPDX-License-Identifier: MIT
-- More than 10,000 characters, with all kinds of keys; no line is like another.
local lines = {}
for i = 1, 200 do
  lines[i] = string.format("%04d The quick brown Fox jumps (over) the LAZY_dog! %03d", i, (i * 7919) % 1000)
end
return lines
