-- SPDX-License-Identifier: MIT
wait_text("there is no machine yet")
