; SPDX-License-Identifier: MIT
;
; A floppy that runs sound.asm without DOS: loads it as DOS would a .COM file, with the two functions of INT 21h that it
; uses: 09h prints to the serial port, 4Ch ends the run through the debug exit port.

	cpu 386
	bits 16
	org 0x7c00

%define PROGRAM 0x1000
%define SECTORS 8

	jmp 0:start
start:	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7c00
	mov word [0x21 * 4], dos
	mov word [0x21 * 4 + 2], 0
	mov ax, PROGRAM
	mov es, ax
	mov ax, 0x0200 | SECTORS
	mov bx, 0x100
	mov cx, 2
	mov dx, 0
	int 0x13
	jc stop
	mov ax, PROGRAM
	mov ds, ax
	mov byte [0x80], 0	; no arguments
	mov ss, ax
	mov sp, 0xfffe
	sti
	jmp PROGRAM:0x100

stop:	mov al, 2
	mov dx, 0xf4
	out dx, al
	hlt
	jmp stop

dos:	cmp ah, 0x4c
	jne .print
	mov dx, 0xf4
	out dx, al
	jmp stop
.print:	push si
	push dx
	mov si, dx
.next:	mov dx, 0x3fd
.wait:	in al, dx
	test al, 0x20
	jz .wait
	mov dl, 0xf8
	lodsb
	cmp al, '$'
	je .done
	out dx, al
	jmp .next
.done:	pop dx
	pop si
	iret

	times 510 - ($ - $$) db 0
	dw 0xaa55
	incbin "tests/devices/sound.bin"
	times (SECTORS + 1) * 512 - ($ - $$) db 0
	times 1474560 - ($ - $$) db 0
