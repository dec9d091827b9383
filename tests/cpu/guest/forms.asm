; SPDX-License-Identifier: MIT
; System and port instructions in all their forms: register and memory, both operand and both address sizes (SDM vol. 2;
; vol. 3, 2.8). What they mean to protection is tested elsewhere: here is what they read and write.
%include "harness.inc"

%macro clear_buf 0
  mov dword [buf], -1
  mov dword [buf + 4], -1
%endmacro
%macro show_buf 0
  show [buf]
  show [buf + 4]
%endmacro

; store mnemonic: to registers and memory of each size
%macro store_forms 1
  mov ebx, -1
  %1 ebx
  show ebx
  mov ebx, -1
  o16 %1 bx
  show ebx
  store_memory %1
%endmacro
; a 16-bit store, or six bytes of SGDT and SIDT
%macro store_memory 1
  clear_buf
  %1 [dword buf]
  show_buf
  clear_buf
  o16 %1 [dword buf]
  show_buf
  clear_buf
  %1 [word buf]
  show_buf
  clear_buf
  o16 %1 [word buf]
  show_buf
  newline
%endmacro

start16:
  protect32 main
bits 32
main:
  mov ax, S_LDT
  lldt ax
  say "sldt "
  store_forms sldt
;= sldt 00000080 ffff0080 ffff0080 ffffffff ffff0080 ffffffff ffff0080 ffffffff ffff0080 ffffffff
  say "str "
  store_forms str
;= str 00000038 ffff0038 ffff0038 ffffffff ffff0038 ffffffff ffff0038 ffffffff ffff0038 ffffffff
  mov eax, cr0
  and eax, 0x7fffffc1 ; leaves PE, and whatever is above
  or al, 0x22 ; MP and NE
  mov cr0, eax
  say "smsw "
  mov ebx, -1
  smsw ebx
  xor ebx, eax ; SAY has changed AL, not the rest
  and ebx, 0xffff0000
  show ebx
  mov ebx, -1
  o16 smsw bx
  and ebx, 0xffff003f ; without ET, which some set
  and bl, 0xef
  show ebx
  newline
;= smsw 00000000 ffff0023
  say "smsw memory "
  call smsw_memory
;= smsw memory ffff0023 ffffffff ffff0023 ffffffff ffff0023 ffffffff ffff0023 ffffffff
  say "lmsw "
  smsw ebx
  or bl, 8 ; TS
  lmsw bx
  mov ebx, cr0
  and ebx, 0xf
  show ebx
  mov word [buf], 0x0007 ; EM, no TS
  lmsw [dword buf]
  mov ebx, cr0
  and ebx, 0xf
  show ebx
  mov word [buf], 0x0002 ; cannot clear PE
  lmsw [word buf]
  mov ebx, cr0
  and ebx, 0xf
  show ebx
  newline
;= lmsw 0000000b 00000007 00000003
  jmp tables

smsw_memory:
%macro smsw_to 1+
  clear_buf
  %1
  and dword [buf], 0xffffffef ; ET
  show_buf
%endmacro
  smsw_to smsw [dword buf]
  smsw_to o16 smsw [dword buf]
  smsw_to smsw [word buf]
  smsw_to o16 smsw [word buf]
  newline
  ret

tables:
  mov word [gdtr_copy], 0x9f
  mov dword [gdtr_copy + 2], gdt
  mov word [idtr_copy], 0x7ff
  mov dword [idtr_copy + 2], 0x6000
  say "sidt "
  store_memory sidt
;= sidt 600007ff ffff0000 600007ff ffff0000 600007ff ffff0000 600007ff ffff0000
  ; the low half of the GDT's address depends on the program: only its limit, and what LGDT loads
  say "lgdt "
%macro lgdt_by 2+ ; limit, instruction
  mov word [gdtr_copy], %1
  %2
  clear_buf
  sgdt [buf]
  movzx ebx, word [buf]
  show ebx
  mov ebx, [buf + 2]
  sub ebx, gdt
  show ebx
%endmacro
  lgdt_by 0x9f, lgdt [dword gdtr_copy]
  lgdt_by 0xa7, o16 lgdt [dword gdtr_copy]
  lgdt_by 0xaf, lgdt [word gdtr_copy]
  lgdt_by 0x9f, o16 lgdt [word gdtr_copy]
  newline
;= lgdt 0000009f 00000000 000000a7 00000000 000000af 00000000 0000009f 00000000
  say "sgdt "
%macro sgdt_by 1+
  clear_buf
  %1
  mov ebx, [buf + 2]
  sub ebx, gdt
  show ebx
%endmacro
  sgdt_by sgdt [dword buf]
  sgdt_by o16 sgdt [dword buf]
  sgdt_by sgdt [word buf]
  sgdt_by o16 sgdt [word buf]
  newline
;= sgdt 00000000 00000000 00000000 00000000
  say "lidt "
%macro lidt_by 2+
  mov word [idtr_copy], %1
  %2
  clear_buf
  sidt [buf]
  show [buf]
