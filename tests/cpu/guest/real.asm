; SPDX-License-Identifier: MIT
; Real mode: interrupts, divide errors, limits, unreal mode, stack and string wrap-around, shadows, single step, NMI and
; INTR (SDM vol. 3, 20.1 and 6.8).
%include "harness.inc"
bits 16

; vector, handler
%macro vector 2
  mov word [%1 * 4], %2
  mov word [%1 * 4 + 2], 0
%endmacro
%macro show16 1
  mov ax, %1
  out PORT_HEX, ax
%endmacro

start16:
  vector 0, divide
  vector 1, step
  vector 2, nmi
  vector 6, invalid
  vector 12, stack_fault
  vector 13, protection
  vector 0x21, service
  vector 0x30, plain
  vector 0x40, hardware
  say "int "
  mov ax, 0x4c00
  stc
  int 0x21
  newline
;= int 4c00 after
  say "div "
  mov ax, 0x1000
  mov bl, 1
.div:
  div bl
  mov ax, [fault_eip]
  sub ax, .div
  out PORT_HEX, ax
  show16 [fault_vector]
  newline
;= div 0000 0000
  say "ud "
  mov word [skip], 2
.ud:
  ud2
  mov ax, [fault_eip]
  sub ax, .ud
  out PORT_HEX, ax
  newline
;= ud 0000
  say "limit "
  mov word [skip], 2
  mov bx, 0xffff
  mov ax, [bx + 0x0000] ; a word at FFFFh
  show16 [fault_vector]
  newline
;= limit 000d
  ; SP = 0: the push wraps to FFFEh
  say "wrap "
  mov dx, sp
  mov ax, 0x2000
  mov ss, ax
  xor esp, esp
  mov ebx, 0x12340000
  mov esp, ebx
  push bx
  mov ecx, esp
  xor ax, ax
  mov ss, ax
  mov sp, dx
  mov eax, ecx
  out PORT_HEX, eax
  movzx esp, dx
  newline
;= wrap 1234fffe
  ; strings wrap within 64 KB
  say "string "
  mov ax, 0x3000
  mov es, ax
  mov di, 0xfffe
  mov cx, 4
  mov al, 0x5a
  cld
  rep stosb
  show16 di
  show16 [es:0]
  show16 [es:0xfffe]
  newline
;= string 0002 5a5a 5a5a
  ; a word string element at FFFFh faults with the registers of that iteration
  say "partial "
  mov word [skip], 2
  mov di, 0xfffb
  mov cx, 4
  rep stosw
  mov bx, cx
  show16 di
  show16 bx
  show16 [fault_vector]
  newline
;= partial ffff 0002 000d
  ; unreal mode: a 4 GB limit survives the return to real mode
  say "unreal "
  cli
  lgdt [gdtr]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  mov bx, K_DATA
  mov fs, bx
  and al, 0xfe
  mov cr0, eax
  mov dword [dword fs:0x200000], 0x1badb002
  xor ax, ax
  mov fs, ax
  mov eax, [dword fs:0x200000]
  out PORT_HEX, eax
  newline
;= unreal 1badb002
  ; the STI shadow: INTR is taken after the instruction that follows STI
  say "sti "
  cli
  mov al, 0x40
  out PORT_INTR, al
  mov bx, 0
  sti
  inc bx
  inc bx
  mov ax, [seen]
  out PORT_HEX, ax
  newline
;= sti 0001
  ; STI; CLI opens no window
  say "sti cli "
  cli
  mov word [seen], 0xffff
  mov al, 0x40
  out PORT_INTR, al
  sti
  cli
  nop
  show16 [seen]
  sti
  nop
  show16 [seen]
  newline
;= sti cli ffff 0002
  ; MOV SS shadows INTR too
  say "mov ss "
  mov bx, 0
  cli
  mov al, 0x40
  out PORT_INTR, al
  mov cx, ss
  pushf
  pop ax
  or ah, 2
  push ax
  mov bx, 5
  popf ; interrupt right after POPF: BX = 5
  inc bx
  show16 [seen]
  newline
;= mov ss 0005
  ; HLT wakes
  say "hlt "
  mov bx, 7
  cli
  mov al, 0x40
  out PORT_INTR, al
  sti
  hlt
  show16 [seen]
  newline
;= hlt 0007
  say "nmi "
  cli
  mov bx, 9
  out PORT_NMI, al
  inc bx
  show16 [seen]
  newline
;= nmi 0009
  ; single step: one trap behind each instruction, none inside INT nor behind MOV SS
  say "step "
  mov word [steps], 0
  mov cx, ss
  pushf
  pop ax
  or ah, 1
  push ax
  popf
  nop ; 1
  mov ss, cx ; none
  nop ; 2
  int 0x30 ; the handler runs without TF; trap after the instruction that follows IRET
  nop ; 3
  pushf ; 4
  pop ax ; 5
  and ah, 0xfe ; 6
  push ax ; 7
  popf ; 8
  show16 [steps]
  newline
;= step 0008
  ; REP with TF: a trap after each iteration
  say "rep step "
  mov word [steps], 0
  mov di, 0x100
  mov cx, 3
  pushf
  pop ax
  or ah, 1
  push ax
  popf
  rep stosb ; 3 traps
  pushf ; 4
  pop ax
  and ah, 0xfe
  push ax
  popf ; 8
  show16 [steps]
  newline
;= rep step 0008
  say "far "
  mov word [far_ptr], far_target
  mov word [far_ptr + 2], 0x10 ; 0010:target is 100h above
  sub word [far_ptr], 0x100
  call far [far_ptr]
  newline
;= far 0010 0004
  say "enter "
  mov bp, 0x1234
  mov dx, sp
  enter 6, 0
  mov ax, dx
  sub ax, sp
  out PORT_HEX, ax
  sub dx, bp
  show16 dx
  leave
  show16 bp
  newline
;= enter 0008 0002 1234
  finish

far_target:
  mov ax, cs
  out PORT_HEX, ax
  mov bp, sp
  mov ax, [bp + 2] ; CS pushed: 0
  add ax, 4
  out PORT_HEX, ax
  retf

service:
  out PORT_HEX, ax
  say "after"
  iret

divide: ; skips the two-byte instruction
  push bp
  mov bp, sp
  push ax
  mov ax, [bp + 2]
  mov [fault_eip], ax
  mov word [fault_vector], 0
  add word [bp + 2], 2
  pop ax
  pop bp
  iret

%macro skipper 2
%1:
  push bp
  mov bp, sp
  push ax
  mov ax, [bp + 2]
  mov [fault_eip], ax
  mov word [fault_vector], %2
  mov ax, [skip]
  add [bp + 2], ax
  pop ax
  pop bp
  iret
%endmacro
skipper invalid, 6
skipper stack_fault, 12
skipper protection, 13

hardware:
nmi:
  mov [seen], bx
  iret

plain:
  iret

step:
  inc word [steps]
  iret

skip: dw 0
seen: dw 0
steps: dw 0
far_ptr: dd 0
