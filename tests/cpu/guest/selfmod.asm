; SPDX-License-Identifier: MIT
; Every kind of store onto the instruction that follows it in the same block, REP MOVS over itself, DMA into code that
; has run, code changed through an alias and across a page end while its block runs, in ring 0 and ring 3 (SDM vol. 3,
; 8.1.3).
%include "harness.inc"

PORT_DMA equ 0xeb
PORT_DMA_ADDRESS equ 0xec
PD equ 0x100000
PT equ 0x101000
%define pte(la) (PT + ((la) >> 12) * 4)
AREA equ 0x30000
FRESH equ 0x43 ; INC EBX
STALE equ 0x4b ; DEC EBX

start16:
  protect32 main
bits 32

fresh: times 16 db FRESH
align 8
count: dd 0
saved_esp: dd 0

; overwrite n ... overwritten: run what is between twice; it overwrites the n bytes of DEC EBX behind it with INC EBX. Each
; time EBX grows by n. EDX is where they are, ECX = n.
%macro overwrite 1
  %push overwrite
  %assign %$n %1
  xor ebx, ebx
  mov dword [count], 2
%$again:
  %assign %%i 0
  %rep %1
    mov byte [%$target + %%i], STALE
    %assign %%i %%i + 1
  %endrep
  mov edx, %$target
  mov eax, FRESH * 0x01010101
  mov ecx, %1
  jmp %$start
align 16
%$start:
%endmacro
%macro overwritten 0
%$target:
  times %$n db STALE
  times 3 nop
  dec dword [count]
  jnz %$again
  mov eax, ebx
  out PORT_HEX, al
  %pop
%endmacro

main:
  fninit
  mov eax, cr4
  or ah, 2
  mov cr4, eax
  say "stores "
  overwrite 1
    mov [edx], al
  overwritten
  overwrite 2
    mov [edx], ax
  overwritten
  overwrite 4
    mov [edx], eax
  overwritten
  overwrite 4
    mov dword [edx], FRESH * 0x01010101
  overwritten
  overwrite 4
    xchg [edx], eax
  overwritten
  overwrite 4
    xor dword [edx], (FRESH ^ STALE) * 0x01010101
  overwritten
  overwrite 4
    lock xor dword [edx], (FRESH ^ STALE) * 0x01010101
  overwritten
  overwrite 1
    sub byte [edx], STALE - FRESH
  overwritten
  newline
;= stores 02 04 08 08 08 08 08 02
  say "strings "
  overwrite 4
    mov edi, edx
    stosd
  overwritten
  overwrite 8
    mov edi, edx
    rep stosb
  overwritten
  overwrite 8
    mov edi, edx
    mov esi, fresh
    rep movsb
  overwritten
  overwrite 8
    lea edi, [edx + 7]
    mov esi, fresh
    std
    rep stosb
    cld
  overwritten
  newline
;= strings 08 10 10 10
  say "stack "
  overwrite 4
    mov [saved_esp], esp
    lea esp, [edx + 4]
    push eax
    mov esp, [saved_esp]
  overwritten
  overwrite 4
    mov [saved_esp], esp
    lea esp, [edx + 4]
    push dword [fresh]
    mov esp, [saved_esp]
  overwritten
  newline
;= stack 08 08
  say "fpu "
  overwrite 8
    fild qword [fresh]
    fistp qword [edx]
  overwritten
  overwrite 8
    movq mm0, [fresh]
    movq [edx], mm0
    emms
  overwritten
  overwrite 16
    db 0x0f, 0x10, 0x05
    dd fresh
    db 0x0f, 0x11, 0x02 ; movups xmm0, [fresh]; movups [edx], xmm0
  overwritten
  newline
;= fpu 10 10 20
  say "others "
  overwrite 8
    mov edi, ebx
    mov ebx, [fresh]
    mov ecx, ebx
    mov esi, edx
    mov eax, [esi]
    mov edx, [esi + 4]
    cmpxchg8b [esi]
    mov ebx, edi
  overwritten
  overwrite 1
    mov cl, 3
    btr dword [edx], ecx ; 4Bh -> 43h
  overwritten
  overwrite 1
    mov al, STALE
    mov cl, FRESH
    cmpxchg [edx], cl
  overwritten
  overwrite 1
    mov al, FRESH - STALE
    xadd [edx], al
  overwritten
  newline
