; SPDX-License-Identifier: MIT
; Segment loads, limits, rights, null selectors, LAR/LSL/VERR/VERW/ARPL, at rings 0 and 3 (SDM vol. 3, ch. 5).
%include "harness.inc"
start16:
  protect32 main
bits 32
main:
  xor ebx, ebx
  say "null fs "
  attempt mov fs, bx
  say "use null "
  attempt mov cl, [fs:0]
;= null fs none
;= use null 0d 00000000 00
  mov bx, S_TSS
  say "fs=tss "
  attempt mov fs, bx
  mov bx, S_ABSENT
  say "fs=absent "
  attempt mov fs, bx
;= fs=tss 0d 00000038 00
;= fs=absent 0b 00000060 00
  xor ebx, ebx
  say "ss=null "
  attempt mov ss, bx
  mov bx, U_DATA
  say "ss=user "
  attempt mov ss, bx
;= ss=null 0d 00000000 00
;= ss=user 0d 00000020 00
  and byte [gdt + S_STACK16 + 5], 0x7f
  mov bx, S_STACK16
  say "ss=absent "
  attempt mov ss, bx
  or byte [gdt + S_STACK16 + 5], 0x80
;= ss=absent 0c 00000088 00
  mov bx, S_XONLY
  say "fs=xonly "
  attempt mov fs, bx
;= fs=xonly 0d 00000078 00
  say "cs write "
  attempt mov [cs:0x20000], ebx
;= cs write 0d 00000000 00
  mov bx, S_RDONLY
  mov es, bx
  say "ro read "
  attempt mov ecx, [es:0x20000]
  say "ro write "
  attempt mov [es:0x20000], ecx
  say "ro rmw "
  attempt inc dword [es:0x20000]
;= ro read none
;= ro write 0d 00000000 00
;= ro rmw 0d 00000000 00
  mov bx, S_DOWN
  mov es, bx
  say "down fff "
  attempt mov ecx, [es:0xfff]
  say "down 1000 "
  attempt mov ecx, [es:0x1000]
  say "down ffe "
  attempt mov cx, [es:0xffe]
  say "down top "
  attempt mov cx, [es:0xfffffff0]
;= down fff 0d 00000000 00
;= down 1000 none
;= down ffe 0d 00000000 00
;= down top none
  mov bx, S_SMALL
  mov es, bx
  say "small fc "
  attempt mov ecx, [es:0xfc]
  say "small fd "
  attempt mov ecx, [es:0xfd]
  say "small ff "
  attempt mov [es:0xff], cl
  say "small -1 "
  attempt mov cl, [es:0xffffffff]
  mov edi, 0xfe
  say "small stosd "
  attempt stosd
;= small fc none
;= small fd 0d 00000000 00
;= small ff none
;= small -1 0d 00000000 00
;= small stosd 0d 00000000 00
  mov bx, 0xffb
  say "past gdt "
  attempt mov es, bx
  mov bx, 0x0f
  say "no ldt "
  attempt mov es, bx
  mov bx, S_LDT
  lldt bx
  mov dword [0x21008], 0x000000ff
  mov dword [0x2100c], 0x0040f302 ; base 20000h
  mov dword [0x20010], 0x600df00d
  mov bx, 0x0f
  say "ldt "
  attempt mov es, bx
  show [es:0x10]
  newline
  mov bx, 0x27
  say "past ldt "
  attempt mov es, bx
;= past gdt 0d 00000ff8 00
;= no ldt 0d 0000000c 00
;= ldt none
;= 600df00d
;= past ldt 0d 00000024 00
  mov bx, S_TSS
  say "ltr busy "
  attempt ltr bx
  say "jmp data "
  attempt jmp K_DATA:0
  say "jmp limit "
  attempt jmp K_CODE16:0x12345
  say "jmp user "
  attempt jmp U_CODE:0
  say "jmp null "
  attempt jmp 3:0
;= ltr busy 0d 00000038 00
;= jmp data 0d 00000010 00
;= jmp limit 0d 00000000 00
;= jmp user 0d 00000018 00
;= jmp null 0d 00000000 00
  mov ebx, 0
  mov ecx, K_CODE
  lar ebx, ecx
  show ebx
  lsl ebx, ecx
  show ebx
  mov ecx, S_TSS
  lar bx, cx
  show ebx
  mov ecx, S_GATE
  lsl ebx, ecx
  setz cl
  movzx ecx, cl
  show ecx
  newline
;= 00cf9b00 ffffffff ffff8b00 00000000
  ring3 user

user:
  mov bx, K_DATA
  say "ds=kernel "
  attempt mov ds, bx
  say "hlt "
  attempt hlt
  say "cr0 "
  attempt mov ecx, cr0
  say "cli "
  attempt cli
  say "in 60 "
  attempt in al, 0x60
  say "in e0 "
  attempt in al, 0xe0
  say "in df "
  attempt in ax, 0xdf
  say "lgdt "
  attempt lgdt [gdtr]
  say "sgdt "
  attempt sgdt [0x20100]
  say "wrmsr "
  attempt wrmsr
  say "smsw "
  attempt smsw cx
;= ds=kernel 0d 00000010 00
;= hlt 0d 00000000 00
;= cr0 0d 00000000 00
;= cli 0d 00000000 00
;= in 60 0d 00000000 00
;= in e0 none
;= in df 0d 00000000 00
;= lgdt 0d 00000000 00
;= sgdt none
;= wrmsr 0d 00000000 00
;= smsw none
  mov byte [0x6000 + 0x90 * 8 + 5], 0x8e
  say "int 90 "
  attempt int 0x90
;= int 90 0d 00000482 00
  mov bx, S_SMALL | 3
  mov edx, esp
  mov ebp, 0xfd
  mov esi, 0
  say "ss limit "
  mov dword [resume], .ss_done
.ss_insn:
  mov ss, bx
  mov esi, [ebp]
.ss_done:
  mov bx, U_DATA
  mov ss, bx
  mov esp, edx
  show [fault_vector]
  show [fault_error]
  newline
;= ss limit 0000000c 00000000
  mov ecx, K_CODE
  verr cx
  setz bl
  mov ecx, S_CONF
  lar edx, ecx
  setz bh
  mov ecx, U_DATA
  verw cx
  setz dl
  movzx ebx, bx
  show ebx
  movzx edx, dl
  show edx
  mov cx, 0x20
  mov dx, 3
  arpl cx, dx
  setz bl
  movzx ebx, bl
  show ebx
  movzx ecx, cx
  show ecx
  newline
;= 00000100 00000001 00000001 00000023
  push dword 0x1b
  push dword K_CODE
  push dword 0x1234
  say "retf inner "
  attempt retf
;= retf inner 0d 00000008 00
  finish
