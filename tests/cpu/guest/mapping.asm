; SPDX-License-Identifier: MIT
; What a translation cache may keep and what must end it: CR3, INVLPG, global pages, CR4, WP, PDPTEs, page tables reached
; through themselves, one linear address in two address spaces (SDM vol. 3, 4.4.1, 4.10).
%include "harness.inc"

PD equ 0x100000
PT equ 0x101000
PD2 equ 0x102000
PT2 equ 0x103000
PDPT equ 0x110000
PAE_PD equ 0x111000
PAE_PD2 equ 0x112000
LA equ 0x200000
SELF equ 0xffc00000 ; the tables, when the directory is its own last table
%define pte(la) (PT + ((la) >> 12) * 4)
%define self_pte(la) (SELF + ((la) >> 12) * 4)
A equ 0x300000
B equ 0x301000

start16:
  protect32 main
bits 32

%macro flush 0
  mov eax, cr3
  mov cr3, eax
%endmacro
%macro set_cr4 1
  mov eax, cr4
  or eax, %1
  mov cr4, eax
%endmacro
%macro clear_cr4 1
  mov eax, cr4
  and eax, ~(%1)
  mov cr4, eax
%endmacro

main:
  mov dword [A], 0xaaaaaaaa
  mov dword [B], 0xbbbbbbbb
  mov edi, PD
  mov ecx, 0x400
  xor eax, eax
  rep stosd
  mov dword [PD], PT | 7
  mov dword [PD + 0xffc], PD | 7
  mov edi, PT
  mov eax, 7
  mov ecx, 1024
.map:
  stosd
  add eax, 0x1000
  loop .map
  ; a second address space: the same but for LA
  mov esi, PD
  mov edi, PD2
  mov ecx, 0x800
  rep movsd
  mov dword [PD2], PT2 | 7
  mov dword [PT2 + (LA >> 12) * 4], B | 7
  mov dword [pte(LA)], A | 7
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:
  say "spaces "
  mov ecx, 3
.spaces:
  mov eax, PD
  mov cr3, eax
  show [LA]
  mov eax, PD2
  mov cr3, eax
  show [LA]
  loop .spaces
  mov eax, PD
  mov cr3, eax
  newline
;= spaces aaaaaaaa bbbbbbbb aaaaaaaa bbbbbbbb aaaaaaaa bbbbbbbb
  ; the same with code: MOV AL, imm8; RET in both frames
  mov dword [A], 0xc301b0
  mov dword [B], 0xc302b0
  say "code "
  mov ecx, 3
  mov edx, LA
.code:
  mov eax, PD
  mov cr3, eax
  call edx
  out PORT_HEX, al
  mov eax, PD2
  mov cr3, eax
  call edx
  out PORT_HEX, al
  loop .code
  mov eax, PD
  mov cr3, eax
  newline
;= code 01 02 01 02 01 02
  mov dword [A], 0xaaaaaaaa
  mov dword [B], 0xbbbbbbbb
  ; through the tables' own mapping: absent, then present, used at once
  say "self map "
  mov ecx, 0x40
  xor ebx, ebx
.self:
  mov eax, [self_pte(LA) + ecx * 4]
  mov dword [self_pte(LA) + ecx * 4], 0
  mov edx, ecx
  shl edx, 12
  invlpg [LA + edx]
  mov dword [self_pte(LA) + ecx * 4], A | 7
  add ebx, [LA + edx]
  mov [self_pte(LA) + ecx * 4], eax
  invlpg [LA + edx]
  loop .self
  show ebx
  newline
;= self map aaaaaa80
  ; a table made by the fault handler, a whole directory entry at a time
  say "demand "
  mov dword [hook], demand
  mov dword [PD + 4], 0
  flush
  mov ecx, 16
  mov esi, 0x400000
  xor ebx, ebx
.demand:
  add ebx, [esi]
  add esi, 0x1000
  loop .demand
  mov dword [hook], 0
  show ebx
  show [faults]
  newline
;= demand aaaaaaa0 00000010
  ; global pages stay over CR3, and go with INVLPG and CR4.PGE
  set_cr4 0x80
  mov dword [pte(LA)], A | 0x107
  invlpg [LA]
  say "global "
  show [LA]
  mov dword [pte(LA)], B | 0x107
  invlpg [LA]
  show [LA]
  mov dword [pte(LA)], A | 0x107
  clear_cr4 0x80
  show [LA]
  mov dword [pte(LA)], B | 7
  flush
  show [LA]
  newline
;= global aaaaaaaa bbbbbbbb aaaaaaaa bbbbbbbb
  ; WP takes effect at once
  say "wp "
  mov dword [pte(LA)], A | 5
  invlpg [LA]
  attempt mov dword [LA], 0xa1a1a1a1
  mov eax, cr0
  or eax, 0x10000
  mov cr0, eax
  say "wp set "
  attempt mov dword [LA], 0xa2a2a2a2
  mov eax, cr0
  and eax, ~0x10000
  mov cr0, eax
  say "wp clear "
  attempt mov dword [LA], 0xa3a3a3a3
  show [A]
  newline
;= wp none
;= wp set 0e 00000003 00
;= wp clear none
;= a3a3a3a3
  ; the accessed and dirty bits come back when software clears them and says so
  say "bits "
  mov dword [pte(LA)], A | 7
  invlpg [LA]
  mov ecx, [LA]
  show [pte(LA)]
  mov [LA], ecx
  show [pte(LA)]
  and dword [pte(LA)], ~0x60
  invlpg [LA]
  mov [LA], ecx
  show [pte(LA)]
  and dword [pte(LA)], ~0x40
  flush
  mov ecx, [LA]
  show [pte(LA)]
  inc dword [LA]
  show [pte(LA)]
  newline
;= bits 00300027 00300067 00300067 00300027 00300067
  ; a large page, split into small ones and joined again
  set_cr4 0x10
  mov dword [PD + 8], 0x87 ; 800000h -> 0
  say "large "
  mov ecx, [0x800000 + A]
  show ecx
  mov dword [PD + 8], PT2 | 7
  invlpg [0x800000 + A]
  mov dword [PT2 + (LA >> 12) * 4], B | 7
  show [0x800000 + LA]
  mov dword [PD + 8], 0x00000087
  invlpg [0x800000 + LA]
  show [0x800000 + A]
  mov dword [PD + 8], 0
  invlpg [0x800000]
  newline
;= large a3a3a3a4 bbbbbbbb a3a3a3a4
  ; PDPTEs are what CR3 was loaded with, not what memory says
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov edi, PDPT
  mov ecx, 0xc00
  xor eax, eax
  rep stosd
  mov dword [PDPT], PAE_PD | 1
  mov dword [PDPT + 8], PAE_PD | 1
  mov dword [PAE_PD], 0x87
  mov dword [PAE_PD + 8], 0x200087
  mov dword [PAE_PD2], 0x200087
  set_cr4 0x20
  mov eax, PDPT
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .pae
.pae:
  mov dword [0x1000], 0x01010101
  mov dword [0x201000], 0x02020202
  say "pdpte "
  show [0x40001000]
  mov dword [PDPT + 8], PAE_PD2 | 1
  invlpg [0x40001000]
  show [0x40001000]
  mov eax, cr3
  mov cr3, eax
  show [0x40001000]
  mov dword [PDPT + 8], 0
  mov eax, cr3
  mov cr3, eax
  newline
;= pdpte 01010101 01010101 02020202
  say "gone "
  attempt mov eax, [0x40001000]
;= gone 0e 00000000 00
  finish

faults: dd 0
demand: ; map one page, through the tables' own mapping
  inc dword [faults]
  mov eax, [PD + 4]
  test eax, eax
  jnz .table
  mov edi, 0x104000
  mov ecx, 0x400
  xor eax, eax
  rep stosd
  mov dword [PD + 4], 0x104007
.table:
  mov eax, [fault_cr2]
  shr eax, 12
  mov dword [SELF + eax * 4], A | 7
  ret
