; SPDX-License-Identifier: MIT
;
; A Multiboot 1 kernel that reports on the first serial port what its loader told it, and ends the run through the
; debug exit port with status (31h << 1) | 1 = 99. tests/boot/kernel.sh knows what it ought to say.

	bits 32
	org 0x100000

SERIAL	equ 0x3f8
EXIT	equ 0xf4
FLAGS	equ 0x00010003		; align modules, memory information, addresses below

start:
header:	dd 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
	dd header, start, end, bss_end, entry

entry:	mov esp, stack
	mov ebp, ebx
	mov ebx, eax
	mov esi, m_magic
	call text
	mov eax, ebx
	call hex
	mov esi, m_cmdline
	call text
	mov esi, [ebp + 16]
	call text
	mov esi, m_mods
	call text
	mov eax, [ebp + 20]
	call hex
	mov edi, [ebp + 24]	; module list
	mov ebx, [ebp + 20]
.module:
	test ebx, ebx
	jz .memory
	mov esi, m_module
	call text
	mov esi, [edi + 8]
	call text
	mov al, ':'
	call char
	mov esi, [edi]		; contents up to the end
	mov ecx, [edi + 4]
	sub ecx, esi
.byte:	lodsb
	call char
	loop .byte
	add edi, 16
	dec ebx
	jmp .module
.memory:
	mov esi, m_lower
	call text
	mov eax, [ebp + 4]
	call hex
	mov esi, m_upper
	call text
	mov eax, [ebp + 8]
	call hex
	mov esi, m_map
	call text
	mov esi, [ebp + 48]
	mov edi, esi
	add edi, [ebp + 44]
	xor ebx, ebx		; RAM in the map, in KB
.entry:	cmp esi, edi
	jae .done
	cmp dword [esi + 20], 1
	jne .next
	mov eax, [esi + 12]
	shr eax, 10
	add ebx, eax
.next:	add esi, [esi]
	add esi, 4
	jmp .entry
.done:	mov eax, ebx
	call hex
	mov esi, m_bss
	call text
	mov eax, [stack_low]
	call hex
	mov esi, m_time		; in counted mode the same in every run
	call text
	rdtsc
	mov ebx, eax
	mov eax, edx
	call hex
	mov eax, ebx
	call hex
	mov esi, m_end
	call text
	mov al, 0x31
	mov dx, EXIT
	out dx, al
	hlt

text:	lodsb
	test al, al
	jz .end
	call char
	jmp text
.end:	ret

char:	push edx
	mov ah, al
	mov dx, SERIAL + 5
.wait:	in al, dx
	test al, 0x20
	jz .wait
	mov dx, SERIAL
	mov al, ah
	out dx, al
	pop edx
	ret

hex:	push ecx
	mov edx, eax
	mov ecx, 8
.digit:	rol edx, 4
	mov al, dl
	and al, 15
	add al, '0'
	cmp al, '9'
	jbe .put
	add al, 'a' - '0' - 10
.put:	call char
	loop .digit
	pop ecx
	ret

m_magic:	db 'magic ', 0
m_cmdline:	db 10, 'cmdline ', 0
m_mods:		db 10, 'modules ', 0
m_module:	db 10, 'module ', 0
m_lower:	db 10, 'lower ', 0
m_upper:	db 10, 'upper ', 0
m_map:		db 10, 'map ', 0
m_bss:		db 10, 'bss ', 0
m_time:		db 10, 'time ', 0
m_end:		db 10, 'end', 10, 0
	align 4
end:

	absolute end
stack_low:
	resb 4096
stack:
bss_end:
