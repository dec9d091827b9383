; SPDX-License-Identifier: MIT
;
; A boot sector for tests/scripts/typing/bios.lua: reads keys by the BIOS, echoes them on the screen and sends them to the
; first serial port. After every 64th it does nothing for four ticks of the clock, so that the type-ahead buffer fills.

	cpu 386
	bits 16
	org 0x7c00

start:	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	cld
	mov si, ready
.say:	lodsb
	test al, al
	jz .next
	call put
	jmp .say
.next:	xor ax, ax
	int 0x16
	call put
	inc byte [count]
	test byte [count], 63
	jnz .next
	mov cx, 4
.tick:	mov eax, [0x46c]
.wait:	hlt
	cmp eax, [0x46c]
	je .wait
	loop .tick
	jmp .next

put:	push ax
	mov ah, 0x0e
	mov bx, 7
	int 0x10
	pop cx
	mov dx, 0x3fd
.busy:	in al, dx
	test al, 0x20
	jz .busy
	mov al, cl
	mov dx, 0x3f8
	out dx, al
	ret

ready	db 'ready', 13, 0
count	db 0

	times 510 - ($ - $$) db 0
	dw 0xaa55
	times 1474560 - ($ - $$) db 0
