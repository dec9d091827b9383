; SPDX-License-Identifier: MIT
;
; A boot sector that resets the machine in one way after the other; a byte of CMOS RAM counts. Each time the firmware
; must start it again. Ends the run through the debug exit port with status (21 << 1) | 1 = 43. tests/boot/firmware.sh

	cpu 586
	bits 16
	org 0x7c00

	cli
	xor ax, ax
	mov ds, ax
	mov al, 0x50
	out 0x70, al
	in al, 0x71
	mov bl, al
	mov al, 0x50
	out 0x70, al
	mov al, bl
	inc al
	out 0x71, al
	cmp bl, 0
	je port_cf9
	cmp bl, 1
	je keyboard
	cmp bl, 2
	je port_92
	cmp bl, 3
	je triple
	cmp bl, 4
	je jump
	mov dx, 0xf4
	mov al, 21
	out dx, al
stay:	hlt
	jmp stay

port_cf9:
	mov dx, 0xcf9
	mov al, 2
	out dx, al
	mov al, 6
	out dx, al
	jmp stay
keyboard:
	mov al, 0xfe
	out 0x64, al
	jmp stay
port_92:
	mov al, 1
	out 0x92, al
	jmp stay
triple:	lidt [nothing]
	int3
	jmp stay
jump:	mov word [0x472], 0
	jmp 0xffff:0

nothing: dw 0
	dd 0
	times 510 - ($ - $$) db 0
	dw 0xaa55
	times 1474560 - 512 db 0
