-- SPDX-License-Identifier: MIT
local helper = {}

function helper.deep(text)
  wait_text(text, { timeout = 0.1 })
end

return helper
