; SPDX-License-Identifier: MIT
;
; A DOS program for VBE (VBE Core Functions 3.0): asks for the controller (4F00h), looks for a mode in its list that is
; 640x480 with 8 bits a pixel, asks about it (4F01h), sets it (4F02h) and draws pixel (x, y) = x + y through the window
; at A000h, bank by bank (4F05h) as the mode's granularity says. Then it waits for a key. Exit status 1 and a line if
; something is not as it should be.
  org 100h
  cpu 386

start:
  mov di, info
  mov dword [di], 'VBE2'
  mov ax, 4f00h
  int 10h
  cmp ax, 004fh
  jne bad
  cmp dword [info], 'VESA'
  jne bad
  lfs si, [info + 14]      ; the list of modes
.next:
  mov cx, [fs:si]
  add si, 2
  cmp cx, 0ffffh
  je bad
  mov [mode], cx
  push si
  push fs
  push ds
  pop es
  mov di, block
  mov ax, 4f01h
  int 10h
  pop fs
  pop si
  cmp ax, 004fh
  jne .next
  test byte [block], 1     ; supported
  jz .next
  cmp word [block + 18], 640
  jne .next
  cmp word [block + 20], 480
  jne .next
  cmp byte [block + 25], 8
  jne .next
  cmp byte [block + 27], 4 ; packed pixels
  jne .next
  mov bx, [mode]
  mov ax, 4f02h
  int 10h
  cmp ax, 004fh
  jne bad
  call palette
  mov es, [block + 8]      ; window A
  mov word [bank], 0
  mov word [y], 0
  xor di, di
  call set_bank
.line:
  xor dx, dx               ; x
.pixel:
  mov al, dl
  add al, [y]
  stosb
  test di, di
  jnz .same_bank
  push dx
  call next_bank
  pop dx
.same_bank:
  inc dx
  cmp dx, [block + 16]     ; bytes a line, which may be more than pixels
  jne .pixel
  inc word [y]
  cmp word [y], 480
  jne .line
  jmp leave_by_key

next_bank:                 ; 64 KB further, in units of the granularity
  mov ax, 64
  xor dx, dx
  div word [block + 4]
  add [bank], ax
set_bank:
  xor bx, bx
  mov dx, [bank]
  mov ax, 4f05h
  int 10h
  ret

bad:
  mov ax, 3
  int 10h
  mov dx, sorry
  mov ah, 9
  int 21h
  mov ax, 4c01h
  int 21h

sorry: db 'VESA: no such mode, or an error', 13, 10, '$'
mode: dw 0
bank: dw 0
y: dw 0

%include "palette.inc"

align 4
info equ $
block equ info + 512
