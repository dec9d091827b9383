/* SPDX-License-Identifier: MIT */
/*
 * The "window" address strategy (DESIGN.md): a guest linear address space as 4 GiB of host addresses, in
 * which the host's MMU does the guest's translation. Translated code reaches it as gs:[32-bit address].
 *
 * A space is what decides the meaning of a linear address: CR3 (and the PDPTEs), paging mode, WP, NXE, A20,
 * and whether the access is a user's. A space that has run long enough gets one of a few windows. A window is
 * filled page by page, from host page faults, with runs of neighbours. It never holds more than the guest's
 * page tables allow:
 *  - the tables that a window's pages came from are PAGE_SHADOWED: the CPU's and bus masters' stores to them
 * come here first, and drop what they change. So loading CR3 or INVLPG need not drop anything;
 *  - a page is mapped writable only if it is dirty in the guest's tables and neither code nor a page table;
 *  - memory that is logged (VRAM), ROM under write, and devices are not mapped: such accesses fault, and the
 *    interpreter makes them; a site that does so often goes back to the software TLB.
 *
 * Not modelled: stale translations. A window is always what the tables say.
 */
#ifndef TRANSLATE_WINDOW_H
#define TRANSLATE_WINDOW_H

#include <stdio.h>

#include "translate/jit.h"

/* What is behind the 4 GiB: an access that begins below 4 GiB must not reach anything else. */
#define WINDOW_SIZE (1ull << 32)
#define WINDOW_GUARD 0x10000u

/* 0; or -errno if the host refuses, then *why says what. hot: see struct windows. */
int windows_init(struct jit *j, unsigned hot, const char **why);
void windows_free(struct jit *j);

/* Bring MODE_WINDOW and GS base in line with the CPU's state; called by jit_rekey. */
void window_select(struct jit *j);
/* CR3 or another part of what identifies a space may have changed. */
void window_space_changed(struct jit *j);
/* Set GS base, on entry to the thread that runs translated code. */
void window_enter(struct jit *j);
/* The current space has run for another slice. True: it has just got a window. */
bool window_sample(struct jit *j);
/* Physical memory was remapped. */
void windows_drop_all(struct jit *j);

/*
 * A host page fault at `host` in translated code. Not 0: so many pages were mapped, repeat the access. Safe
 * in the signal handler of a fault that translated code raised: no C code was interrupted. tentative: the
 * access may yet not take place, so no A or D bit may be set for it. If only exactness forbids the mapping,
 * j->exact_step is set.
 */
unsigned window_fault(struct jit *j, uintptr_t host, bool write, bool tentative);

/*
 * Code in a window: the way from EIP to a block may be remembered across loads of CR3, because a change of
 * the tables that concerns it is seen. Each such change, and each window, has a new generation; 0 = no window
 * is in use. Supervisor code on global pages is the same in all spaces.
 */
uint32_t window_code_gen(const struct jit *j);
/* Watch the translation of the code at la; may call jit_rekey. False: it can't be watched. */
bool window_note_code(struct jit *j, uint32_t la, bool global);

/* Is `host` an address in the window that is in use, or in its guard? */
bool window_holds(const struct jit *j, uintptr_t host);

void windows_info(const struct jit *j, FILE *out);

#endif
