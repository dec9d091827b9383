; SPDX-License-Identifier: MIT
; Events between instructions: what blocks NMI and INTR and for how long, what comes first of several at once, and which
; of an instruction's own faults wins (SDM vol. 3, 6.7.1, 6.8, 6.9 table 6-2, 17.3).
%include "harness.inc"

ABSENT equ 0x200000
PD equ 0x100000
PT equ 0x101000
%define pte(la) (PT + ((la) >> 12) * 4)

start16:
  protect32 main
bits 32

; Handlers that only write a letter. IDT entry %1 to %2, interrupt gate of DPL 0.
%macro handle 2
  mov word [0x6000 + (%1) * 8], %2
  mov word [0x6000 + (%1) * 8 + 2], K_CODE
  mov dword [0x6000 + (%1) * 8 + 4], 0x8e00
%endmacro
%macro letter 1
  push eax
  mov al, %1
  out PORT_CHAR, al
  pop eax
%endmacro

again: dd 0 ; times that the NMI handler raises another NMI
on_nmi:
  letter 'N'
  cmp dword [again], 0
  je .done
  dec dword [again]
  out PORT_NMI, al ; waits for the IRET
  letter 'n'
.done:
  iret
on_nmi_fault: ; its IRET faults, which lets NMIs in again
  letter 'N'
  handle 2, on_nmi_plain
  out PORT_NMI, al
  letter 'n'
  push dword 2
  push dword S_TSS
  push dword 0
  iret
on_nmi_plain:
  letter 'M'
  iret
on_gp: ; drops the frame of the IRET and its own, and returns for both
  letter 'F'
  add esp, 16 ; error code and frame of #GP
  add esp, 12 ; the bad frame
  iret
on_intr: ; shows EBX
  letter 'I'
  push eax
  mov al, bl
  out PORT_HEX, al
  pop eax
  iret
on_debug:
  letter 'D'
  push eax
  mov eax, dr6
  mov [seen_dr6], eax
  xor eax, eax
  mov dr6, eax
  pop eax
  iret
seen_dr6: dd 0

%macro step_on 0
  pushfd
  or dword [esp], 0x100
  popfd
%endmacro
%macro step_off 0 ; three traps
  pushfd
  and dword [esp], ~0x100
  popfd
%endmacro
%macro show_dr6 0
  mov eax, [seen_dr6]
  out PORT_HEX, ax
%endmacro

main:
  handle 2, on_nmi
  handle 0x40, on_intr
  say "nmi nmi "
  mov dword [again], 2
  out PORT_NMI, al
  nop
  newline
;= nmi nmi NnNnN
  handle 2, on_nmi_fault
  handle 13, on_gp
  say "iret faults "
  out PORT_NMI, al
  letter '.'
  newline
;= iret faults NnMF.
  handle 2, on_nmi
  call restore_gp

  ; --- shadows: the handler of INTR shows at which INC it came
  say "sti "
  xor ebx, ebx
  cli
  mov al, 0x40
  out PORT_INTR, al
  sti
  inc ebx
  inc ebx
  newline
;= sti I01
  say "sti sti "
  mov al, 0x40
  xor ebx, ebx
  cli
  out PORT_INTR, al
  sti
  sti ; ends the shadow and begins none
  inc ebx
  newline
  cli
;= sti sti I00
  say "sti mov ss "
  mov al, 0x40
  xor ebx, ebx
  mov cx, ss
  out PORT_INTR, al
  sti
  mov ss, cx
  inc ebx
  inc ebx
  newline
  cli
;= sti mov ss I01
  say "pop ss "
  mov al, 0x40
  xor ebx, ebx
  push ss
  out PORT_INTR, al
  sti
  pop ss
  inc ebx
  inc ebx
  newline
  cli
;= pop ss I01
  say "lss "
  mov al, 0x40
  xor ebx, ebx
  mov [pointer], esp
  out PORT_INTR, al
  sti
  lss esp, [pointer]
  inc ebx
  newline
  cli
;= lss I00
  say "popfd "
  mov al, 0x40
  xor ebx, ebx
  pushfd
  or dword [esp], 0x200
  out PORT_INTR, al
  popfd
  inc ebx
  newline
  cli
;= popfd I00
  say "iretd "
  mov al, 0x40
  xor ebx, ebx
  pushfd
  or dword [esp], 0x200
  push cs
  push dword .iretd
  out PORT_INTR, al
  iret
.iretd:
  inc ebx
  newline
  cli
;= iretd I00
  say "sti hlt "
  mov al, 0x40
  xor ebx, ebx
  out PORT_INTR, al
  sti
  hlt
  inc ebx
  newline
  cli
;= sti hlt I00
  say "nmi sti "
  xor ebx, ebx
  sti
  out PORT_NMI, al ; nothing blocks an NMI here
  inc ebx
  newline
  cli
;= nmi sti N

  ; --- several at once
  handle 1, on_debug
  say "step nmi "
  step_on
  out PORT_NMI, al ; the trap first; the NMI at its handler's first instruction
  step_off
  newline
;= step nmi NDDDD
  say "step all "
  xor ebx, ebx
  mov al, 0x40
  out PORT_INTR, al
  step_on
  sti ; the trap; its delivery ends the shadow, so INTR comes when the handler returns
  out PORT_NMI, al ; the trap first, the NMI at its handler's first instruction
  cli
  step_off
  newline
;= step all DI00 NDDDDD
  say "step and watch "
  mov eax, watched
  mov dr0, eax
  mov eax, 0x000d0002 ; write, four bytes
  mov dr7, eax
  step_on
  mov dword [watched], 1
  cmp word [seen_dr6], 0x4ff1
  sete bl
  step_off
  xor eax, eax
  mov dr7, eax
  mov al, bl
  out PORT_HEX, al
  newline
;= step and watch DDDDDD01
  handle 6, on_debug_ud
  say "fault no trap "
  step_on
  ud2 ; no trap after a fault; its handler drops TF
  nop
  newline
;= fault no trap U01
  call restore_ud
  jmp priorities

pointer: dd 0, K_DATA
align 4
watched: dd 0, 0

on_debug_ud: ; TF was in the image?
  letter 'U'
  push eax
  mov eax, [esp + 12]
  shr eax, 8
  and al, 1
  out PORT_HEX, al
  pop eax
  and dword [esp + 8], ~0x100
  add dword [esp], 2
  iret

restore_gp:
  mov eax, 13
  jmp restore
restore_ud:
  mov eax, 6
  jmp restore
restore_db:
  mov eax, 1
restore: ; the harness's stub for vector EAX
  mov ecx, eax
  imul ecx, stub_size
  add ecx, stubs
  or ecx, K_CODE << 16
  mov [0x6000 + eax * 8], ecx
  ret

priorities:
  call restore_db
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
  mov dword [pte(ABSENT)], 0
  mov eax, PD
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000020 ; NE
  mov cr0, eax
  jmp short .paged
.paged:
  mov esi, ABSENT
  say "breakpoint or ud "
  mov eax, .ud
  mov dr0, eax
  mov eax, 2
  mov dr7, eax
  mov dword [resume], .past_ud
.ud:
  ud2
.past_ud:
  mov eax, [fault_vector]
  out PORT_HEX, al
  mov dword [resume], .past_ud2
  push dword 0x10002 ; the same with RF
  push cs
  push dword .ud
  iret
.past_ud2:
  mov eax, [fault_vector]
  out PORT_HEX, al
  newline
  say "breakpoint or pf "
  mov dr0, esi
  mov dword [resume], .pf
  call esi
.pf:
  mov eax, [fault_vector]
  out PORT_HEX, al
  pop eax
  xor eax, eax
  mov dr7, eax
  newline
;= breakpoint or ud 01 06
;= breakpoint or pf 01
  mov eax, cr0
  or al, 8
  mov cr0, eax
  say "nm or pf "
  attempt fld dword [esi]
  say "nm or ud "
  attempt db 0xd9, 0xd1
  say "wait nm "
  attempt wait
  clts
