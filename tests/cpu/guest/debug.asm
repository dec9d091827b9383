; SPDX-License-Identifier: MIT
; Debug exceptions: TF, RF, execution, data and I/O breakpoints, GD, INT1, INT3, DR6 (SDM vol. 3, ch. 17).
%include "harness.inc"
start16:
  protect32 main
bits 32

; In the handler: print DR6's low word and where, relative to `origin`; clear DR6; resume with RF if asked.
report_debug:
  mov eax, [fault_vector]
  out PORT_HEX, al
  mov eax, dr6
  out PORT_HEX, ax
  xor eax, eax
  mov dr6, eax
  mov eax, [esp + F_EIP]
  sub eax, [origin]
  out PORT_HEX, al
  mov eax, [resume_flags]
  or [esp + F_FLAGS], eax
  ret

; DR6 and RF as pushed; a breakpoint is passed by setting RF.
report_rep:
  mov eax, dr6
  out PORT_HEX, ax
  mov ecx, eax
  xor eax, eax
  mov dr6, eax
  mov eax, [esp + F_FLAGS]
  shr eax, 16
  and al, 1
  out PORT_HEX, al
  test cl, 1
  jz .done
  or dword [esp + F_FLAGS], 0x10000
.done:
  ret

align 4
origin: dd 0
resume_flags: dd 0
align 8
watched: dd 0, 0, 0, 0

; breakpoint n, address, type and length nibble (R/W in bits 1:0, LEN in 3:2)
%macro breakpoint 3
  mov eax, %2
  mov dr%1, eax
  mov eax, (3 << (%1 * 2)) | ((%3) << (16 + %1 * 4))
  mov dr7, eax
%endmacro
%macro no_breakpoints 0
  xor eax, eax
  mov dr7, eax
%endmacro
%macro from 1
  mov dword [origin], %1
%endmacro

main:
  mov dword [hook], report_debug
  say "step "
  from .step
  pushfd
  or dword [esp], 0x100
  popfd
.step:
  nop ; trap after it, at 1
  cld ; 2
  pushfd ; 3
  and dword [esp], ~0x100 ; 0a
  popfd ; 0b: TF was set when it began
  newline
;= step 01 4ff0 01 01 4ff0 02 01 4ff0 03 01 4ff0 0a 01 4ff0 0b
  say "exec "
  mov dword [resume_flags], 0x10000
  from .exec
  breakpoint 0, .exec, 0
  mov ebx, 0
.exec:
  inc ebx
  show ebx
  no_breakpoints
  newline
;= exec 01 0ff1 00 00000001
  say "exec branch "
  from .target
  breakpoint 3, .target, 0
  xor ebx, ebx
  jmp .target
  nop
.target:
  inc ebx
  cmp ebx, 2
  jne .target ; hits again
  no_breakpoints
  newline
  mov dword [resume_flags], 0
;= exec branch 01 0ff8 00 01 0ff8 00
  say "write "
  from .write
  breakpoint 1, watched + 4, 13 ; write, four bytes
  mov ecx, [watched + 4]
.write:
  mov dword [watched + 4], 1 ; 10 bytes; the trap is at 0a
  mov byte [watched + 7], 1
  mov byte [watched + 8], 1
  mov dword [watched + 1], ecx
  no_breakpoints
  newline
;= write 01 0ff2 0a 01 0ff2 11 01 0ff2 1e
  say "read "
  from .read
  breakpoint 2, watched, 7 ; read or write, two bytes
.read:
  mov al, [watched] ; 5 bytes
  mov al, [watched + 2]
  mov ax, [watched + 1]
  no_breakpoints
  newline
;= read 01 0ff4 05 01 0ff4 10
  say "string "
  from .string
  mov edi, watched
  mov ecx, 4
  breakpoint 0, watched + 8, 13
  xor eax, eax
.string:
  rep stosd
  show ecx
  no_breakpoints
  newline
;= string 01 0ff1 00 00000000
  ; a repeated instruction meets its breakpoint once, though each iteration traps: RF is set in between
  say "rep exec "
  mov dword [hook], report_rep
  from .rep
  mov edi, watched
  mov ecx, 3
  breakpoint 0, .rep, 0
  pushfd
  or dword [esp], 0x100
  popfd
.rep:
  rep stosb
  pushfd
  and dword [esp], ~0x100
  popfd
  no_breakpoints
  mov dword [hook], report_debug
  newline
;= rep exec 0ff1 00 4ff0 01 4ff0 01 4ff0 00 4ff0 00 4ff0 00 4ff0 00
  say "io "
  mov eax, cr4
  or al, 8
  mov cr4, eax
  from .io
  breakpoint 0, 0xe6, 2
  mov al, 0
.io:
  out 0xe5, al
  out 0xe6, al
  in al, 0xe6
  no_breakpoints
  newline
;= io 01 0ff1 04 01 0ff1 06
  say "gd "
  from .gd
  mov eax, 0x2000
  mov dr7, eax
.gd:
  mov ebx, dr0 ; faults; the handler runs with GD clear, then it succeeds
  newline
;= gd 01 2ff0 00
  say "int1 "
  from .int1
.int1:
  db 0xf1
  newline
;= int1 01 0ff0 01
  say "int3 "
  from .int3
.int3:
  int3
  int 3
  newline
;= int3 03 0ff0 01 03 0ff0 03
  say "dr4 "
  mov dword [hook], 0
  attempt mov ebx, dr4
  mov eax, cr4
  and al, ~8
  mov cr4, eax
  say "dr4 "
  attempt mov ebx, dr4
;= dr4 06 00000000 00
;= dr4 none
  ; a fault's image has RF set, a trap's has not
  say "rf "
  attempt ud2
  mov ebx, [fault_flags]
  and ebx, 0x10000
  show ebx
  mov dword [resume], .rf
  int 0x80
.rf:
  mov ebx, [fault_flags]
  and ebx, 0x10000
  show ebx
  newline
;= rf 06 00000000 00
;= 00010000 00000000
  ; MOV SS holds the trap of a data breakpoint back by one instruction
  say "mov ss "
  mov dword [hook], report_debug
  from .movss
  mov dword [watched], K_DATA
  breakpoint 0, watched, 7
.movss:
  mov ss, [watched] ; 6 bytes
  nop
  no_breakpoints
  newline
;= mov ss 01 0ff1 07
  finish
