; SPDX-License-Identifier: MIT
; 16-bit protected mode as Windows 3.x lives in it: LDT segments with small limits, 16-bit stacks in a 32-bit ESP,
; strings that run into a limit, far pointers, expand-down stacks (SDM vol. 3, 3.4 and 21).
%include "harness.inc"

%define LDT_ENTRY(n) (0x21000 + (n) * 8)
L_CODE equ 0x0f ; base 24000h
L_DATA equ 0x17 ; base 25000h, limit 1FFh
L_STACK equ 0x1f ; base 26000h
L_DOWN equ 0x27 ; base 27000h, expand-down: offsets from 1000h

start16:
  protect32 main
bits 32
main:
  mov esi, ldt_image
  mov edi, 0x21000
  mov ecx, 5 * 8
  cld
  rep movsb
  mov word [gdt + S_LDT], 0x27
  mov ax, S_LDT
  lldt ax
  mov esi, code16
  mov edi, 0x24000
  mov ecx, code16_end - code16
  rep movsb
  mov dword [0x25010], 0x00170020 ; far pointer L_DATA:0020
  mov dword [0x25020], 0x12345678
  ring3 user

user:
  say "far "
  call L_CODE:far16 - code16
  mov ebx, cs
  show ebx
  newline
;= far 0000000f 0000001b
  mov bx, L_DATA
  mov es, bx
  say "limit "
  mov dword [resume], .limit
  mov dword [fault_vector], -1
  mov edi, 0x1f0
  mov ecx, 0x30
  mov al, 0x77
  rep stosb
.limit:
  show [fault_vector]
  show edi
  show ecx
  movzx ebx, byte [0x251ff]
  show ebx
  movzx ebx, byte [0x25200]
  show ebx
  newline
;= limit 0000000d 00000200 00000020 00000077 00000000
  say "movs "
  mov dword [resume], .movs
  mov dword [fault_vector], -1
  mov edi, 0x1fd
  mov esi, main
  mov ecx, 4
  rep movsw ; the second word would straddle the limit
.movs:
  show [fault_vector]
  show edi
  show ecx
  newline
;= movs 0000000d 000001ff 00000003
  ; a 16-bit stack: only SP moves
  mov edx, esp
  mov bx, L_STACK
  mov ebp, 0xeeee4444
  say "stack16 "
  mov ss, bx
  mov esp, 0xabcd0100
  push dword 0x11112222
  mov esi, esp
  pop edi
  enter 8, 0
  mov ebx, ebp
  leave
  push ebp
  call .near
  mov ecx, esp
  mov ax, U_DATA
  mov ss, ax
  xchg esp, edx
  show esi
  show edi
  show ebx
  show ecx
  show ebp
  show edx
  newline
  jmp .past
.near:
  ret
.past:
;= stack16 abcd00fc 11112222 abcd00fc abcd00fc eeee4444 abcd00fc
  say "wrap16 "
  mov edx, esp
  mov bx, L_STACK
  mov ss, bx
  mov esp, 0x55550002
  push word 0x7777 ; to 0
  push word 0x8888 ; to FFFEh
  mov esi, esp
  mov ax, U_DATA
  mov ss, ax
  mov esp, edx
  show esi
  movzx ebx, word [0x26000]
  show ebx
  movzx ebx, word [0x35ffe]
  show ebx
  newline
;= wrap16 5555fffe 00007777 00008888
  ; ENTER around the wrap: the frame pointer keeps the upper half of ESP
  say "enter wrap "
  mov edx, esp
  mov bx, L_STACK
  mov ss, bx
  mov esp, 0x55550000
  mov ebp, 0x12345678
  enter 4, 1
  mov esi, ebp
  mov edi, esp
  leave
  mov ecx, esp
  mov ax, U_DATA
  mov ss, ax
  mov esp, edx
  show esi
  show edi
  show ebp
  show ecx
  show [0x35ff8]
  newline
;= enter wrap 5555fffc 5555fff4 12345678 55550000 5555fffc
  ; A doubleword at FFFEh crosses the limit: #SS(0). IRET to a 16-bit stack restores SP only, so the upper half of
  ; ESP is then the handler's, as on hardware.
  say "straddle "
  mov edx, esp
  mov bx, L_STACK
  mov dword [resume], .straddle
  mov dword [fault_vector], -1
  mov ss, bx
  mov esp, 0x55550002
  push dword 0x99999999
.straddle:
  mov esi, esp
  mov ax, U_DATA
  mov ss, ax
  mov esp, edx
  show [fault_vector]
  show [fault_error]
  show esi
  newline
;= straddle 0000000c 00000000 00060002
  say "down "
  mov edx, esp
  mov bx, L_DOWN
  mov dword [resume], .down
  mov dword [fault_vector], -1
  mov ss, bx
  mov esp, 0x1004
  push dword 0x31313131 ; down to 1000h
  mov esi, esp
  push dword 0x32323232 ; below the limit
.down:
  mov edi, esp
  mov ax, U_DATA
  mov ss, ax
  mov esp, edx
  show [fault_vector]
  show [fault_error]
  show esi
  show edi
  show [0x28000]
  newline
;= down 0000000c 00000000 00001000 00061000 31313131
  say "popa "
  mov edx, esp
  mov bx, L_STACK
  mov ss, bx
  mov esp, 0x12340010
  o16 pusha
  mov esi, esp
  o16 popa
  mov edi, esp
  mov ax, U_DATA
  mov ss, ax
  mov esp, edx
  show edi
  newline
;= popa 12340010
  say "ldt gate "
  mov bx, 0x2f ; past the LDT
  attempt mov fs, bx
;= ldt gate 0d 0000002c 00
  finish

bits 16
code16: ; runs at L_CODE:0
far16 equ $
  push ds
  push es
  mov ax, L_DATA
  mov ds, ax
  lds si, [0x10]
  mov eax, [si]
  cmp eax, 0x12345678
  jne .wrong
  les bx, [0x10]
  mov ax, es
  cmp ax, L_DATA
  jne .wrong
  cmp bx, 0x20
  jne .wrong
  movzx ecx, si
  add cx, 0xffe0 ; wraps to 0
  jcxz .right
.wrong:
  mov eax, 0xbad
  out PORT_HEX, eax
.right:
  pop es
  pop ds
  mov ax, cs
  movzx eax, ax
  out PORT_HEX, eax
  o32 retf
code16_end:

ldt_image:
  dq 0
  descriptor 0x24000, 0xfff, 0xfb, 0
  descriptor 0x25000, 0x1ff, 0xf3, 0
  descriptor 0x26000, 0xffff, 0xf3, 0
  descriptor 0x27000, 0xfff, 0xf7, 0
