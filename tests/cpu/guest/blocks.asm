; SPDX-License-Identifier: MIT
; What a translator of whole blocks can get wrong: code that is mapped at several linear addresses, remapped while
; blocks of it exist, cut by a segment limit or a page end, or made of the instructions that need the most host code.
%include "harness.inc"

PD equ 0x100000
PT equ 0x101000
%define pte(la) (PT + ((la) >> 12) * 4)
AREA equ 0x30000
WINDOW equ 0x200000
WINDOW2 equ 0x210000
LARGE equ 0xc00000

start16:
  ; a full block of pushes from memory, through a segment and onto a stack that both need limit checks
  mov ax, 0x100
  mov fs, ax
  mov word [0x1010], 0x1357
  mov sp, 0x7000
  jmp .pushes
align 512
.pushes:
%rep 64
  push word [fs:0x10]
%endrep
  mov [0x1020], sp
  mov sp, 0x7000
  protect32 main
bits 32
main:
  say "pushes "
  movzx edx, word [0x1020]
  show edx
  movzx eax, word [0x7000 - 128]
  out PORT_HEX, eax
  newline
;= pushes 00006f80 00001357

  ; identity map of 4 MB with 4 KB pages, 12 MB to 16 MB as a large page
  mov edi, PD
  mov ecx, 0x400
  xor eax, eax
  rep stosd
  mov dword [PD], PT | 7
  mov dword [PD + (LARGE >> 22) * 4], LARGE | 0x87
  mov edi, PT
  mov eax, 7
  mov ecx, 1024
.map:
  stosd
  add eax, 0x1000
  loop .map
  mov eax, cr4
  or eax, 0x10
  mov cr4, eax
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:

  ; branches with an operand size of 16 bits cut the target, wherever their page is mapped
  say "16-bit branches "
  mov dword [0x7c00], 0x345678b8 ; mov eax, 12345678h
  mov word [0x7c04], 0xc312 ; ret
  mov edi, AREA + 0x10
  mov dword [edi], 0x0000e966 ; jmp, 16 bits
  mov word [edi + 2], 0x7c00 - 0x14
  mov dword [edi + 0x10], 0x0000e866 ; call, 16 bits
  mov word [edi + 0x12], 0x7c10 - 0x24
  mov dword [edi + 0x20], 0x00840f66 ; jz, 16 bits
  mov word [edi + 0x23], 0x7c00 - 0x35
  mov dword [0x7c10], 0x24048b66 ; mov ax, [esp]
  mov dword [0x7c14], 0xc302c483 ; add esp, 2; ret
  mov dword [pte(WINDOW)], AREA | 7
  mov dword [pte(WINDOW2)], AREA | 7
  mov eax, cr3
  mov cr3, eax
  mov edx, WINDOW + 0x10
  call .three
  mov edx, WINDOW2 + 0x10
  call .three
  mov edx, AREA + 0x10
  call .three
  newline
;= 16-bit branches 12345678 00000024 12345678 12345678 00000024 12345678 12345678 00000024 12345678
  jmp .after_three
.three:
  call edx
  out PORT_HEX, eax
  xor eax, eax
  add edx, 0x10
  call edx
  out PORT_HEX, eax
  add edx, 0x10
  xor eax, eax
  call edx
  out PORT_HEX, eax
  ret
.after_three:

  ; EIP and pushed return addresses of a page that is mapped twice
  say "two places "
  mov dword [AREA + 0x100], 0x000000e8 ; call the next instruction
  mov dword [AREA + 0x104], 0x0fc35800 ; pop eax; ret
  mov edx, WINDOW + 0x100
  call edx
  out PORT_HEX, eax
  mov edx, WINDOW2 + 0x100
  call edx
  out PORT_HEX, eax
  newline
;= two places 00200105 00210105

  ; the bytes of a jump reach into a page where nothing is ever entered
  say "tail remapped "
  mov edi, AREA + 0x1ffe
  mov byte [edi], 0xe9
  mov dword [edi + 1], AREA + 0x1000 - (AREA + 0x2003)
  mov edi, AREA + 0x1000
  mov dword [edi], 0x000001b8
  mov word [edi + 4], 0xc300
  mov edi, AREA + 0xf10
  mov dword [edi], 0x000002b8
  mov word [edi + 4], 0xc300
  mov dword [pte(WINDOW + 0x1000)], (AREA + 0x1000) | 7
  mov dword [pte(WINDOW + 0x2000)], (AREA + 0x2000) | 7
  mov eax, cr3
  mov cr3, eax
  mov edx, WINDOW + 0x1ffe
  call edx
  out PORT_HEX, eax
  call edx
  out PORT_HEX, eax
  mov byte [AREA + 0x1fff], (0xf10 - 0x2003) & 0xff ; the low byte of the distance is in the first page
  call edx
  out PORT_HEX, eax
  mov byte [AREA + 0x1fff], (0x1000 - 0x2003) & 0xff
  call edx
  out PORT_HEX, eax
  mov dword [AREA + 0x4000], 0x00000000 ; another second page: a jump forward by FDh
  mov dword [AREA + 0x40fd + 3], 0x000003b8
  mov word [AREA + 0x40fd + 7], 0xc300
  mov dword [pte(WINDOW + 0x2000)], (AREA + 0x4000) | 7
  invlpg [WINDOW + 0x2000]
  call edx
  out PORT_HEX, eax
  newline
