-- SPDX-License-Identifier: MIT
machine { hda = "absent.img" }
test("never", function() end)
