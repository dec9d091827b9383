; SPDX-License-Identifier: MIT
; Code that changes: ahead in the same block, through aliases, across pages, by string and stack instructions, by
; remapping (SDM vol. 3, 8.1.3 and 4.10).
%include "harness.inc"

PD equ 0x100000
PT equ 0x101000
%define pte(la) (PT + ((la) >> 12) * 4)
AREA equ 0x30000

start16:
  protect32 main
bits 32
main:
  say "immediate "
  mov ecx, 5
  xor ebx, ebx
.loop:
  mov [.patched + 1], ecx
  call .patched
  add ebx, eax
  loop .loop
  show ebx
  newline
;= immediate 0000000f
  jmp .past
.patched:
  mov eax, 0
  ret
.past:
  say "ahead "
  mov ebx, 0
  mov byte [.ahead], 0x43 ; inc ebx
.ahead:
  nop
  show ebx
  newline
;= ahead 00000001
  say "loop ahead "
  mov ebx, 0
  mov ecx, 4
.again:
  xor byte [.flip], 0x43 ^ 0x4b ; inc ebx <-> dec ebx
.flip:
  inc ebx
  add ebx, ebx
  loop .again
  show ebx
  newline
;= loop ahead fffffff6
  say "stosb "
  mov edi, .stos
  mov ecx, 4
  mov al, 0x43
  xor ebx, ebx
  rep stosb
.stos:
  nop
  nop
  nop
  nop
  show ebx
  newline
;= stosb 00000004
  say "push "
  mov ebp, esp
  mov esp, .pushed + 4
  xor ebx, ebx
  push dword 0x43434343
.pushed:
  nop
  nop
  nop
  nop
  mov esp, ebp
  show ebx
  newline
;= push 00000004
  say "atomic "
  xor ebx, ebx
  mov al, 0x90
  mov cl, 0x43
  lock cmpxchg [.atomic], cl
.atomic:
  nop
  show ebx
  newline
;= atomic 00000001
  say "cross page "
  ; MOV EAX, imm32 with the immediate on the next page; RET
  mov byte [AREA + 0xffe], 0xb8
  mov dword [AREA + 0xfff], 0x11223344
  mov byte [AREA + 0x1003], 0xc3
  mov eax, AREA + 0xffe
  call eax
  out PORT_HEX, eax
  mov byte [AREA + 0x1001], 0xaa
  mov eax, AREA + 0xffe
  call eax
  out PORT_HEX, eax
  mov byte [AREA + 0xfff], 0xbb
  mov eax, AREA + 0xffe
  call eax
  out PORT_HEX, eax
  newline
;= cross page 11223344 11aa3344 11aa33bb
  say "data beside "
  mov dword [AREA + 0x2000], 0x000040b8 ; mov eax, 40h
  mov word [AREA + 0x2004], 0xc300 ; ret
  xor ebx, ebx
  mov ecx, 200
.beside:
  mov [AREA + 0x2100], ecx
  mov eax, AREA + 0x2000
  call eax
  add ebx, eax
  add ebx, [AREA + 0x2100]
  loop .beside
  show ebx
  newline
;= data beside 00008084
  say "new code "
  xor ebx, ebx
  mov ecx, 100
.new:
  mov edi, AREA + 0x3000
  mov byte [edi], 0xb8
  mov [edi + 1], ecx
  mov byte [edi + 5], 0xc3
  call edi
  add ebx, eax
  loop .new
  show ebx
  newline
;= new code 000013ba

  ; paging: identity for 4 MB
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
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:
  say "alias "
  mov dword [pte(0x200000)], (AREA + 0x4000) | 7
  mov dword [AREA + 0x4000], 0x000001b8
  mov word [AREA + 0x4004], 0xc300
  call run_200000
  mov byte [AREA + 0x4001], 2 ; through another linear address
  call run_200000
  mov byte [0x200001], 3
  call run_200000
  newline
;= alias 00000001 00000002 00000003
  say "remap "
  mov dword [AREA + 0x5000], 0x000007b8
  mov word [AREA + 0x5004], 0xc300
  mov dword [pte(0x200000)], (AREA + 0x5000) | 7
  invlpg [0x200000]
  call run_200000
  mov dword [pte(0x200000)], (AREA + 0x4000) | 7
  mov eax, cr3
  mov cr3, eax
  call run_200000
  newline
;= remap 00000007 00000003
  say "second page "
  ; an instruction that runs from linear 200FFEh into 201000h, whose page is remapped
  mov byte [AREA + 0x4ffe], 0xb8
  mov byte [AREA + 0x4fff], 0x44
  mov dword [pte(0x201000)], (AREA + 0x6000) | 7
  mov dword [AREA + 0x6000], 0xc3112233
  mov dword [pte(0x202000)], (AREA + 0x7000) | 7
  mov dword [AREA + 0x7000], 0xc3556677
  mov eax, cr3
  mov cr3, eax
  mov edx, 0x200ffe
  call edx
  out PORT_HEX, eax
  mov dword [pte(0x201000)], (AREA + 0x7000) | 7
  invlpg [0x201000]
  call edx
  out PORT_HEX, eax
  mov byte [AREA + 0x7000], 0x99
  call edx
  out PORT_HEX, eax
  newline
;= second page 11223344 55667744 55669944
  say "absent "
  mov dword [pte(0x201000)], 0
  invlpg [0x201000]
  mov dword [resume], .absent
  mov dword [fault_vector], -1
  call edx
.absent:
  show [fault_vector]
  show [fault_eip]
  show [fault_cr2]
  newline
;= absent 0000000e 00200ffe 00201000
  finish

run_200000:
  mov eax, 0x200000
  call eax
  out PORT_HEX, eax
  ret
