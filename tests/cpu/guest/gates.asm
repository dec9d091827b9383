; SPDX-License-Identifier: MIT
; Call gates with parameters, interrupt gates, IRET between rings, SYSENTER, hardware task switches (SDM vol. 3, 5.8,
; 6.12, ch. 7).
%include "harness.inc"
start16:
  protect32 main
bits 32
main:
  mov word [gdt + S_GATE], gate_target
  mov word [gdt + S_GATE16], gate16_target
  ring3 user

user:
  say "gate "
  push dword 0x22222222
  push dword 0x11111111
  call S_GATE | 3:0
  mov ebx, esp
  sub ebx, USER_STACK
  show ebx
  mov ebx, ss
  show ebx
  mov ebx, fs
  show ebx
  newline
;= gate 00000008 11111111 22222222 00000023 0006ffe8 fffffff0 0000001b 00000000 00000023 00000000
  say "gate16 "
  push word 0x7777
  call S_GATE16 | 3:0
  mov ebx, esp
  mov esp, USER_STACK
  show ebx
  newline
;= gate16 00007777 00010000
  say "jmp gate "
  attempt jmp S_GATE | 3:0
;= jmp gate 0d 00000008 00
  say "conforming "
  call S_CONF:conforming
  mov ebx, cs
  show ebx
  newline
;= conforming 0000005b 0000001b
  say "int "
  mov dword [hook], int_hook
  xor ebx, ebx
  stc
  std
  int 0x80
  mov dword [hook], 0
  cld
  newline
;= int 00000080 00000000 00000447 0000001b
  say "iret flags "
  pushfd
  or dword [esp], 0x3200 ; IOPL and IF do not change at ring 3
  push dword U_CODE
  push dword .after_iret
  iret
.after_iret:
  pushfd
  pop ebx
  and ebx, 0x3200
  show ebx
  newline
;= iret flags 00000000
  say "sysenter "
  mov dword [hook], set_msrs
  int 0x81
  mov dword [hook], 0
  mov edx, .back
  mov ecx, esp
  sysenter
.back:
  mov ebx, cs
  show ebx
  mov ebx, ss
  show ebx
  newline
;= sysenter 00000008 0000001b 00000023
  mov dword [hook], leave_ring3
  int 0x82

int_hook: ; in the handler, at ring 0
  show [fault_vector]
  show [fault_error]
  show [fault_flags]
  show [fault_cs]
  ret

set_msrs:
  mov ecx, 0x174
  mov eax, K_CODE
  xor edx, edx
  wrmsr
  inc ecx
  mov eax, RING0_STACK - 0x400
  wrmsr
  inc ecx
  mov eax, sysenter_target
  wrmsr
  ret

sysenter_target:
  mov ebx, cs
  show ebx
  sysexit

conforming:
  mov ebx, cs
  show ebx
  retf

gate_target: ; stack: EIP, CS, two parameters, ESP, SS
  mov ebx, cs
  show ebx
  show [esp + 8]
  show [esp + 12]
  show [esp + 20]
  mov ebx, esp
  sub ebx, RING0_STACK
  add ebx, 0x70000
  show ebx
  mov ebx, [esp + 16]
  sub ebx, USER_STACK
  sub ebx, 8
  show ebx
  show [esp + 4]
  mov bx, K_DATA
  mov fs, bx ; does not survive the return
  retf 8

bits 16
gate16_target:
  mov bx, sp
  mov bx, [ss:esp + 4]
  movzx ebx, bx
  mov eax, ebx
  out PORT_HEX, eax
  o16 retf 2
bits 32

leave_ring3:
  mov esp, KERNEL_STACK
  mov ax, K_DATA
  mov ds, ax
  mov es, ax
  mov dword [hook], 0
tasks:
  ; A second task at ring 0
  mov edi, tss2
  mov ecx, 0x68 / 4
  xor eax, eax
  rep stosd
  mov eax, cr3
  mov [tss2 + 0x1c], eax
  mov dword [tss2 + 0x20], task2
  mov dword [tss2 + 0x24], 2
  mov dword [tss2 + 0x34], 0xb0b0b0b0 ; EBX
  mov dword [tss2 + 0x38], 0x6a000
  mov dword [tss2 + 0x48], K_DATA
  mov dword [tss2 + 0x4c], K_CODE
  mov dword [tss2 + 0x50], K_DATA
  mov dword [tss2 + 0x54], K_DATA
  mov esi, 0x5e5e5e5e
  say "task call "
  call S_TSS2:0
  say "back "
  show esi
  movzx ebx, byte [gdt + S_TSS2 + 5]
  show ebx
  str bx
  movzx ebx, bx
  show ebx
  newline
;= task call b0b0b0b0 00000040 00004002 00000038 0000008b back 5e5e5e5e 00000089 00000038
  say "again "
  call S_TASKGATE:0
  newline
;= again second
  say "busy "
  attempt jmp S_TSS:0
;= busy 0d 00000038 00
  say "jump "
  mov dword [tss2 + 0x20], task2_jump
  jmp S_TSS2:0
  say "home "
  mov ebx, cr0
  and ebx, 8
  show ebx
  newline
;= jump 00000002 00000089 home 00000008
  mov dword [tss2 + 0x54], S_ABSENT
  mov dword [tss2 + 0x20], task2_fault
  say "fault "
  mov dword [hook], task_fault_hook
  call S_TSS2:0
task2_fault:
  say "not here"
task_fault_hook: ; runs in the new task
  show [fault_vector]
  show [fault_error]
  mov ebx, [fault_eip]
  sub ebx, task2_fault
  show ebx
  str bx
  movzx ebx, bx
  show ebx
  newline
;= fault 0000000b 00000060 00000000 00000040
  finish

task2:
  show ebx
  str bx
  movzx ebx, bx
  show ebx
  pushfd
  pop ebx
  show ebx
  movzx ebx, word [tss2] ; back link
  show ebx
  movzx ebx, byte [gdt + S_TSS + 5]
  show ebx
  clts
  iret
  say "second"
  clts
  iret

task2_jump:
  pushfd
  pop ebx
  show ebx
  movzx ebx, byte [gdt + S_TSS + 5]
  show ebx
  jmp S_TSS:0
