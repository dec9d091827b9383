; SPDX-License-Identifier: MIT
; The A20 line: data, code, stacks and page tables above 1 MB with address bit 20 held low and let through, and code that
; was run at one address before the line changed (IBM PC/AT technical reference; SDM vol. 3, 20.1.1).
%include "harness.inc"
bits 16

PORT_A20 equ 0xea
PD equ 0x400000
PT equ 0x401000
%define pte(la) (PT + ((la) >> 12) * 4)

%macro a20 1
  mov al, %1
  out PORT_A20, al
%endmacro

start16:
  a20 1
  mov ax, 0xffff
  mov es, ax
  mov dword [0x600], 0x11111111
  mov dword [es:0x610], 0x22222222 ; physical 100600h
  say "on "
  show [0x600]
  show [es:0x610]
  newline
  a20 0
  say "off "
  show [0x600]
  show [es:0x610]
  mov dword [es:0x610], 0x33333333
  show [0x600]
  a20 1
  show [es:0x610]
  newline
;= on 11111111 22222222
;= off 11111111 11111111 33333333 22222222
  ; the word at FFFFFh and 100000h
  mov byte [0], 0x55
  mov byte [es:0x10], 0xaa
  say "edge "
  mov ax, [es:0x0f]
  mov al, ah
  out PORT_HEX, al
  a20 0
  mov ax, [es:0x0f]
  mov al, ah
  out PORT_HEX, al
  a20 1
  newline
;= edge aa 55
  ; the same code address in turn
  mov dword [0x600], 0xcb01b0 ; mov al, 1; retf
  mov dword [es:0x610], 0xcb02b0
  say "code "
  mov cx, 2
.again:
  a20 1
  call 0xffff:0x610
  out PORT_HEX, al
  a20 0
  call 0xffff:0x610
  out PORT_HEX, al
  loop .again
  mov byte [0x601], 3 ; through its own address
  call 0xffff:0x610
  out PORT_HEX, al
  mov byte [es:0x611], 4 ; and through the other
  call 0:0x600
  out PORT_HEX, al
  a20 1
  call 0xffff:0x610
  out PORT_HEX, al
  newline
;= code 02 01 02 01 03 04 02
  ; a stack up there
  a20 0
  mov dx, sp
  mov ax, ss
  mov bx, 0xffff
  mov ss, bx
  mov sp, 0x720
  push word 0xbeef ; physical 70Eh
  mov ss, ax
  mov sp, dx
  a20 1
  say "stack "
  mov ax, [0x70e]
  out PORT_HEX, ax
  newline
;= stack beef
  protect32 main
bits 32
main:
  mov dword [0x300000], 0x30303030
  mov dword [0x200000], 0x20202020
  say "protected "
  show [0x300000]
  a20 0
  show [0x300000]
  show [0x200000]
  a20 1
  show [0x300000]
  newline
;= protected 30303030 20202020 20202020 30303030
  ; paging: the line acts on physical addresses, of frames and of tables
  mov edi, PD
  mov ecx, 0x400
  xor eax, eax
  rep stosd
  mov dword [PD], PT | 7
  mov dword [PD + 4], PT | 7
  mov edi, PT
  mov eax, 7
  mov ecx, 1024
.map:
  stosd
  add eax, 0x1000
  loop .map
  mov dword [pte(0x180000)], 0x300007
  mov dword [pte(0x181000)], 0x201007
  mov dword [0x201000], 0x21212121
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:
  say "frame "
  show [0x180000]
  a20 0
  show [0x180000]
  show [0x181000]
  a20 1
  show [0x180000]
  newline
;= frame 30303030 20202020 21212121 30303030
  ; a page table whose address has bit 20: PDE 1 leads to 501000h, with the line low to 401000h
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov edi, 0x501000
  mov ecx, 0x400
  mov eax, 0x201007
  rep stosd
  mov dword [PD + 4], 0x501007
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged2
.paged2:
  say "table "
  show [0x400000 + 0x200000]
  a20 0
  show [0x400000 + 0x200000] ; by PT: 200000h
  a20 1
  show [0x400000 + 0x200000]
  newline
;= table 21212121 20202020 21212121
  finish
