; SPDX-License-Identifier: MIT
;
; A boot sector for tests/img/drives.sh: writes sector 2 of the first hard disk to sectors 4 to 67, one by one, with
; its first word counted up, and sector 3 to 1000. Then it flushes the drive's cache and leaves by isa-debug-exit:
; status 35, or 37 after an error.

	cpu 386
	bits 16
	org 0x7c00

start:	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	mov al, 2
	mov cx, 2
	call read
.next:	inc word [buffer]
	mov ax, [place]
	call write
	inc word [place]
	cmp word [place], 68
	jne .next
	mov cx, 3
	call read
	mov ax, 1000
	call write
	mov dx, 0x1f7 ; FLUSH CACHE
	mov al, 0xe7
	out dx, al
.busy:	in al, dx
	test al, 0x80
	jnz .busy
	mov al, 0x11
leave_:	mov dx, 0x501
	out dx, al
	hlt

failed:	mov al, 0x12
	jmp leave_

; Sector cx (from 0) into the buffer.
read:	mov [packet.lba], cx
	mov ah, 0x42
	jmp disk

; The buffer into sector ax.
write:	mov [packet.lba], ax
	mov ax, 0x4300
disk:	mov si, packet
	mov dl, 0x80
	int 0x13
	jc failed
	ret

place:	dw 4
packet:	db 16, 0
	dw 1
	dw buffer, 0
.lba:	dw 0, 0, 0, 0

	times 510 - ($ - $$) db 0
	dw 0xaa55

buffer	equ 0x8000