;= others 10 02 02 02

  ; REP MOVSB copies the whole loop over itself, changing only what follows
  say "movs over itself "
  mov ebp, 3
.over:
  mov esi, .copy
  mov ecx, .copy_end - .copy
  mov edi, AREA
  rep movsb ; the original, kept
  mov byte [AREA + .changed - .copy], FRESH
  xor ebx, ebx
  jmp .copy
align 16
.copy:
  mov esi, AREA
  mov edi, .copy
  mov ecx, .copy_end - .copy
  rep movsb
.changed:
  dec ebx
.copy_end:
  mov eax, ebx
  out PORT_HEX, al
  mov byte [.changed], STALE
  dec ebp
  jnz .over
  newline
;= movs over itself 01 01 01

  ; DMA into code that has run, seen by the next pass
  say "dma "
  mov ebp, 4
  mov dword [AREA + 0x1000], 0x000000b8 ; mov eax, imm32
  mov word [AREA + 0x1004], 0xc300
  mov eax, AREA + 0x1001
  out PORT_DMA_ADDRESS, eax
.dma:
  mov eax, ebp
  out PORT_DMA, al
  mov edx, AREA + 0x1000
  call edx
  out PORT_HEX, al
  dec ebp
  jnz .dma
  newline
;= dma 04 03 02 01
  say "dma here "
  mov eax, .here
  out PORT_DMA_ADDRESS, eax
  xor ebx, ebx
  mov al, FRESH
  out PORT_DMA, al ; an OUT is followed by new code
.here:
  dec ebx
  mov eax, ebx
  out PORT_HEX, al
  newline
;= dma here 01

  ; paging: an alias of this page
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
  mov dword [pte(0x200000)], AREA | 7
  mov dword [pte(0x201000)], (AREA + 0x2000) | 7 ; behind it another frame than behind AREA
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp short .paged
.paged:
  say "alias "
  mov esi, alias
  mov edi, AREA
  mov ecx, alias_end - alias
  rep movsb
  xor ebx, ebx
  mov ecx, 0x200000
  mov ebp, 3
.alias:
  mov byte [AREA + alias_target - alias], STALE
  mov edx, AREA
  call edx
  mov byte [AREA + alias_target - alias], STALE
  call ecx ; the store comes through the other name of the page
  dec ebp
  jnz .alias
  mov eax, ebx
  out PORT_HEX, al
  newline
;= alias 06
  ; the block runs over the page end; its store changes the instruction behind that end
  say "page end "
  mov esi, crossing
  mov edi, 0x200ffb
  mov ecx, crossing_end - crossing
  rep movsb
  xor ebx, ebx
  mov ebp, 3
.page_end:
  mov byte [AREA + 0x2000 + crossing_target - crossing - 5], STALE
  mov edx, 0x201000 + crossing_target - crossing - 5
  mov eax, 0x200ffb
  mov cl, FRESH
  call eax
  dec ebp
  jnz .page_end
  mov eax, ebx
  out PORT_HEX, al
  newline
;= page end 03
  ring3 user

alias: ; writes to AREA, wherever it runs
  mov byte [AREA + alias_target - alias], FRESH
alias_target:
  dec ebx
  ret
alias_end:

crossing:
  nop
  nop
  mov [edx], cl
  nop
  nop
  nop
crossing_target:
  dec ebx
  ret
crossing_end:

user:
  say "ring 3 "
  overwrite 4
    mov [edx], eax
  overwritten
  overwrite 8
    mov edi, edx
    rep stosb
  overwritten
  overwrite 4
    mov [saved_esp], esp
    lea esp, [edx + 4]
    push eax
    mov esp, [saved_esp]
  overwritten
  newline
;= ring 3 08 10 08
  ; a page that ran as code becomes data: nothing stale, nothing slow for ever
  say "data after "
  mov dword [AREA + 0x3000], 0xc340 ; inc eax; ret
  mov edx, AREA + 0x3000
  xor eax, eax
  call edx
  mov ecx, 1000
.data:
  add [edx + 64], ecx
  loop .data
  call edx
  mov dword [edx], 0xc34848
  call edx
  out PORT_HEX, al
  mov eax, [edx + 64]
  out PORT_HEX, eax
  newline
;= data after 00 0007a314
  finish
