; SPDX-License-Identifier: MIT
;
; The demo disk: boot sector, kernel and test pattern, as one image of 1.44 MB that boots as hard disk or as
; floppy. The boot sector follows what every PC BIOS gives (drive in DL, loaded at 0000:7C00) and reads
; through INT 13h: the extensions (EDD 1.1, AH=42h) where the BIOS has them, else cylinder, head and sector.

	bits 16
	cpu 386
	org 0x7c00

KERNEL		equ 0x8000	; as in kernel.ld
SECTORS		equ 2880
PATTERN_LBA	equ 2800	; as in demo.h
PATTERN_SECTORS	equ 16

	jmp short start
	nop
	db 'DRAGOMAN'		; the kernel finds its disk again by this
	times 0x3e - ($ - $$) db 0 ; some BIOSes store geometry where a FAT volume has it

start:	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	cld
	jmp 0:begin

begin:	mov [drive], dl
	mov si, hello
	call print

	; The geometry, for the old way. A BIOS that does not know gets that of a 1.44 MB floppy.
	mov ah, 8
	xor di, di
	int 0x13
	push ds
	pop es
	jc no_geometry
	and cx, 0x3f
	jz no_geometry
	mov [track], cx
	movzx dx, dh
	inc dx
	mov [heads], dx
no_geometry:
	mov ah, 0x41
	mov bx, 0x55aa
	mov dl, [drive]
	int 0x13
	jc load
	cmp bx, 0xaa55
	jne load
	test cl, 1
	jz load
	mov byte [extended], 1

load:	mov bp, 3		; attempts
again:	call read
	jnc next
	xor ah, ah		; reset
	mov dl, [drive]
	int 0x13
	dec bp
	jnz again
	mov si, broken
	call print
stop:	hlt
	jmp stop
next:	add word [to_segment], 512 / 16
	inc word [lba]
	cmp word [lba], KERNEL_SECTORS
	jbe load
	mov dl, [drive]
	jmp 0:KERNEL

; One sector, `lba`, to `segment`. Carry: it failed.
read:	mov dl, [drive]
	cmp byte [extended], 0
	je .chs
	mov si, packet
	mov ah, 0x42
	int 0x13
	jc .chs
	ret
.chs:	mov ax, [lba]
	xor dx, dx
	div word [track]
	mov cl, dl
	inc cl			; sectors count from 1
	xor dx, dx
	div word [heads]
	mov ch, al
	shl ah, 6
	or cl, ah
	mov dh, dl
	mov dl, [drive]
	les bx, [offset]
	mov ax, 0x0201
	int 0x13
	ret

print:	lodsb
	test al, al
	jz .end
	mov ah, 0x0e
	mov bx, 7
	int 0x10
	jmp print
.end:	ret

hello	db 'Dragoman demo disk', 13, 10, 0
broken	db 'The disk cannot be read.', 0
drive	db 0
extended db 0
track	dw 18
heads	dw 2
	align 4
packet	db 16, 0
	dw 1
offset	dw 0
to_segment dw KERNEL / 16
lba	dw 1, 0, 0, 0

	; The partition table: the whole disk, active, no file system.
	times 446 - ($ - $$) db 0
	db 0x80, 0, 2, 0
	db 0xda, 1, 18, 79
	dd 1, SECTORS - 1
	times 510 - ($ - $$) db 0
	dw 0xaa55

kernel:	incbin "roms/demo/kernel.flat"
kernel_end:
KERNEL_SECTORS	equ (kernel_end - kernel + 511) / 512
%if kernel_end - kernel > 0x20000
%error the kernel has outgrown its place
%endif

	times PATTERN_LBA * 512 - ($ - $$) db 0
	; What the disk tests expect: the bytes of a linear congruential generator.
%assign x 1996
%rep PATTERN_SECTORS * 512
%assign x (x * 1103515245 + 12345) & 0x7fffffff
	db (x >> 16) & 255
%endrep
	times SECTORS * 512 - ($ - $$) db 0
