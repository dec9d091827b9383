; SPDX-License-Identifier: MIT
; What the x87 unit tells of the last instruction: FNSTENV, FNSAVE and FXSAVE with 16- and 32-bit operands in real,
; protected and V86 mode; FLDENV and FRSTOR back; TS and EM; #MF, FERR# and IGNNE# (SDM vol. 1, 8.1.8 to 8.1.10, 8.6, app. D).
; One guest runs all: a host address in any pointer would show.
%include "harness.inc"
bits 16

ENV equ 0x1000
OPERAND equ 0x1800

; The seven fields of a 32-bit image at ENV, the low words of the first three. Clobbers EAX, ECX.
%macro show_env32 0
  mov ax, [ENV]
  out PORT_HEX, ax
  mov ax, [ENV + 4]
  out PORT_HEX, ax
  mov ax, [ENV + 8]
  out PORT_HEX, ax
  mov eax, [ENV + 12]
  out PORT_HEX, eax
  mov eax, [ENV + 16]
  out PORT_HEX, eax
  mov eax, [ENV + 20]
  out PORT_HEX, eax
  mov eax, [ENV + 24]
  out PORT_HEX, eax
  newline
%endmacro
%macro show_env16 0
  %assign %%i 0
  %rep 7
    mov ax, [ENV + %%i]
    out PORT_HEX, ax
    %assign %%i %%i + 2
  %endrep
  newline
%endmacro

start16:
  ; Code at 1234:, so that selector and offset differ; FLD m32 at 1234:0000 with DS = 0123.
  mov ax, 0x1234
  mov es, ax
  mov si, sample16
  xor di, di
  mov cx, sample16_end - sample16
  cld
  rep movsb
  fninit
  call 0x1234:0
  say "real 16 "
  show_env16
;= real 16 037f 3800 7fff 2349 1107 2a30 0000
  call 0x1234:0
  o32 fnstenv [ENV] ; after FNSTENV above nothing else ran but the sample
  say "real 32 "
  show_env32
;= real 32 037f 3000 5fff ffff2349 00001107 ffff2a30 00000000
  ; FLDENV in real mode keeps linear pointers
  mov word [ENV + 0], 0x027f
  mov word [ENV + 2], 0x2000
  mov word [ENV + 4], 0x5555
  mov word [ENV + 6], 0xabcd
  mov word [ENV + 8], 0x97ff ; address bits 19:16 = 9; opcode 7FF (bit 11 is no part of it)
  mov word [ENV + 10], 0x1357
  mov word [ENV + 12], 0xf000
  o16 fldenv [ENV]
  o16 fnstenv [ENV]
  say "fldenv 16 "
  show_env16
;= fldenv 16 027f 2000 5555 abcd 97ff 1357 f000
  fninit
  o16 fnstenv [ENV]
  say "fninit "
  show_env16
;= fninit 037f 0000 ffff 0000 0000 0000 0000
  protect32 main

sample16: ; far: leaves the environment in ENV
  push ds
  mov ax, 0x0123
  mov ds, ax
  mov bx, OPERAND
.fld:
  fld dword [bx]
  pop ds
  o16 fnstenv [ENV]
  retf
sample16_end:

bits 32
main:
  fninit
.fld:
  fld qword [OPERAND]
  o32 fnstenv [ENV]
  mov eax, [ENV + 12]
  sub eax, .fld
  mov [ENV + 12], eax
  say "prot 32 "
  show_env32
;= prot 32 037f 3800 7fff 00000000 05050008 00001800 ffff0010
  say "unused "
  mov eax, [ENV]
  out PORT_HEX, eax
  mov eax, [ENV + 4]
  out PORT_HEX, eax
  mov eax, [ENV + 8]
  out PORT_HEX, eax
  newline
;= unused ffff037f ffff3800 ffff7fff
  o16 fnstenv [ENV]
  mov word [ENV + 6], 0
  say "prot 16 "
  show_env16
;= prot 16 037f 3800 7fff 0000 0008 1800 0010
  ; which instructions move the pointers: register forms keep the operand's, control instructions keep all
  mov bx, K_DATA16
  mov es, bx
  fninit
  fld1
  fld1
.fadd:
  fadd dword [es:OPERAND + 8]
.fxch:
  fxch st1
  fldcw [OPERAND + 16]
  fnclex
  fnstcw [OPERAND + 16]
  fwait
  o32 fnstenv [ENV]
  mov eax, [ENV + 12]
  sub eax, .fxch
  mov [ENV + 12], eax
  say "register form "
  show_env32
;= register form 0040 3000 0fff 00000000 01c90008 00001808 ffff0030
  fninit
  mov dword [OPERAND], 0x3fc00000
  fld dword [OPERAND] ; 1.5
  fld1
  fldz
  fchs
  ; FNSAVE: image, then as after FNINIT
  o32 fnsave [ENV]
  mov dword [ENV + 12], 0
  say "fnsave "
  show_env32
  mov eax, [ENV + 28]
  out PORT_HEX, eax
  mov ax, [ENV + 28 + 8]
  out PORT_HEX, ax
  mov eax, [ENV + 28 + 20 + 4]
  out PORT_HEX, eax
  mov ax, [ENV + 28 + 20 + 8]
  out PORT_HEX, ax
  newline
  o32 fnstenv [ENV + 0x100]
  mov eax, [ENV + 0x100 + 4]
  out PORT_HEX, ax
  mov eax, [ENV + 0x100 + 8]
  out PORT_HEX, ax
  mov eax, [ENV + 0x100 + 12]
  out PORT_HEX, eax
  mov eax, [ENV + 0x100 + 16]
  out PORT_HEX, eax
  newline
;= fnsave 037f 2800 07ff 00000000 01e00008 00001800 ffff0010
;= 00000000 8000 c0000000 3fff
;= 0000 ffff 00000000 00000000
  mov dword [ENV + 12], 0x12345678
  mov dword [ENV + 16], 0x07ab4321
  mov dword [ENV + 20], 0x9abcdef0
  mov dword [ENV + 24], 0xffff8765
  o32 frstor [ENV]
  o32 fnstenv [ENV]
  say "frstor "
  show_env32
;= frstor 037f 2800 07ff 12345678 07ab4321 9abcdef0 ffff8765
  ; FXSAVE: abridged tags, full pointers, registers as they are; FXRSTOR back after FNINIT
  mov eax, cr4
  or ah, 2
  mov cr4, eax
  db 0x0f, 0xae, 0x05 ; fxsave [ENV + 200h]
  dd ENV + 0x200
  say "fxsave "
  mov ax, [ENV + 0x200]
  out PORT_HEX, ax
  mov ax, [ENV + 0x202]
  out PORT_HEX, ax
  mov ax, [ENV + 0x204]
  out PORT_HEX, ax
  mov ax, [ENV + 0x206]
  out PORT_HEX, ax
  mov eax, [ENV + 0x208]
  out PORT_HEX, eax
  mov eax, [ENV + 0x20c]
  out PORT_HEX, eax
  mov eax, [ENV + 0x210]
  out PORT_HEX, eax
  mov eax, [ENV + 0x214]
  out PORT_HEX, eax
  mov eax, [ENV + 0x218]
  out PORT_HEX, eax
  newline
;= fxsave 037f 2800 00e0 07ab 12345678 00004321 9abcdef0 00008765 00001f80
  fninit
  db 0x0f, 0xae, 0x0d ; fxrstor
  dd ENV + 0x200
  o32 fnstenv [ENV]
  say "fxrstor "
  show_env32
;= fxrstor 037f 2800 07ff 12345678 07ab4321 9abcdef0 ffff8765
  jmp switching

; --- TS: a task's first use of the unit faults, its owner's state is saved and this one's loaded
owner: dd 0
nm_hook:
  clts
  mov eax, [owner]
  xor dword [owner], 0x200
  add eax, ENV + 0x400
  fnsave [eax]
  mov eax, [owner]
  add eax, ENV + 0x400
  frstor [eax]
  mov al, '!'
  out PORT_CHAR, al
  ret
switching:
  fninit
  fnsave [ENV + 0x400]
  fnsave [ENV + 0x600]
  mov dword [hook], nm_hook
  say "switch "
  fld1 ; the first task's
  mov ecx, 3
.turn:
  mov eax, cr0
  or al, 8
  mov cr0, eax ; the second's turn
  fldz
  fld1
  fcompp
  mov eax, cr0
  or al, 8
  mov cr0, eax ; and back
  fld st0
  faddp
  loop .turn
  mov dword [hook], 0
  fistp dword [OPERAND]
  mov eax, [OPERAND]
  out PORT_HEX, eax
  newline