;= tail remapped 00000001 00000001 00000002 00000001 00000003

  ; both halves of an instruction on the same physical page
  say "folded "
  mov byte [AREA + 0x5fff], 0xb8 ; mov eax, ...
  mov dword [AREA + 0x5000], 0x00000011
  mov byte [AREA + 0x5004], 0xc3
  mov dword [pte(WINDOW + 0x5000)], (AREA + 0x5000) | 7
  mov dword [pte(WINDOW + 0x6000)], (AREA + 0x5000) | 7
  mov eax, cr3
  mov cr3, eax
  mov edx, WINDOW + 0x5fff
  call edx
  out PORT_HEX, eax
  mov byte [AREA + 0x5000], 0x22
  call edx
  out PORT_HEX, eax
  newline
;= folded 00000011 00000022

  ; INVLPG of one address drops a whole large page
  say "large page "
  mov dword [LARGE + 0x1000], 0x000005b8
  mov word [LARGE + 0x1004], 0xc300
  mov edx, LARGE + 0x1000
  call edx
  out PORT_HEX, eax
  mov dword [AREA + 0x6000], 0x000006b8
  mov word [AREA + 0x6004], 0xc300
  ; the same addresses through a page table whose page 1 is AREA + 6000h
  mov edi, 0x102000
  mov ecx, 1024
  mov eax, LARGE | 7
.fill:
  stosd
  add eax, 0x1000
  loop .fill
  mov dword [0x102004], (AREA + 0x6000) | 7
  mov dword [PD + (LARGE >> 22) * 4], 0x102007
  invlpg [LARGE + 0x8000]
  call edx
  out PORT_HEX, eax
  newline
;= large page 00000005 00000006

  ; links between blocks of one page survive another mapping, and the page's other contents are seen
  say "address spaces "
  mov edi, AREA + 0x7000
  mov dword [edi], 0x05eb07b0 ; mov al, 7; jmp +5
  mov byte [edi + 9], 0xc3
  mov edi, AREA + 0x8000
  mov dword [edi], 0x05eb08b0
  mov byte [edi + 9], 0xc3
  mov ecx, 6
  xor ebx, ebx
  mov edx, WINDOW
.spaces:
  mov eax, AREA + 0x7007
  test cl, 1
  jz .even
  add eax, 0x1000
.even:
  mov [pte(WINDOW)], eax
  mov eax, cr3
  mov cr3, eax
  xor eax, eax
  call edx
  shl ebx, 4
  or ebx, eax
  loop .spaces
  show ebx
  newline
;= address spaces 00787878

  ; the segment limit ends at a page end and the next page is absent: #GP(0), not #PF
  say "limit before page "
  mov dword [pte(WINDOW)], 0
  mov dword [pte(WINDOW - 0x1000)], (AREA + 0x9000) | 7
  mov byte [AREA + 0x9fff], 0xb8
  mov eax, cr3
  mov cr3, eax
  mov eax, (WINDOW >> 12) - 1 ; limit: WINDOW - 1
  mov [gdt + S_CONF], ax
  shr eax, 16
  or al, 0xc0
  mov [gdt + S_CONF + 6], al
  mov dword [resume], .limited
  mov dword [fault_vector], -1
  jmp S_CONF:WINDOW - 1
.limited:
  ; the handler returned to the same code segment with the limit
  jmp K_CODE:.wide
.wide:
  show [fault_vector]
  show [fault_error]
  show [fault_eip]
  newline
;= limit before page 0000000d 00000000 001fffff
  say "beyond "
  mov byte [AREA + 0x9fff], 0x90
  mov dword [resume], .limited2
  mov dword [fault_vector], -1
  jmp S_CONF:WINDOW - 1
.limited2:
  jmp K_CODE:.wide2
.wide2:
  show [fault_vector]
  show [fault_error]
  show [fault_eip]
  newline
;= beyond 0000000d 00000000 00200000

  ; a store into the page that runs, beside the code, and then into it; the count of iterations is kept there
  say "beside "
  xor ebx, ebx
  mov dword [.counter], 5
  jmp .again
.counter: dd 0
.again:
  inc ebx
  rol dword [.counter2], 1
  dec dword [.counter]
  jnz .again
  mov byte [.patch], 0x4b ; dec ebx
.patch:
  inc ebx
  show ebx
  show [.counter2]
  newline
;= beside 00000004 00000020
  jmp .over
.counter2: dd 1
.over:
  ; faults within a block leave ESP and the registers of the faulting instruction alone
  say "precise "
  mov dword [pte(WINDOW)], 0
  invlpg [WINDOW]
  mov ebp, esp
  mov eax, 1
  mov ebx, 2
  mov dword [resume], .pf
  mov dword [fault_vector], -1
  mov ecx, WINDOW
  inc eax
  inc ebx
  push ebx
  xadd [ecx], eax
.pf:
  mov esi, ebp
  sub esi, esp
  mov esp, ebp
  mov edx, eax
  show edx
  show ebx
  show esi
  show [fault_cr2]
  newline
;= precise 00000002 00000003 00000004 00200000
  finish
