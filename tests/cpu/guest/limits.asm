; SPDX-License-Identifier: MIT
; The same accesses through segments of all kinds, at the edges of their limits, by code that has run through segments of
; another kind before (SDM vol. 3, 3.4.5.1 and 5.3): each byte printed has a bit per access that raised #GP(0).
%include "harness.inc"

BASE equ 0x20000

start16:
  protect32 main
bits 32

align 8
table: ; LDT; selector, name
  descriptor 0, 0xfffff, 0xf3, 0xc
  descriptor BASE, 0xfffff, 0xf3, 0xc
  descriptor BASE, 0xffff, 0xf3, 4
  descriptor BASE, 0xfff, 0xf7, 4     ; down, to 4 GB
  descriptor BASE, 0xfff, 0xf7, 0     ; down, to 64 KB
  descriptor BASE, 0xffff, 0xf7, 0    ; down: nothing
  descriptor BASE, 0xfffff, 0xf7, 0xc ; down, of pages: nothing
  descriptor BASE, 0x0000f, 0xf7, 0xc ; down, of pages: from 64 KB
  descriptor BASE, 0xfff, 0xf5, 4     ; down, read only
  descriptor BASE, 0xfffff, 0xf1, 0xc ; read only
  descriptor BASE, 0xffff, 0xfb, 0    ; code
KINDS equ ($ - table) / 8
table_end:
offsets: dd 0, 0xffd, 0xfff, 0x1000, 0xfffc, 0xfffd, 0xffff, 0x10000, 0xfffffffc, 0xfffffffd, 0xffffffff
OFFSETS equ ($ - offsets) / 4
kind: dd 0

; tested INSN: set bit %$bit of BL if it raises #GP(0)
%macro tested 1+
  mov dword [resume], %%after
  mov dword [fault_vector], -1
  mov dword [fault_error], -1
  %1
%%after:
  cmp dword [fault_vector], 13
  jne %%next
  cmp dword [fault_error], 0
  jne %%next
  or bl, 1 << %$bit
%%next:
  %assign %$bit %$bit + 1
%endmacro

; accesses: all at FS:EDI
%macro accesses 0
  %push accesses
  %assign %$bit 0
  xor ebx, ebx
  tested mov al, [fs:edi]
  tested mov ax, [fs:edi]
  tested mov eax, [fs:edi]
  tested or byte [fs:edi], 0
  tested or word [fs:edi], 0
  tested or dword [fs:edi], 0
  tested fild qword [fs:edi]
  tested mov [fs:edi], ecx
  fninit
  mov al, bl
  out PORT_HEX, al
  %pop
%endmacro

; sweep FIRST: through all segments, beginning with number FIRST
%macro sweep 1
  mov dword [kind], 0
%%kinds:
  mov eax, [kind]
  add eax, %1
  xor edx, edx
  mov ecx, KINDS
  div ecx
  lea eax, [edx * 8 + 4]
  out PORT_HEX, al
  mov fs, ax
  say ":"
  xor esi, esi
%%offsets:
  mov edi, [offsets + esi * 4]
  xor ecx, ecx
  accesses
  inc esi
  cmp esi, OFFSETS
  jb %%offsets
  newline
  inc dword [kind]
  cmp dword [kind], KINDS
  jb %%kinds
%endmacro

main:
  fninit
  mov eax, table
  mov [gdt + S_LDT + 2], ax
  shr eax, 16
  mov [gdt + S_LDT + 4], al
  mov word [gdt + S_LDT], table_end - table - 1
  mov ax, S_LDT
  lldt ax
  sweep 0
;= 04 :00 00 00 00 00 00 00 00 00 00 00
;= 0c :00 00 00 00 00 00 00 00 00 00 00
;= 14 :00 00 00 00 40 e4 f6 ff ff ff ff
;= 1c :ff ff ff 00 00 00 00 00 40 e4 f6
;= 24 :ff ff ff 00 40 e4 f6 ff ff ff ff
;= 2c :ff ff ff ff ff ff ff ff ff ff ff
;= 34 :ff ff ff ff ff ff ff ff ff ff ff
;= 3c :ff ff ff ff ff ff ff 00 40 e4 f6
;= 44 :ff ff ff b8 b8 b8 b8 b8 f8 fc fe
;= 4c :b8 b8 b8 b8 b8 b8 b8 b8 b8 b8 b8
;= 54 :b8 b8 b8 b8 f8 fc fe ff ff ff ff
  sweep 3
;= 1c :ff ff ff 00 00 00 00 00 40 e4 f6
;= 24 :ff ff ff 00 40 e4 f6 ff ff ff ff
;= 2c :ff ff ff ff ff ff ff ff ff ff ff
;= 34 :ff ff ff ff ff ff ff ff ff ff ff
;= 3c :ff ff ff ff ff ff ff 00 40 e4 f6
;= 44 :ff ff ff b8 b8 b8 b8 b8 f8 fc fe
;= 4c :b8 b8 b8 b8 b8 b8 b8 b8 b8 b8 b8
;= 54 :b8 b8 b8 b8 f8 fc fe ff ff ff ff
;= 04 :00 00 00 00 00 00 00 00 00 00 00
;= 0c :00 00 00 00 00 00 00 00 00 00 00
;= 14 :00 00 00 00 40 e4 f6 ff ff ff ff
  sweep 2
;= 14 :00 00 00 00 40 e4 f6 ff ff ff ff
;= 1c :ff ff ff 00 00 00 00 00 40 e4 f6
;= 24 :ff ff ff 00 40 e4 f6 ff ff ff ff
;= 2c :ff ff ff ff ff ff ff ff ff ff ff
;= 34 :ff ff ff ff ff ff ff ff ff ff ff
;= 3c :ff ff ff ff ff ff ff 00 40 e4 f6
;= 44 :ff ff ff b8 b8 b8 b8 b8 f8 fc fe
;= 4c :b8 b8 b8 b8 b8 b8 b8 b8 b8 b8 b8
;= 54 :b8 b8 b8 b8 f8 fc fe ff ff ff ff
;= 04 :00 00 00 00 00 00 00 00 00 00 00
;= 0c :00 00 00 00 00 00 00 00 00 00 00
  ; a segment that becomes another under a loop
  say "loop "
  mov edi, 0x1000
  mov esi, 3
  xor ebx, ebx
.again:
  mov ax, 0x0c
  mov fs, ax
  call .touch
  mov ax, 0x1c
  mov fs, ax
  call .touch
  mov ax, 0x14
  mov fs, ax
  call .touch
  dec esi
  jnz .again
  show [BASE + 0x1000]
  newline
;= loop 00000009
  finish
.touch:
  inc dword [fs:edi]
  ret
bits 16
