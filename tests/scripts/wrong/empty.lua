-- SPDX-License-Identifier: MIT
machine { memory = 8 }
