; SPDX-License-Identifier: MIT
;
; A bzImage whose "kernel" is only setup code: it reports on the first serial port what its loader told it (boot
; protocol 2.10), reads its protected-mode part and its initrd back through INT 15h, and ends the run through the debug
; exit port with status (32h << 1) | 1 = 101. tests/boot/kernel.sh knows what it ought to say.

	bits 16
	org 0

SERIAL	equ 0x3f8
EXIT	equ 0xf4
BUFFER	equ 0x4000

	times 0x1f1 - ($ - $$) db 0
	db 1			; setup_sects
	dw 0
	dd (kernel_end - kernel) / 16
	dw 0, 0xffff, 0
	dw 0xaa55
	jmp short entry
	db 'HdrS'
	dw 0x20a
	dd 0
	dw 0, 0
loader:	db 0
flags:	db 1			; loaded high
	dw 0
	dd 0x100000
image:	dd 0			; initrd
size:	dd 0
	dd 0
heap:	dw 0, 0
cmdline: dd 0
	dd 0x37ffffff
	dd 0x1000, 0
	dd 255			; command line size
	times 0x258 - ($ - $$) db 0
	dq 0x100000
	dd 0x100000

entry:	mov si, m_segments
	call text
	mov ax, ds
	call hex
	mov al, ' '
	call char
	mov ax, cs
	call hex
	mov si, m_loader
	call text
	mov ah, [loader]
	mov al, [flags]
	call hex
	mov si, m_heap
	call text
	mov ax, [heap]
	call hex
	mov si, m_cmdline
	call text
	mov eax, [cmdline]
	mov bx, 4096
	call show
	mov si, m_kernel
	call text
	mov eax, 0x100000
	call show
	mov si, m_initrd
	call text
	mov ax, [size]
	call hex
	mov al, ' '
	call char
	mov eax, [image]
	call show
	mov si, m_end
	call text
	mov al, 0x32
	mov dx, EXIT
	out dx, al
	hlt

; The text at physical address EAX, copied here by the BIOS.
show:	mov [descriptors + 0x12], ax
	shr eax, 16
	mov [descriptors + 0x14], al
	mov [descriptors + 0x17], ah
	mov eax, ds
	shl eax, 4
	add eax, BUFFER
	mov [descriptors + 0x1a], ax
	shr eax, 16
	mov [descriptors + 0x1c], al
	push ds
	pop es
	mov si, descriptors
	mov cx, 64
	mov ah, 0x87
	int 0x15
	mov si, BUFFER

text:	lodsb
	test al, al
	jz .end
	call char
	jmp text
.end:	ret

char:	push dx
	mov ah, al
	mov dx, SERIAL + 5
.wait:	in al, dx
	test al, 0x20
	jz .wait
	mov dx, SERIAL
	mov al, ah
	out dx, al
	pop dx
	ret

hex:	mov dx, ax
	mov cx, 4
.digit:	rol dx, 4
	mov al, dl
	and al, 15
	add al, '0'
	cmp al, '9'
	jbe .put
	add al, 'a' - '0' - 10
.put:	call char
	loop .digit
	ret

m_segments:	db 'segments ', 0
m_loader:	db 10, 'loader ', 0
m_heap:		db 10, 'heap ', 0
m_cmdline:	db 10, 'cmdline ', 0
m_kernel:	db 10, 'kernel ', 0
m_initrd:	db 10, 'initrd ', 0
m_end:		db 10, 'end', 10, 0
	align 8
descriptors:
	dq 0, 0
	dw 0xffff, 0, 0x9300, 0
	dw 0xffff, 0, 0x9300, 0
	dq 0, 0

	times 1024 - ($ - $$) db 0
kernel:	db 'from the second half', 0
	align 16, db 0
	times 64 db 0
kernel_end:
