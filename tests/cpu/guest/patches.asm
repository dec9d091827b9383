; SPDX-License-Identifier: MIT
; Immediate operands that are stored to again and again, each time executed at once: every form, by stores of all kinds, in
; 16-bit code with a base, across page ends, through aliases, and where an operand is code as well (SDM vol. 3, 8.1.3).
%include "harness.inc"

PORT_DMA equ 0xeb
PORT_DMA_ADDRESS equ 0xec
PD equ 0x100000
PT equ 0x101000
%define pte(la) (PT + ((la) >> 12) * 4)
AREA equ 0x30000
ROUNDS equ 8

start16:
  say "real "
  xor bx, bx
  mov cx, ROUNDS
.real:
  mov ax, cx
  imul ax, ax, 0x1357
  mov [based.word - 2], ax
  mov [based.byte - 1], al
  call 0x400:based - 0x4000
  loop .real
  mov ax, bx
  out PORT_HEX, ax
  newline
;= real b500
  protect32 main

bits 16
based: ; CS base 4000h
  add bx, strict word 0
.word:
  xor bl, strict byte 0
.byte:
  retf
bits 32

reference: dd 0, 0, 0

; flags: CF, PF, ZF, SF and OF to EDI
%macro flags 0
  pushfd
  pop edi
  and edi, 0x8c5
%endmacro
%macro begin 0
  xor eax, eax
  mov eax, 0x89abcdef
  mov ecx, 0x89abcdef
  stc
%endmacro

; patched SIZE, REGISTER, {INSN IMMEDIATE}, {INSN REGISTER}: both do the same to EAX, ECX and flags, whatever the number is;
; print how often they did
%macro patched 4
  mov dword [left], ROUNDS
  xor ebx, ebx
%%again:
  imul edx, [left], 0x12345679
  begin
  %4
  flags
  mov [reference], eax
  mov [reference + 4], ecx
  mov [reference + 8], edi
  begin
  mov [%%behind - %1], %2
  %3
%%behind:
  flags
  cmp eax, [reference]
  jne %%wrong
  cmp ecx, [reference + 4]
  jne %%wrong
  cmp edi, [reference + 8]
  jne %%wrong
  inc ebx
%%wrong:
  dec dword [left]
  jnz %%again
  mov al, bl
  out PORT_HEX, al
%endmacro

left: dd 0

; called N ... execute: EDX = N, N - 1, ... 1: store it by the code between, call EBP and print the sum of what ECX is then
%macro called 1
  %push called
  mov edx, %1
  xor ebx, ebx
%$again:
%endmacro
%macro execute 0
  call ebp
  add ebx, ecx
  dec edx
  jnz %$again
  mov eax, ebx
  out PORT_HEX, eax
  %pop
%endmacro

main:
  say "mov "
  patched 4, edx, {mov ecx, strict dword 0}, {mov ecx, edx}
  patched 2, dx, {mov cx, strict word 0}, {mov cx, dx}
  patched 1, dl, {mov cl, strict byte 0}, {mov cl, dl}
  patched 1, dl, {mov ch, strict byte 0}, {mov ch, dl}
  patched 4, edx, {db 0xc7, 0xc1, 0, 0, 0, 0}, {mov ecx, edx}
  patched 1, dl, {db 0xc6, 0xc5, 0}, {mov ch, dl}
  newline
;= mov 08 08 08 08 08 08
  say "arithmetic "
  patched 4, edx, {add ecx, strict dword 0}, {add ecx, edx}
  patched 4, edx, {adc ecx, strict dword 0}, {adc ecx, edx}
  patched 2, dx, {sbb cx, strict word 0}, {sbb cx, dx}
  patched 4, edx, {cmp ecx, strict dword 0}, {cmp ecx, edx}
  patched 1, dl, {and ch, strict byte 0}, {and ch, dl}
  patched 1, dl, {or cl, strict byte 0}, {or cl, dl}
  patched 4, edx, {sub eax, strict dword 0}, {sub eax, edx}
  patched 2, dx, {xor ax, strict word 0}, {xor ax, dx}
  patched 1, dl, {adc al, strict byte 0}, {adc al, dl}
  newline