;= switch !!!!!!00000008
  say "ts "
  mov eax, cr0
  or al, 8
  and al, ~2
  mov cr0, eax
  attempt fld1
  say "ts wait "
  attempt wait
  mov eax, cr0
  or al, 2
  mov cr0, eax
  say "ts mp wait "
  attempt wait
  say "ts fnstsw "
  attempt fnstsw ax
  say "ts fnstenv "
  attempt fnstenv [ENV]
  say "ts fninit "
  attempt fninit
  say "ts fxsave "
  attempt db 0x0f, 0xae, 0x05, 0x00, 0x12, 0, 0
  say "ts emms "
  attempt emms
  say "em "
  mov eax, cr0
  and al, ~8
  or al, 4
  mov cr0, eax
  attempt fld1
  say "em emms "
  attempt emms
  say "em wait "
  attempt wait
  mov eax, cr0
  and al, ~4
  mov cr0, eax
;= ts 07 00000000 00
;= ts wait none
;= ts mp wait 07 00000000 00
;= ts fnstsw 07 00000000 00
;= ts fnstenv 07 00000000 00
;= ts fninit 07 00000000 00
;= ts fxsave 07 00000000 00
;= ts emms 07 00000000 00
;= em 07 00000000 00
;= em emms 06 00000000 00
;= em wait none
  ; --- #MF: at the next waiting instruction, with the pointers of the culprit
  mov eax, cr0
  or al, 0x20
  mov cr0, eax
  fninit
  mov word [OPERAND], 0x037b
  fldcw [OPERAND]
  fld1
  fldz
  say "mf "
.culprit:
  fdivp
  attempt fld1
  fnstenv [ENV]
  mov eax, [ENV + 12]
  sub eax, .culprit
  mov [ENV + 12], eax
  show_env32
;= mf 10 00000000 00
;= 037b b084 1fff 00000000 06f90008 00000000 ffff0000
  say "masked by fnstenv "
  attempt fld1
  fninit
;= masked by fnstenv none
  ; a new control word that unmasks an old exception makes it pending
  fld1
  fldz
  fdivp
  say "unmask "
  mov word [OPERAND], 0x037b
  fldcw [OPERAND]
  attempt fld1
  fnclex
  say "cleared "
  attempt fld1
;= unmask 10 00000000 00
;= cleared none
  ; --- FERR#: CR0.NE clear
  mov eax, cr0
  and al, ~0x20
  mov cr0, eax
  mov word [0x6000 + 0x75 * 8], on_ferr
  fninit
  mov word [OPERAND], 0x037b
  fldcw [OPERAND]
  fld1
  fldz
  fdivp
  say "ferr "
  sti
  fld1 ; waits for the interrupt, then runs
  say " after "
  fnstsw ax
  out PORT_HEX, ax
  newline
;= ferr irq b084  after 2800
  ; with IGNNE# asserted the next instruction runs in spite of the error
  cli
  mov word [0x6000 + 0x75 * 8], on_ferr_ignore
  fninit
  fldcw [OPERAND]
  fld1
  fldz
  fdivp
  say "ignne "
  sti
  fld1
  cli
  fnstsw ax
  out PORT_HEX, ax
  newline
;= ignne irq a884
  ; --- V86 mode uses the formats of real mode
  fninit
  mov dword [hook], v86_done
  push dword 0 ; GS
  push dword 0 ; FS
  push dword 0 ; DS
  push dword 0 ; ES
  push dword 0 ; SS
  push dword 0x6f00 ; SP
  push dword 0x23002 ; VM, IOPL 3
  push dword 0
  push dword v86
  iret
v86_done:
  say "v86 16 "
  show_env16
  finish
;= v86 16 037f 3800 7fff 2349 1107 2a30 0000
bits 16
v86:
  mov dword [OPERAND], 0
  call 0x1234:0
  int3
bits 32

on_ferr:
  push eax
  say "irq "
  fnstsw ax
  out PORT_HEX, ax
  fnclex
  pop eax
  iret
on_ferr_ignore:
  push eax
  say "irq "
  out 0xf0, al
  pop eax
  iret
