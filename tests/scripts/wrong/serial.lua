-- SPDX-License-Identifier: MIT
machine { memory = 8, serial = "file:/etc/passwd" }
test("never", function() end)