;= arithmetic 08 08 08 08 08 08 08 08 08
  say "others "
  patched 4, edx, {test eax, strict dword 0}, {test eax, edx}
  patched 1, dl, {test al, strict byte 0}, {test al, dl}
  patched 4, edx, {test ecx, strict dword 0}, {test ecx, edx}
  patched 1, dl, {test ch, strict byte 0}, {test ch, dl}
  patched 4, edx, {imul ecx, ecx, strict dword 0}, {imul ecx, edx}
  newline
;= others 08 08 08 08 08
  say "parts "
  mov ebp, parts
  called 10
    mov [parts.behind - 4], dl
  execute
  called 10
    mov [parts.behind - 3], dx
  execute
  called 10
    mov byte [parts.behind - 1], dl
    mov byte [parts.behind - 2], dh
  execute
  newline
;= parts 00000037 0000370a 37000a0a
  say "opcode too " ; becomes mov edx, and back
  mov ebp, parts
  mov dword [parts.behind - 4], 0
  called 6
    mov ecx, 1000
    push edx
    mov word [parts], 0x07ba
    call ebp
    add ebx, edx
    pop edx
    mov dh, dl
    mov dl, 0xb9
    mov [parts], dx
    movzx edx, dh
  execute
  newline
;= opcode too 0000003f
  say "strings "
  mov ebp, parts
  called 10
    mov edi, parts.behind - 4
    mov eax, edx
    stosd
  execute
  called 10
    mov edi, parts.behind - 4
    mov esi, left
    mov [left], edx
    mov ecx, 4
    rep movsb
  execute
  called 10
    mov edi, parts.behind - 4
    mov eax, edx
    mov ecx, 3
    rep stosb
  execute
  called 10
    mov eax, parts.behind - 4
    out PORT_DMA_ADDRESS, eax
    mov eax, edx
    out PORT_DMA, al
  execute
  newline
;= strings 00000037 00000037 00373737 000a0a37
  say "loop "
  mov esi, 200
  xor ebx, ebx
  mov edx, 3
.loop:
  mov [.behind - 4], edx
  add ebx, strict dword 0
.behind:
  lea edx, [edx + edx * 2]
  mov [.second - 1], dl
  mov cl, strict byte 0
.second:
  xor bl, cl
  dec esi
  jnz .loop
  show ebx
  newline
;= loop 00750300
  say "operand is code "
  mov esi, 8
  xor ebx, ebx
.both:
  mov edx, 0xc3909043 ; inc ebx; nop; nop; ret
  test esi, 1
  jz .even
  mov edx, 0xc3904343
.even:
  mov [parts.behind - 4], edx
  call parts
  add ebx, ecx
  call parts + 1
  dec esi
  jnz .both
  show ebx
  newline
;= operand is code 1c834e24

  ; paging: an alias of AREA's page, another frame behind it
  mov edi, PD
  mov ecx, 0x400
  xor eax, eax
  rep stosd
  mov dword [PD], PT | 7
  mov edi, PT
  mov eax, 7
  mov ecx, 1024
.map:
  stosd
  add eax, 0x1000
  loop .map
  mov dword [pte(0x200000)], AREA | 7
  mov dword [pte(0x201000)], (AREA + 0x2000) | 7
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:
  say "alias "
  mov word [AREA + 0x100], 0xb990 ; nop; mov ecx, imm32
  mov byte [AREA + 0x106], 0xc3
  mov ebp, AREA + 0x100
  called 10
    mov [0x200102], edx
  execute
  mov ebp, 0x200100
  called 10
    mov [AREA + 0x102], edx
  execute
  newline
;= alias 00000037 00000037
  say "page end "
%assign i 0
%rep 6 ; the opcode, and i bytes of the operand, on the first page
  mov esi, parts
  mov edi, 0x200fff - i
  mov ecx, parts_end - parts
  rep movsb
  mov ebp, 0x200fff - i
  called 10
    imul eax, edx, 0x01020305
    mov [0x201000 - i], eax
  execute
%assign i i + 1
%endrep
  newline
;= page end 376ea613 376ea613 376ea613 376ea613 376ea613 376ea613
  ring3 user

parts:
  mov ecx, strict dword 0
.behind:
  ret
parts_end:

user:
  say "ring 3 "
  mov ebp, parts
  called 10
    mov [parts.behind - 4], edx
  execute
  newline
;= ring 3 00000037
  finish
