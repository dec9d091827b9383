; SPDX-License-Identifier: MIT
; Instructions that are stored to again and again and have no operand that could be loaded instead: the number of INT n (as
; DOS programs do), opcodes, displacements, targets of jumps; each is executed at once. Then long without a store, and with
; one more (SDM vol. 3, 8.1.3).
%include "harness.inc"

start16:
  mov word [0x61 * 4], add_low
  mov word [0x61 * 4 + 2], 0
  mov word [0x62 * 4], add_high
  mov word [0x62 * 4 + 2], 0
  say "int "
  xor dx, dx
  mov cx, 300
.patched:
  mov al, cl
  and al, 1
  add al, 0x61
  mov [number], al
  call interrupt
  loop .patched
  mov ax, dx
  out PORT_HEX, ax
  mov cx, 10000
.steady:
  call interrupt
  loop .steady
  mov ax, dx
  out PORT_HEX, ax
  mov byte [number], 0x61
  call interrupt
  mov ax, dx
  out PORT_HEX, ax
  newline
;= int 9696 a696 a697
  protect32 main

add_low:
  add dx, 1
  iret
add_high:
  add dx, 0x100
  iret
interrupt:
  int 0x61
number equ $ - 1
  ret

bits 32
table: dd 1, 0x10, 0x100, 0x1000

opcode:
  inc eax
  ret
displacement:
  mov eax, [table]
  ret
jump:
  db 0xeb, 0 ; jmp short
  inc eax
  ret
  inc edx
  ret

main:
  say "opcode "
  xor eax, eax
  xor edx, edx
  mov esi, 400
.opcode:
  mov ebx, esi
  and ebx, 1
  lea ebx, [ebx * 2 + 0x40] ; inc eax, inc edx
  mov [opcode], bl
  call opcode
  dec esi
  jnz .opcode
  shl edx, 16
  or edx, eax
  show edx
  newline
;= opcode 00c800c8
  say "displacement "
  xor edx, edx
  mov esi, 400
.displacement:
  mov ebx, esi
  and ebx, 3
  lea ebx, [ebx * 4 + table]
  mov [displacement + 1], ebx
  call displacement
  add edx, eax
  dec esi
  jnz .displacement
  show edx
  newline
;= displacement 0006aaa4
  say "jump "
  xor eax, eax
  xor edx, edx
  mov esi, 400
.jump:
  mov ebx, esi
  and ebx, 2
  mov [jump + 1], bl
  call jump
  dec esi
  jnz .jump
  shl edx, 16
  or edx, eax
  show edx
  mov esi, 9000
  xor eax, eax
  xor edx, edx
.steady:
  call jump
  dec esi
  jnz .steady
  mov byte [jump + 1], 2
  call jump
  shl edx, 16
  or edx, eax
  show edx
  newline
;= jump 00c800c8 00012328
  finish
