; SPDX-License-Identifier: MIT
; V86 mode: what traps at IOPL 0 and 3, frames, and the virtual mode extensions (SDM vol. 3, 20.2 and 20.3).
%include "harness.inc"
start16:
  protect32 main
bits 32
main:
  mov dword [0x21 * 4], service
  mov dword [0x22 * 4], service
  mov dword [hook], monitor
  push dword 0x6666 ; GS
  push dword 0x5555 ; FS
  push dword 0 ; DS
  push dword 0x4444 ; ES
  push dword 0 ; SS
  push dword 0x6f00 ; SP
  push dword 0x20202 ; VM, IF, IOPL 0
  push dword 0
  push dword v86
  iret

; INT3 is the way to ask for something: AX = 0 finish, 1 IOPL 3, 2 IOPL 0 with VME, 3 set VIP, 4 clear VIP,
; 5 trap INT 22h, 6 show the frame. Everything else is reported and skipped.
monitor:
  cmp dword [fault_vector], 3
  je .call
  mov eax, [fault_vector]
  out PORT_HEX, al
  show [fault_error]
  movzx eax, byte [skip]
  add [esp + F_EIP], eax
  ret
.call:
  mov eax, [esp + 36] ; EAX in PUSHAD's frame
  movzx eax, ax
  jmp [.table + eax * 4]
.table: dd .finish, .iopl3, .vme, .set_vip, .clear_vip, .trap22, .frame
.finish:
  finish
.iopl3:
  or dword [esp + F_FLAGS], 0x3000
  ret
.vme:
  and dword [esp + F_FLAGS], ~0x3000
  mov eax, cr4
  or al, 1
  mov cr4, eax
  ret
.set_vip:
  or dword [esp + F_FLAGS], 0x100000
  ret
.clear_vip:
  and dword [esp + F_FLAGS], ~0x100000
  ret
.trap22:
  or byte [redirection + 4], 4
  ret
.frame:
  show [esp + F_CS]
  show [esp + F_FLAGS]
  show [esp + F_ESP]
  show [esp + F_ES]
  show [esp + F_ES + 12]
  mov ebx, ds ; the hook runs with the kernel's
  mov ebx, gs
  show ebx
  mov ebx, cs
  show ebx
  ret

bits 16
skip: db 0
%macro ask 1
  mov ax, %1
  int3
%endmacro
%macro trapping 2+ ; length, instruction
  mov byte [skip], %1
  %2
  newline
%endmacro

v86:
  say "frame "
  ask 6
  newline
;= frame 00000000 00020202 00006f00 00004444 00006666 00000000 00000008
  say "cli "
  trapping 1, cli
  say "sti "
  trapping 1, sti
  say "pushf "
  trapping 1, pushf
  say "popf "
  trapping 1, popf
  say "pushfd "
  trapping 2, pushfd
  say "int 21 "
  trapping 2, int 0x21
  say "iret "
  trapping 1, iret
  say "hlt "
  trapping 1, hlt
  say "cr0 "
  trapping 3, mov eax, cr0
  say "lgdt "
  trapping 5, lgdt [gdtr]
  say "sldt "
  trapping 3, sldt ax
  say "in 60 "
  trapping 2, in al, 0x60
  say "arpl "
  trapping 2, arpl ax, bx
;= cli 0d 00000000
;= sti 0d 00000000
;= pushf 0d 00000000
;= popf 0d 00000000
;= pushfd 0d 00000000
;= int 21 0d 00000000
;= iret 0d 00000000
;= hlt 0d 00000000
;= cr0 0d 00000000
;= lgdt 0d 00000000
;= sldt 06 00000000
;= in 60 0d 00000000
;= arpl 06 00000000
  say "into "
  mov byte [skip], 0
  mov al, 0x7f
  inc al
  into
  newline
;= into 04 00000000
  say "limit "
  mov bx, 0xffff
  trapping 2, mov cx, [bx]
;= limit 0d 00000000
  say "segment "
  mov ax, 0x2000
  mov es, ax
  mov word [es:0x10], 0xbeef
  mov ax, 0x2001
  mov es, ax
  mov ax, [es:0]
  out PORT_HEX, ax
  newline
;= segment beef
  ask 1
  say "iopl 3 "
  pushf
  pop bx
  cli
  pushf
  pop cx
  sti
  mov ax, bx
  and ax, 0x3200
  out PORT_HEX, ax
  mov ax, cx
  and ax, 0x3200
  out PORT_HEX, ax
  mov byte [skip], 0
  int 0x21 ; through the IDT
  newline
;= iopl 3 3200 3000 21 00000000
  say "iret 3 "
  pushf
  push cs
  push word .after
  iret
.after:
  newline
;= iret 3
  ask 2
  say "vme int "
  sti ; VIF
  int 0x21
  newline
;= vme int 3202 3000
  say "vme cli "
  cli
  pushf
  pop ax
  and ax, 0x3200
  out PORT_HEX, ax
  sti
  pushf
  pop ax
  and ax, 0x3200
  out PORT_HEX, ax
  newline
;= vme cli 3000 3200
  say "vme popf "
  push word 0x3002
  popf
  pushf
  pop ax
  and ax, 0x3200
  out PORT_HEX, ax
  newline
;= vme popf 3000
  say "vip "
  ask 3
  mov byte [skip], 1
  sti
  push word 0x0202
  popf
  pop ax
  ask 4
  sti
  newline
;= vip 0d 00000000 0d 00000000
  say "not redirected "
  ask 5
  mov byte [skip], 2
  int 0x22
  int 0x21
  newline
;= not redirected 0d 00000000 3202 3000
  say "pushfd "
  trapping 2, pushfd
;= pushfd 0d 00000000
  ask 0

service: ; INT 21h inside V86 mode: the pushed image, then the flags now
  push bp
  mov bp, sp
  mov ax, [bp + 6]
  and ax, 0x3202
  out PORT_HEX, ax
  pushf
  pop ax
  and ax, 0x3200
  out PORT_HEX, ax
  pop bp
  iret