%endmacro
  lidt_by 0x7f7, lidt [dword idtr_copy]
  lidt_by 0x7ef, o16 lidt [dword idtr_copy]
  lidt_by 0x7e7, lidt [word idtr_copy]
  lidt_by 0x7ff, o16 lidt [word idtr_copy]
  newline
;= lidt 600007f7 600007ef 600007e7 600007ff

  say "lldt "
  mov word [buf], 0
  lldt [dword buf]
  sldt ebx
  show ebx
  mov word [buf], S_LDT
  lldt [word buf]
  sldt ebx
  show ebx
  mov bx, 0
  lldt bx
  sldt ebx
  show ebx
  newline
;= lldt 00000000 00000080 00000000
  say "ltr "
  mov dword [gdt_tss2], 0x67 + ((tss2 - $$ + 0x8000) << 16)
  mov dword [gdt_tss2 + 4], 0x8900
  mov word [buf], S_TSS2
  ltr [dword buf]
  str ebx
  show ebx
  show [gdt_tss2 + 4] ; busy
  mov byte [gdt_tss2 + 5], 0x89
  ltr [word buf]
  show [gdt_tss2 + 4]
  mov byte [gdt_tss2 + 5], 0x89
  mov bx, S_TSS2
  ltr bx
  show [gdt_tss2 + 4]
  newline
;= ltr 00000040 00008b00 00008b00 00008b00

  say "ports "
  xor eax, eax
  in al, 0xe0
  show eax
  in ax, 0xe2
  show eax
  in eax, 0xe4
  show eax
  mov dx, 0xe2
  mov eax, -1
  in al, dx
  show eax
  in ax, dx
  show eax
  mov dx, 0xe8
  in eax, dx
  show eax
  mov dx, PORT_HEX
  mov eax, 0x12345678
  out dx, al
  out dx, ax
  out dx, eax
  out PORT_HEX, al
  out PORT_HEX, ax
  newline
;= ports 000000a0 000000a2 000000a4 ffffffa2 ffff00a2 000000a8 78 5678 12345678 78 5678
  cld
  say "ins "
  mov dx, 0xe0
%macro ins_by 1+
  clear_buf
  mov edi, buf
  %1
  sub edi, buf
  show edi
  show [buf]
%endmacro
  ins_by insb
  ins_by insw
  ins_by insd
  ins_by a16 insb
  ins_by a16 insw
  ins_by a16 insd
  newline
;= ins 00000001 ffffffa0 00000002 ffff00a0 00000004 000000a0 00000001 ffffffa0 00000002 ffff00a0 00000004 000000a0
  say "rep ins "
  mov ecx, 3
  ins_by rep insb
  mov ecx, 1
  ins_by rep insw
  mov ecx, 2
  ins_by rep insd
  mov ecx, 0xabcd0003 ; CX counts
  ins_by a16 rep insb
  show ecx
  mov ecx, 2
  ins_by a16 rep insw
  mov ecx, 1
  ins_by a16 rep insd
  newline
;= rep ins 00000003 ffa0a0a0 00000002 ffff00a0 00000008 000000a0 00000003 ffa0a0a0 abcd0000 00000004 00a000a0 00000004 000000a0
  say "outs "
  mov dx, PORT_HEX
  mov dword [buf], 0x89abcdef
%macro outs_by 1+
  mov esi, buf
  %1
  sub esi, buf
  show esi
%endmacro
  outs_by outsb
  outs_by outsw
  outs_by outsd
  outs_by a16 outsb
  outs_by a16 outsw
  outs_by a16 outsd
  newline
;= outs ef 00000001 cdef 00000002 89abcdef 00000004 ef 00000001 cdef 00000002 89abcdef 00000004
  say "rep outs "
  mov ecx, 2
  outs_by rep outsb
  mov ecx, 2
  outs_by rep outsw
  mov ecx, 1
  outs_by rep outsd
  mov ecx, 0xabcd0002
  outs_by a16 rep outsb
  show ecx
  mov ecx, 2
  outs_by a16 rep outsw
  mov ecx, 1
  outs_by a16 rep outsd
  newline
;= rep outs ef cd 00000002 cdef 89ab 00000004 89abcdef 00000004 ef cd 00000002 abcd0000 cdef 89ab 00000004 89abcdef 00000004

  say "others "
  invd
  wbinvd
  invlpg [dword buf]
  invlpg [word buf]
  rdtsc
  mov ebx, eax
  mov esi, edx
  rdtsc
  sub eax, ebx
  sbb edx, esi
  sbb ebx, ebx ; CF: the second is before the first
  show ebx
  xor ecx, ecx
  rdpmc
  show edx
  mov eax, 0
  cpuid
  mov esi, ecx
  mov edi, edx
  show ebx
  show esi
  show edi
  newline
;= others 00000000 00000000 756e6547 6c65746e 49656e69
  finish

align 8
buf: dd 0, 0
gdtr_copy: dw 0
  dd 0
idtr_copy: dw 0
  dd 0
