; SPDX-License-Identifier: MIT
;
; A boot sector for tests/boot/usb.sh: says on the first serial port what it was booted from, disables the PS/2
; keyboard, waits for a key by the BIOS and exits through isa-debug-exit: status 35 for 'q' (11h * 2 + 1), else 37.

	cpu 386
	bits 16
	org 0x7c00

start:	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7c00
	mov al, dl
	shr al, 4
	call digit
	mov [drive], al
	mov al, dl
	and al, 15
	call digit
	mov [drive + 1], al
	mov si, text
.next:	lodsb
	test al, al
	jz .wait
	mov cl, al
	mov dx, 0x3fd
.busy:	in al, dx
	test al, 0x20
	jz .busy
	mov al, cl
	mov dx, 0x3f8
	out dx, al
	jmp .next
.wait:	mov al, 0xad
	out 0x64, al
	xor ax, ax
	int 0x16
	cmp al, 'q'
	mov al, 0x11
	je .end
	mov al, 0x12
.end:	mov dx, 0x501
	out dx, al
	hlt

digit:	add al, '0'
	cmp al, '9'
	jbe .done
	add al, 'a' - '9' - 1
.done:	ret

text:	db "booted from drive "
drive:	db "??", 13, 10, 0

	times 510 - ($ - $$) db 0
	dw 0xaa55