;= nm or pf 07 00000000 00
;= nm or ud 06 00000000 00
;= wait nm none
  fninit
  push word 0x037b ; division by zero unmasked
  fldcw [esp]
  pop ax
  fldz
  fld1
  fdivrp
  say "mf or pf "
  attempt fld dword [esi]
  say "no wait "
  attempt fnstsw ax
  say "mf wait "
  attempt wait
  mov eax, cr0
  or al, 8
  mov cr0, eax
  say "nm or mf "
  attempt fld1
  clts
  fnclex
  fninit
;= mf or pf 10 00000000 00
;= no wait none
;= mf wait 10 00000000 00
;= nm or mf 07 00000000 00
  say "gp or pf "
  mov bx, S_SMALL
  mov es, bx
  attempt mov al, [es:esi]
  mov bx, K_DATA
  mov es, bx
  say "aligned or pf "
  mov eax, cr4
  or ah, 2 ; OSFXSR
  mov cr4, eax
  attempt db 0x0f, 0x28, 0x46, 0x04 ; movaps xmm0, [esi + 4]
  say "lock "
  attempt db 0xf0, 0x8b, 0x06 ; lock mov eax, [esi]
  say "cmpxchg8b "
  attempt db 0x0f, 0xc7, 0xc9 ; cmpxchg8b ecx
  say "div "
  xor eax, eax
  attempt div dword [esi]
  say "bound "
  attempt bound eax, [esi]
;= gp or pf 0d 00000000 00
;= aligned or pf 0d 00000000 00
;= lock 06 00000000 00
;= cmpxchg8b 06 00000000 00
;= div 0e 00000000 00
;= bound 0e 00000000 00
  ; 15 bytes of prefixes up to the page's end; with 14 the opcode lies on the absent page
  mov edi, ABSENT - 16
  mov ecx, 16
  mov al, 0x66
  rep stosb
  mov dword [resume], .long15
  mov eax, ABSENT - 15
  say "too long "
  jmp eax
.long15:
  call vector_and_error
  mov dword [resume], .long14
  mov eax, ABSENT - 14
  jmp eax
.long14:
  call vector_and_error
  newline
;= too long 0d 00000000 0e 00000000
  mov eax, cr0
  or eax, 0x40000 ; AM
  mov cr0, eax
  mov dword [hook], 0
  ring3 user

vector_and_error:
  mov eax, [fault_vector]
  out PORT_HEX, al
  show [fault_error]
  ret

user:
  pushfd
  or dword [esp], 0x40000 ; AC
  popfd
  mov esi, ABSENT - 2
  say "ac "
  attempt mov ecx, [watched + 1]
  say "ac or pf "
  attempt mov ecx, [esi]
  say "ac or gp "
  mov bx, S_SMALL | 3
  mov es, bx
  attempt mov ecx, [es:0xfd]
  mov bx, U_DATA
  mov es, bx
  pushfd
  and dword [esp], ~0x40000
  popfd
  say "privilege or operand "
  attempt lgdt [esi + 2]
  say "ss or pf "
  mov dword [resume], .ss_done
  mov edx, esp
  mov ecx, ABSENT - 0x20000
  mov bx, S_SMALL | 3
  mov ss, bx
  mov al, [ss:ecx]
.ss_done:
  mov bx, U_DATA
  mov ss, bx
  mov esp, edx
  mov eax, [fault_vector]
  out PORT_HEX, al
  newline
  say "dr at ring 3 "
  attempt mov eax, dr0
  say "insb "
  mov edi, ABSENT
  mov dx, 0x60
  attempt insb
  say "outsb "
  mov esi, ABSENT
  attempt outsb
  mov dx, 0xe1
  say "insb allowed "
  attempt insb
;= ac 11 00000000 00
;= ac or pf 0e 00000004 00
;= ac or gp 0d 00000000 00
;= privilege or operand 0d 00000000 00
;= ss or pf 0c
;= dr at ring 3 0d 00000000 00
;= insb 0d 00000000 00
;= outsb 0d 00000000 00
;= insb allowed 0e 00000006 00
  finish
