; SPDX-License-Identifier: MIT
; Page faults: codes, CR2, restart of instructions that touch two pages, WP, accessed and dirty bits, INVLPG, 4 MB pages,
; PAE with NX (SDM vol. 3, ch. 4).
%include "harness.inc"

PD equ 0x100000
PT equ 0x101000
PDPT equ 0x110000
PAE_PD equ 0x111000
PAE_PT equ 0x112000
%define pte(la) (PT + ((la) >> 12) * 4)

start16:
  protect32 main
bits 32

%macro flush 0
  mov eax, cr3
  mov cr3, eax
%endmacro
%macro show_cr2 0
  show [fault_cr2]
  newline
%endmacro

main:
  mov edi, PD
  mov ecx, 0x800
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
  mov dword [pte(0x200000)], 0x200006 ; absent
  mov dword [pte(0x201000)], 0x201005 ; read-only
  mov dword [pte(0x202000)], 0x202003 ; supervisor
  flush
  say "read "
  attempt mov ecx, [0x200004]
  show_cr2
  say "write "
  attempt mov dword [0x200008], 1
  show_cr2
  say "rmw "
  attempt add dword [0x20000c], 1
  show_cr2
;= read 0e 00000000 00
;= 00200004
;= write 0e 00000002 00
;= 00200008
;= rmw 0e 00000002 00
;= 0020000c
  say "ro wp=0 "
  attempt mov dword [0x201000], 0x1234
  mov eax, cr0
  or eax, 0x10000
  mov cr0, eax
  say "ro wp=1 "
  attempt mov dword [0x201000], 0x5678
  show [0x201000]
  newline
;= ro wp=0 none
;= ro wp=1 0e 00000003 00
;= 00001234
  say "cross read "
  attempt mov ecx, [0x1ffffe]
  show_cr2
  mov dword [0x1ffffc], 0x55555555
  say "cross write "
  attempt mov dword [0x1ffffe], 0
  show_cr2
  show [0x1ffffc]
  newline
;= cross read 0e 00000000 00
;= 00200000
;= cross write 0e 00000002 00
;= 00200000
;= 55555555
  ; A and D bits
  mov dword [pte(0x203000)], 0x203007
  mov dword [pte(0x204000)], 0x204007
  flush
  mov ecx, [0x203000]
  mov [0x204000], ecx
  show [pte(0x203000)]
  show [pte(0x204000)]
  mov [0x203000], ecx
  show [pte(0x203000)]
  newline
;= 00203027 00204067 00203067
  mov dword [pte(0x205000)], 0
  flush
  say "invlpg "
  mov dword [0x207000], 0x11111111
  mov dword [0x208000], 0x22222222
  mov ecx, [0x207000]
  mov dword [pte(0x207000)], 0x208007
  invlpg [0x207000]
  show [0x207000]
  newline
;= invlpg 22222222
  ; 4 MB page: linear 400000h -> physical 0
  mov eax, cr4
  or eax, 0x10
  mov cr4, eax
  mov dword [PD + 4], 0x00000087
  say "large "
  mov ecx, [0x401000]
  cmp ecx, [0x1000]
  sete bl
  movzx ebx, bl
  show ebx
  mov [0x600000], ecx
  show [PD + 4]
  mov dword [PD + 8], 0x00200087 ; bit 21 is reserved
  newline
  say "reserved "
  attempt mov ecx, [0x800000]
  show_cr2
;= large 00000001 000000e7
;= reserved 0e 00000009 00
;= 00800000
  ; restart of REP MOVSD over a fault that the handler repairs
  mov dword [pte(0x20a000)], 0
  flush
  mov edi, 0x209000
  mov ecx, 0x800
  mov eax, 0xabcd0001
  mov dword [hook], hook_map
  cld
  rep stosd
  mov dword [hook], 0
  say "rep "
  show edi
  show ecx
  show [0x20a004]
  show [fault_cr2]
  newline
;= rep 0020b000 00000000 abcd0001 0020a000
  ; page fault in the middle of a read-modify-write across pages, repaired
  mov dword [pte(0x20c000)], 0
  flush
  mov dword [0x20bffc], 0xffff0000
  mov dword [hook], hook_map
  mov dword [physical], 0x20c007
  mov dword [0x20c000 - 2], 0x0001ffff ; faults on the second page
  inc dword [0x20c000 - 2]
  mov dword [hook], 0
  say "rmw cross "
  show [0x20bffc]
  show [0x20c000]
  newline
