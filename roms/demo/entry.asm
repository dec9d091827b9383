; SPDX-License-Identifier: MIT
;
; The demo's kernel, the parts that C cannot say: from real mode to protected mode and back for BIOS calls,
; interrupt entries, the way to ring 3 and back, the program that runs there, and code that changes itself.
; Linked first, so that 16-bit code reaches all of it (kernel.ld).

	cpu 686
	section .text align=16

CODE32		equ 0x08
DATA32		equ 0x10
CODE16		equ 0x18
DATA16		equ 0x20
USER_CODE	equ 0x2b
USER_DATA	equ 0x33
TASK		equ 0x38
REAL_STACK	equ 0x7c00

	global entry, boot_drive, bios_enter, tss, idt_pointer
	global enter_user, leave_user, user_program, user_program_end
	global patch_ahead, patch_loop, fp_environment_test
	extern kernel_main, interrupt, bss_start, bss_end

	bits 16
entry:	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, REAL_STACK
	mov [boot_drive], dl
	sti
	call a20
	cli
	o32 lgdt [gdt_pointer]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword CODE32:.flat
	bits 32
.flat:	mov ax, DATA32
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, stack_end
	cld
	mov edi, bss_start
	mov ecx, bss_end
	sub ecx, edi
	xor eax, eax
	rep stosb
	; The task state: only its ring 0 stack is used.
	mov eax, tss
	mov [gdt_tss + 2], ax
	shr eax, 16
	mov [gdt_tss + 4], al
	mov [gdt_tss + 7], ah
	mov dword [tss + 8], DATA32
	mov word [tss + 102], 104
	mov ax, TASK
	ltr ax
	push dword 0
	popf
	call kernel_main
.stop:	cli
	hlt
	jmp .stop

	bits 16
; Open the A20 gate: by the BIOS, by port 92h, by the keyboard controller, whichever works first.
a20:	call a20_open
	je .try
	ret
.try:	mov ax, 0x2401
	int 0x15
	call a20_open
	jne .end
	in al, 0x92
	or al, 2
	and al, 0xfe
	out 0x92, al
	call a20_open
	jne .end
	call .wait
	mov al, 0xd1
	out 0x64, al
	call .wait
	mov al, 0xdf
	out 0x60, al
	call .wait
.end:	ret
.wait:	mov cx, 0xffff
.poll:	in al, 0x64
	test al, 2
	loopnz .poll
	ret

; ZF: the line is closed: 1 MB and 0 are the same place.
a20_open:
	push es
	mov ax, 0xffff
	mov es, ax
	mov ax, [0x7dfe]
	mov word [0x7dfe], 0x1234
	mov word [es:0x7e0e], 0x4321
	cmp word [0x7dfe], 0x4321
	mov [0x7dfe], ax
	pop es
	ret

	bits 32
; void bios_enter(unsigned number, struct bios_regs *): interrupts and paging are off. The registers travel
; through bios_area, because a pointer above 64 KB means nothing in real mode.
bios_enter:
	pushad
	mov al, [esp + 36]
	mov [bios_number], al
	mov esi, [esp + 40]
	mov edi, bios_area
	mov ecx, BIOS_AREA / 4
	rep movsd
	mov [saved_esp], esp
	sidt [saved_idt]
	lidt [real_idt]
	jmp CODE16:.pm16
	bits 16
.pm16:	mov ax, DATA16
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov eax, cr0
	and al, 0xfe
	mov cr0, eax
	jmp 0:.real
.real:	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov fs, ax
	mov gs, ax
	mov sp, REAL_STACK
	mov eax, [bios_area]
	mov ebx, [bios_area + 4]
	mov ecx, [bios_area + 8]
	mov edx, [bios_area + 12]
	mov esi, [bios_area + 16]
	mov edi, [bios_area + 20]
	mov ebp, [bios_area + 24]
	mov es, [bios_area + 30]
	mov ds, [bios_area + 28]
	sti
	db 0xcd			; INT
bios_number:
	db 0
	pushf
	cli
	cld
	push ds
	push eax
	xor ax, ax
	mov ds, ax
	pop dword [bios_area]
	pop word [bios_area + 28]
	pop word [bios_area + 32]
	mov [bios_area + 4], ebx
	mov [bios_area + 8], ecx
	mov [bios_area + 12], edx
	mov [bios_area + 16], esi
	mov [bios_area + 20], edi
	mov [bios_area + 24], ebp
	mov [bios_area + 30], es
	o32 lgdt [gdt_pointer]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword CODE32:.back
	bits 32
.back:	mov ax, DATA32
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, [saved_esp]
	lidt [saved_idt]
	mov edi, [esp + 40]
	mov esi, bios_area
	mov ecx, BIOS_AREA / 4
	rep movsd
	popad
	ret

; Interrupt entries 0 to 47 and 80h, each 16 bytes long. They make a struct frame (demo.h).
	global vectors, vector_80
%macro vector 1
	align 16
%if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17
%else
	push dword 0
%endif
	push dword %1
	jmp near entry_common
%endmacro
	align 16
vectors:
%assign i 0
%rep 48
	vector i
%assign i i + 1
%endrep
vector_80:
	vector 0x80
entry_common:	pushad
	push ds
	push es
	mov eax, DATA32
	mov ds, eax
	mov es, eax
	cld
	push esp
	call interrupt
	add esp, 4
	pop es
	pop ds
	popad
	add esp, 8
	iretd

; void enter_user(u32 eip, u32 esp): returns when somebody calls leave_user.
enter_user:
	pushad
	mov [user_esp], esp
	mov [tss + 4], esp
	mov ecx, [esp + 36]
	mov edx, [esp + 40]
	push dword USER_DATA
	push edx
	pushfd
	or dword [esp], 0x200
	push dword USER_CODE
	push ecx
	mov eax, USER_DATA
	mov ds, eax
	mov es, eax
	iretd
leave_user:
	mov eax, DATA32
	mov ds, eax
	mov es, eax
	mov esp, [user_esp]
	popad
	ret

; The ring 3 program, copied to a page of its own. System calls: EAX 0 ends, 1 adds EBX and ECX, 2 takes EBX
; as a sum and ECX as the code segment, 3 gives the clock.
user_program:
	mov eax, 1
	mov ebx, 1900
	mov ecx, 96
	int 0x80
	mov ebx, eax
	mov eax, 2
	mov ecx, cs
	int 0x80
	mov eax, 3
	int 0x80
	lea esi, [eax + 3]
.spin:	mov ecx, 1000
	loop $
	mov eax, 3
	int 0x80
	cmp eax, esi
	jb .spin
	cli			; one byte: general protection
	db 0xa1
	dd 0x200000		; MOV EAX, [moffs], five bytes: a supervisor's page
	xor eax, eax
	int 0x80
	ud2
user_program_end:

; int patch_ahead(int): a store changes the instruction after the next jump.
patch_ahead:
	mov eax, [esp + 4]
	mov [.patched + 1], eax
	jmp short .patched
.patched:
	mov eax, 0x12345678
	ret

; int patch_loop(int n): a loop that increments an operand within itself, n times; the sum of 1 to n.
patch_loop:
	mov ecx, [esp + 4]
	xor eax, eax
	mov dword [.operand + 1], 0
.next:	inc dword [.operand + 1]
	jmp short .operand
.operand:
	add eax, 0x11111111
	dec ecx
	jnz .next
	ret

	section .data align=16
gdt:	dq 0
	dq 0x00cf9a000000ffff	; code, flat
	dq 0x00cf92000000ffff	; data, flat
	dq 0x00009a000000ffff	; code of 16 bits, for the way to real mode
	dq 0x000092000000ffff
	dq 0x00cffa000000ffff	; code of ring 3
	dq 0x00cff2000000ffff
gdt_tss	dq 0x0000890000000067
gdt_pointer:
	dw $ - gdt - 1
	dd gdt
real_idt:
	dw 0x3ff
	dd 0
	align 4
idt_pointer:
	dw 0x81 * 8 - 1
	dd 0
boot_drive:
	db 0
	align 4
BIOS_AREA equ 36
bios_area:
	times BIOS_AREA db 0

	section .bss align=16
saved_idt resb 8
saved_esp resd 1
user_esp resd 1
tss	resb 104
	alignb 16
	resb 16384
stack_end:
	section .note.GNU-stack noalloc noexec nowrite progbits
