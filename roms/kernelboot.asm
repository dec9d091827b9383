; SPDX-License-Identifier: MIT
;
; Option ROM that starts the kernel of -kernel: a boot entry (BEV) of the Plug and Play BIOS specification 1.0A, 3.2.
; It fetches what devices/loader.c left in fw_cfg by DMA and enters a Linux kernel at its real-mode setup code, or a
; Multiboot kernel in protected mode. The firmware has set up PCI and its tables by then, as with any other boot.
; pc_kernel.c fills in the checksums.

	bits 16
	cpu 586
	org 0

FW_SELECT	equ 0x510
FW_DATA		equ 0x511
FW_DMA_LOW	equ 0x518
DMA_READ	equ 0x02
DMA_SELECT	equ 0x08

KERNEL_ADDR	equ 0x07
KERNEL_SIZE	equ 0x08
INITRD_ADDR	equ 0x0a
INITRD_SIZE	equ 0x0b
KERNEL_ENTRY	equ 0x10	; not zero: Multiboot
KERNEL_DATA	equ 0x11
INITRD_DATA	equ 0x12
CMDLINE_ADDR	equ 0x13
CMDLINE_SIZE	equ 0x14
CMDLINE_DATA	equ 0x15	; Multiboot: the information structure and its strings
SETUP_ADDR	equ 0x16
SETUP_SIZE	equ 0x17
SETUP_DATA	equ 0x18

; Low memory that is ours while we run, below the stack at 7C00h. 4000h-5FFFh: devices/loader.c.
DMA_COMMAND	equ 0x0600	; 16 bytes
GDT_COPY	equ 0x0700
ENTRY_COPY	equ 0x0800
MMAP		equ 0x6000	; up to ENTRY_MAX entries
ENTRY_MAX	equ 100

; Offsets in the Multiboot information structure.
MBI_MEM_LOWER	equ 4
MBI_MEM_UPPER	equ 8
MBI_MMAP_LENGTH	equ 44
MBI_MMAP_ADDR	equ 48
MULTIBOOT_EAX	equ 0x2badb002

	db 0x55, 0xaa
	db (rom_end - $$) / 512
	jmp short init
	db 0			; checksum
	times 0x1a - ($ - $$) db 0
	dw pnp
	align 16
pnp:	db '$PnP', 1, (pnp_end - pnp) / 16
	dw 0			; no further header
	db 0, 0			; reserved, checksum
	dd 0			; device identifier
	dw manufacturer, product
	db 0, 0, 0		; device type
	db 0x64			; it can be an initial program load device, and is not needed for anything else
	dw 0, 0			; no boot connection vector, no disconnect vector
	dw start		; bootstrap entry vector
	dw 0, 0
pnp_end:

manufacturer:	db 'Dragoman', 0
product:	db 'kernel of -kernel', 0

init:	mov ax, 0x20		; an IPL device is attached
	retf

; EAX = the 32-bit item AX. Changes DX, BX, CX.
read32:
	mov dx, FW_SELECT
	out dx, ax
	mov dx, FW_DATA
	mov cx, 4
.byte:	in al, dx
	shrd ebx, eax, 8	; the low byte first
	loop .byte
	mov eax, ebx
	ret

; Copy an item to memory: AL = number of the data item, AH = of its address, BL = of its size.
fetch:
	mov si, ax
	movzx ax, bl
	call read32
	mov edi, eax		; size
	test edi, edi
	jz .done
	mov ax, si
	movzx ax, ah
	call read32		; address
	mov ebx, eax
	mov ax, si
	movzx eax, al
	shl eax, 16
	or al, DMA_READ | DMA_SELECT
	bswap eax
	mov [DMA_COMMAND], eax
	mov eax, edi
	bswap eax
	mov [DMA_COMMAND + 4], eax
	mov dword [DMA_COMMAND + 8], 0
	bswap ebx
	mov [DMA_COMMAND + 12], ebx
	mov dx, FW_DMA_LOW
	mov eax, DMA_COMMAND
	bswap eax
	out dx, eax
.done:	ret

start:	cli
	cld
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	mov ax, KERNEL_ADDR << 8 | KERNEL_DATA
	mov bl, KERNEL_SIZE
	call fetch
	mov ax, INITRD_ADDR << 8 | INITRD_DATA
	mov bl, INITRD_SIZE
	call fetch
	mov ax, CMDLINE_ADDR << 8 | CMDLINE_DATA
	mov bl, CMDLINE_SIZE
	call fetch
	mov ax, SETUP_ADDR << 8 | SETUP_DATA
	mov bl, SETUP_SIZE
	call fetch
	mov ax, KERNEL_ENTRY
	call read32
	test eax, eax
	jnz multiboot

; Linux boot protocol, "running the kernel": all segments at the setup code, which begins 512 bytes in.
	mov ax, SETUP_ADDR
	call read32
	shr eax, 4
	cli
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov sp, 0xfff0
	add ax, 0x20
	push ax
	push word 0
	retf

; Multiboot specification 0.6.96, 3.2: machine state; 3.3: memory in the information structure.
multiboot:
	push eax
	mov ax, CMDLINE_ADDR
	call read32
	mov ebp, eax		; the information structure
	int 0x12
	movzx eax, ax
	mov [ebp + MBI_MEM_LOWER], eax
	mov dword [ebp + MBI_MEM_UPPER], 0
	mov di, MMAP
	xor ebx, ebx
.next:	mov eax, 0xe820
	mov edx, 0x534d4150	; 'SMAP'
	mov ecx, 20
	mov dword [di], 20
	add di, 4
	int 0x15
	lea di, [di - 4]
	jc .mapped
	cmp dword [di + 4], 0x100000
	jne .other
	cmp dword [di + 20], 1
	jne .other
	mov eax, [di + 12]
	shr eax, 10
	mov [ebp + MBI_MEM_UPPER], eax
.other:	add di, 24
	cmp di, MMAP + 24 * ENTRY_MAX
	jae .mapped
	test ebx, ebx
	jnz .next
.mapped:
	sub di, MMAP
	movzx eax, di
	mov [ebp + MBI_MMAP_LENGTH], eax
	mov dword [ebp + MBI_MMAP_ADDR], MMAP
	cli
	pop ecx			; entry point
	; Copy the descriptor table and the 32-bit code to where their addresses are known.
	push cs
	pop ds
	mov si, gdt
	mov di, GDT_COPY
	mov dx, gdt_end - gdt
	call copy
	mov si, flat
	mov di, ENTRY_COPY
	mov dx, flat_end - flat
	call copy
	xor ax, ax
	mov ds, ax
	in al, 0x92
	or al, 2
	and al, 0xfe
	out 0x92, al
	lgdt [GDT_COPY]
	mov ebx, ebp
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp 0x08:ENTRY_COPY

; DX bytes from DS:SI to ES:DI; keeps CX.
copy:	lodsb
	stosb
	dec dx
	jnz copy
	ret

	bits 32
flat:	mov ax, 0x10
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	mov ss, eax
	mov esp, 0x7c00
	mov eax, MULTIBOOT_EAX
	jmp ecx
flat_end:

; The null descriptor's place holds the table's own address for LGDT.
gdt:	dw gdt_end - gdt - 1
	dd GDT_COPY
	dw 0
	dq 0x00cf9b000000ffff
	dq 0x00cf93000000ffff
gdt_end:

	align 512, db 0
rom_end:
