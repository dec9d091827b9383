; SPDX-License-Identifier: MIT
;
; A boot sector that leaves protected mode as programs for the 286 do: CMOS shutdown code 0Ah, the address to come back
; to at 0040:0067, A20 off, and the keyboard controller's pulse on the processor's reset line (IBM PC/AT technical
; reference, BIOS). Memory and the FPU must be as they were. Ends the run through the debug exit
; port with status (5 << 1) | 1 = 11. tests/boot/reset.sh

	cpu 586
	bits 16
	org 0x7c00

	cli
	xor ax, ax
	mov ds, ax
	mov dword [0x7000], 0x600dbeef
	fninit
	fld1
	mov word [0x467], back
	mov word [0x469], 0
	mov al, 0x0f
	out 0x70, al
	mov al, 0x0a
	out 0x71, al
	in al, 0x92
	and al, 0xfc
	out 0x92, al
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	mov al, 0xfe
	out 0x64, al
stay:	hlt
	jmp stay

back:	xor ax, ax
	mov ds, ax
	mov eax, cr0
	test al, 1
	jnz stay
	cmp dword [0x7000], 0x600dbeef
	jne stay
	fistp word [0x7004]
	cmp word [0x7004], 1
	jne stay
	mov dx, 0xf4
	mov al, 5
	out dx, al
	jmp stay

gdtr:	dw 7
	dd gdt
gdt:	dq 0
	times 510 - ($ - $$) db 0
	dw 0xaa55
	times 1474560 - 512 db 0