;= rmw cross 00000000 00000002
  mov eax, cr0 ; a JMP at the end of the user page, for the fetch test below
  and eax, ~0x10000
  mov cr0, eax
  mov byte [0x201fff], 0xeb
  ring3 user

physical: dd 0x20a007

hook_map:
  mov eax, [fault_cr2]
  shr eax, 12
  mov ebx, [physical]
  mov [PT + eax * 4], ebx
  ret

user:
  say "user sup "
  attempt mov ecx, [0x202000]
  say "user ro "
  attempt mov [0x201000], ecx
  say "user absent "
  attempt mov [0x200000], ecx
;= user sup 0e 00000005 00
;= user ro 0e 00000007 00
;= user absent 0e 00000006 00
  mov edx, esp
  mov ecx, 0xc0c0c0c0
  mov dword [resume], .pusha_done
  mov dword [fault_vector], -1
  mov dword [0x206000], 0
  mov ebx, 0x5a5a5a5a ; the fourth, stored before the fault as processors do
  mov esp, 0x206010 ; 16 bytes on this page, 16 on the absent one below
  pusha
.pusha_done:
  mov ebx, esp
  mov esp, edx
  say "pusha "
  show ebx
  show [fault_vector]
  show [fault_error]
  show [fault_cr2]
  show [0x206000]
  newline
;= pusha 00206010 0000000e 00000006 00205ffc 5a5a5a5a
  mov dword [resume], .call_done
  mov esp, 0x206000
  call .call_done
.call_done:
  mov ebx, esp
  mov esp, edx
  say "call "
  show ebx
  show [fault_cr2]
  newline
;= call 00206000 00205ffc
  say "fetch "
  mov dword [resume], .fetch_done
  mov eax, 0x201fff ; a two-byte instruction whose second byte is on the supervisor page
  jmp eax
.fetch_done:
  show [fault_vector]
  show [fault_error]
  show [fault_eip]
  show [fault_cr2]
  newline
;= fetch 0000000e 00000005 00201fff 00202000
  mov dword [hook], pae
  int 0x80

pae: ; ring 0, from the handler
  mov esp, KERNEL_STACK
  mov ax, K_DATA
  mov ds, ax
  mov es, ax
  mov dword [hook], 0
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov edi, PDPT
  mov ecx, 0xc00
  xor eax, eax
  rep stosd
  mov dword [PDPT], PAE_PD | 1
  mov dword [PAE_PD], PAE_PT | 7
  mov dword [PAE_PD + 8], 0x000000 | 0x87 ; 200000h -> 0
  mov edi, PAE_PT
  mov eax, 7
  mov ecx, 512
.map:
  stosd
  mov dword [edi], 0
  add edi, 4
  add eax, 0x1000
  loop .map
  mov eax, cr4
  or eax, 0x20
  mov cr4, eax
  mov eax, PDPT
  mov cr3, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x800
  wrmsr
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .on
.on:
  say "pae "
  mov ecx, [0x201000]
  cmp ecx, [0x1000]
  sete bl
  movzx ebx, bl
  show ebx
  mov dword [PAE_PT + 0x30 * 8 + 4], 0x80000000 ; NX
  mov byte [0x30000], 0xc3
  invlpg [0x30000]
  mov ecx, [0x30000]
  newline
  say "nx "
  mov dword [resume], .nx_done
  call 0x30000
.nx_done:
  mov esp, KERNEL_STACK
  show [fault_vector]
  show [fault_error]
  show [fault_eip]
  newline
  say "hole "
  attempt mov ecx, [0x40000000]
  mov dword [PAE_PT + 0x31 * 8 + 4], 0x00001000 ; beyond 36 bits
  say "rsvd "
  attempt mov ecx, [0x31000]
  mov dword [PDPT + 8], 0x1e1
  say "pdpte "
  mov ecx, cr3
  attempt mov cr3, ecx
;= pae 00000001
;= nx 0000000e 00000011 00030000
;= hole 0e 00000000 00
;= rsvd 0e 00000009 00
;= pdpte 0d 00000000 00
  finish
