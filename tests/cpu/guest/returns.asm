; SPDX-License-Identifier: MIT
; Calls and returns that are no pairs: a translator may keep return addresses of its own, but must go where the
; stack says.
%include "harness.inc"

LOOPS equ 40
STACK equ 0x1f0000

start16:
  protect32 main
bits 32
main:
  ; a return to what was pushed, not called
  say "pushed "
  xor ebx, ebx
  mov ecx, LOOPS
.pushed:
  push .there
  ret
  inc ebx
.there:
  add ebx, 2
  loop .pushed
  show ebx
  newline
;= pushed 00000050

  ; a call that is never returned from; then the caller's caller is
  say "skipped "
  xor ebx, ebx
  mov ecx, LOOPS
.skipped:
  call skip_one
  inc ebx
  loop .skipped
  show ebx
  newline
;= skipped 00000028

  ; asking for EIP in two ways, between calls and returns that are pairs
  say "where "
  xor ebx, ebx
  mov ecx, LOOPS
.where:
  call where
  add ebx, eax
  call far_where
  add ebx, eax
  loop .where
  show ebx
  newline
;= where 00000050

  ; the callee changes its return address: to one of two places, in turn, and back
  say "moved "
  xor ebx, ebx
  mov ecx, LOOPS
.moved:
  call move_return
  add ebx, 0x1000
  jmp short .next
  add ebx, 0x100
  jmp short .next
.next:
  loop .moved
  show ebx
  newline
;= moved 0000be00

  ; one place to return from, many to return to; and the other way around
  say "many "
  xor ebx, ebx
  mov ecx, LOOPS
.many:
%rep 8
  call add_one
  call [.table + 4]
  mov eax, ecx
  and eax, 3
  call [.table + eax * 4]
%endrep
  dec ecx
  jnz .many
  show ebx
  newline
  jmp .after_many
.table: dd add_one, add_two, add_three, add_jump
.after_many:
;= many 000006e0

  ; so deep that no list of return addresses holds them all, and back
  say "deep "
  mov edi, esp
  mov esp, STACK
  xor ebx, ebx
  mov ecx, 60000
  call deep
  show ebx
  ; out of the depth at once, and on with pairs
  mov ecx, 50000
  mov [.saved], esp
  call dive
.landed:
  call add_one
  call add_two
  mov edx, esp
  sub edx, [.saved]
  show ebx
  show edx
  newline
  jmp .after_deep
.saved: dd 0
.after_deep:
  mov esp, edi
;= deep 0000ea60 0000ea63 00000000

  ; more returns than calls: the addresses were pushed in advance
  say "more "
  xor ebx, ebx
  mov ecx, 300
  push .end_of_returns
.prepare:
  push add_one
  loop .prepare
  ret
.end_of_returns:
  show ebx
  newline
;= more 0000012c

  ; the code behind a call changes while it is being returned to; and the call goes
  say "changed "
  xor ebx, ebx
  mov ecx, LOOPS
.changed:
  call patch
.patched:
  add ebx, 1
  loop .changed
  show ebx
  newline
;= changed 00000334
  finish

skip_one:
  call .inner
  add ebx, 0x10000
  ret
.inner:
  call .innermost
  add ebx, 0x10000
  ret
.innermost:
  add esp, 8
  ret

where:
  call .here
.here:
  pop eax
  sub eax, .here - 1
  ret
far_where:
  push ecx
  call get_eip
.back:
  sub eax, .back - 1
  pop ecx
  ret
get_eip:
  mov eax, [esp]
  ret

move_return:
  test cl, 3
  jz .stay
  add dword [esp], 8 ; to the second place
.stay:
  ret

add_one:
  inc ebx
  ret
add_two:
  add ebx, 2
  ret
add_three:
  call add_two
  call add_one
  ret
add_jump:
  add ebx, 3
  jmp add_one

deep:
  inc ebx
  dec ecx
  jz .bottom
  call deep
.bottom:
  ret

dive:
  dec ecx
  jz .out
  call dive
  ret
.out:
  mov esp, [main.saved]
  jmp main.landed

  ; the constant that is added behind the call: 1 to LOOPS, from the count
patch:
  mov [main.patched + 2], cl
  ret
