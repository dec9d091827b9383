; SPDX-License-Identifier: MIT
;
; A boot floppy that looks for what the firmware leaves to operating systems, checks it, and says so on the first
; serial port: ACPI tables (ACPI 1.0, 5.2), $PIR (PCI BIOS 2.1), MP tables (MP 1.4), SMBIOS (2.4), $PnP (PnP BIOS 1.0A),
; BIOS32, APM (1.2); and the ports behind them. At the end it switches the machine off through APM.
; tests/boot/firmware.sh

	cpu 586
	bits 16
	org 0x7c00

	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	mov ax, 0x0200 + (end - next + 511) / 512
	mov bx, next
	mov cx, 2
	xor dh, dh
	int 0x13
	jnc next
dead:	hlt
	jmp dead
	times 510 - ($ - $$) db 0
	dw 0xaa55

next:	cli			; FS: all of memory
	push ds
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp $ + 2
	mov bx, 8
	mov fs, bx
	and al, 0xfe
	mov cr0, eax
	jmp $ + 2
	pop ds
	sti

	; --- ACPI
	mov si, s_rsdp
	call find
	jc no_acpi
	mov ecx, 20
	call verdict
	mov esi, [fs:edi + 16]
	mov [rsdt], esi
	call table
	mov esi, [rsdt]
	mov eax, [fs:esi + 4]
	sub eax, 36
	shr eax, 2
	mov [left], ax
entry:	mov esi, [rsdt]
	add esi, 36
	add dword [rsdt], 4
	mov esi, [fs:esi]
	call table
	cmp dword [fs:esi], 'FACP'
	jne .no_fadt
	call fadt
.no_fadt:
	cmp dword [fs:esi], 'SSDT'
	jne .other
	call states
.other:	dec word [left]
	jnz entry
no_acpi:

	; --- tables in the BIOS segment
	mov si, s_pir
	call find
	jc .no_pir
	movzx ecx, word [fs:edi + 6]
	call verdict
.no_pir:
	mov si, s_mp
	call find
	jc .no_mp
	mov ecx, 16
	call verdict
	mov esi, [fs:edi + 4]
	movzx ecx, word [fs:esi + 4]
	call sig_line
.no_mp:
	mov si, s_sm
	call find
	jc .no_sm
	movzx ecx, byte [fs:edi + 5]
	call verdict
	mov ax, [fs:edi + 0x1c]
	test ax, ax
	setnz al
	mov si, s_smtables
	call flag
.no_sm:
	mov si, s_pnp
	call find
	jc .no_pnp
	movzx ecx, byte [fs:edi + 5]
	call verdict
.no_pnp:
	mov si, s_bios32
	call find
	jc .no_bios32
	movzx ecx, byte [fs:edi + 9]
	shl ecx, 4
	call verdict
.no_bios32:

	; --- ports
	mov dx, 0x402
	in al, dx
	cmp al, 0xe9
	sete al
	mov si, s_debug
	call flag
	mov al, 0x5a
	out 0x80, al
	in al, 0x80
	cmp al, 0x5a
	sete al
	mov si, s_post
	call flag
	mov dx, 0x4d1		; ELCR: IRQ 10 by level
	in al, dx
	mov bl, al
	or al, 4
	out dx, al
	in al, dx
	test al, 4
	setnz al
	mov si, s_elcr
	call flag
	mov al, bl
	out dx, al
	mov eax, 0x80000860	; PIRQRC of 00:01.0: INTA to IRQ 5, and nowhere
	mov dx, 0xcf8
	out dx, eax
	mov dx, 0xcfc
	in al, dx
	mov bl, al
	mov al, 5
	out dx, al
	in al, dx
	mov bh, al
	mov al, 0x80
	out dx, al
	in al, dx
	cmp bx, ax
	mov ah, bh
	mov cl, al
	mov al, bl
	out dx, al
	cmp cl, 0x80
	jne .pirq_bad
	cmp ah, 5
.pirq_bad:
	sete al
	mov si, s_pirq
	call flag

	; --- the ACPI timer counts three times as fast as the PIT
	cmp word [pmtimer], 0
	je no_timer
	mov bx, [0x46c]
.tick:	cmp bx, [0x46c]
	je .tick
	mov dx, [pmtimer]
	in eax, dx
	mov edi, eax
	mov bx, [0x46c]
.tock:	cmp bx, [0x46c]
	je .tock
	in eax, dx
	sub eax, edi
	and eax, 0xffffff
	sub eax, 3 * 65536 - 2000
	cmp eax, 4000
	setb al
	mov si, s_timer
	call flag
no_timer:

	; --- APM
	mov ax, 0x5300
	xor bx, bx
	int 0x15
	jc no_apm
	cmp bx, 'MP'
	sete al
	mov si, s_apm
	call flag
	mov ax, 0x5301		; connect
	xor bx, bx
	int 0x15
	mov ax, 0x530e		; as version 1.2
	xor bx, bx
	mov cx, 0x0102
	int 0x15
	mov ax, 0x5308		; enable power management of all devices
	mov bx, 1
	mov cx, 1
	int 0x15
	mov bp, 18		; a second by APM's idle call
	mov bx, [0x46c]
.idle:	push bx
	mov ax, 0x5305
	int 0x15
	pop bx
	cmp bx, [0x46c]
	je .idle
	mov bx, [0x46c]
	dec bp
	jnz .idle
	mov si, s_idle
	mov al, 1
	call flag
	mov ax, 0x5307		; off
	mov bx, 1
	mov cx, 3
	int 0x15
no_apm:	mov si, s_apm
	xor al, al
	call flag
	jmp dead

; --- the table at ESI: its signature and its checksum
table:	mov ecx, [fs:esi + 4]
sig_line:
	push esi
	push ecx
	mov cx, 4
.next:	mov al, [fs:esi]
	call putc
	inc esi
	loop .next
	pop ecx
	pop esi
	jmp sum_line

; --- the FADT at ESI
fadt:	push esi
	mov al, [fs:esi + 46]
	cmp al, 9
	sete al
	push si
	mov si, s_sci
	call flag
	pop si
	mov eax, [fs:esi + 76]
	mov [pmtimer], ax
	mov eax, [fs:esi + 36]	; FACS has no checksum
	cmp dword [fs:eax], 'FACS'
	sete al
	push si
	mov si, s_facs
	call flag
	pop si
	mov esi, [fs:esi + 40]
	call table
	pop esi
	ret

; --- the sleep states in the SSDT at ESI
states:	mov edi, '_S5_'
	mov bx, s_s5
	call has
	mov edi, '_S3_'
	mov bx, s_s3
	call has
	mov edi, '_S4_'
	mov bx, s_s4
	call has
	ret

; --- does the table at ESI hold the four letters EDI? BX: what to call them
has:	push esi
	mov ecx, [fs:esi + 4]
	sub ecx, 3
.next:	cmp [fs:esi], edi
	je .found
	inc esi
	dec ecx
	jnz .next
.found:	test ecx, ecx
	setnz al
	mov si, bx
	call flag
	pop esi
	ret

; --- find the text at SI (length first) in E0000h-FFFFFh; EDI, or carry
find:	mov [name], si
	mov edi, 0xe0000
.try:	push edi
	movzx cx, byte [si]
	push si
.byte:	inc si
	mov al, [fs:edi]
	inc edi
	cmp al, [si]
	loope .byte
	pop si
	pop edi
	je .found
	add edi, 16
	cmp edi, 0x100000
	jb .try
	stc
	ret
.found:	clc
	ret

; --- the name found last, and whether ECX bytes at EDI sum up to zero
verdict:
	mov si, [name]
	movzx bx, byte [si]
.next:	inc si
	mov al, [si]
	call putc
	dec bx
	jnz .next
	mov esi, edi
sum_line:
	push esi
	xor al, al
.add:	add al, [fs:esi]
	inc esi
	dec ecx
	jnz .add
	pop esi
	test al, al
	setz al
	push si
	mov si, s_none
	call flag
	pop si
	ret

; --- the text at SI and "ok" or "no", by AL
flag:	push ax
.next:	lodsb
	test al, al
	jz .end
	call putc
	jmp .next
.end:	pop ax
	test al, al
	mov si, s_ok
	jnz .say
	mov si, s_no
.say:	lodsb
	test al, al
	jz .done
	call putc
	jmp .say
.done:	ret

putc:	push dx
	push ax
	mov dx, 0x3fd
.wait:	in al, dx
	test al, 0x20
	jz .wait
	mov dx, 0x3f8
	pop ax
	out dx, al
	pop dx
	ret

s_rsdp:	db 8, 'RSD PTR '
s_pir:	db 4, '$PIR'
s_mp:	db 4, '_MP_'
s_sm:	db 4, '_SM_'
s_pnp:	db 4, '$PnP'
s_bios32: db 4, '_32_'
s_smtables: db 'SMBIOS structures', 0
s_sci:	db 'SCI 9', 0
s_facs:	db 'FACS', 0
s_s3:	db 'S3', 0
s_s4:	db 'S4', 0
s_s5:	db 'S5', 0
s_debug: db 'debug port', 0
s_post:	db 'POST port', 0
s_elcr:	db 'ELCR', 0
s_pirq:	db 'PIRQ', 0
s_timer: db 'PM timer', 0
s_apm:	db 'APM', 0
s_idle:	db 'APM idle', 0
s_none:	db 0
s_ok:	db ' ok', 13, 10, 0
s_no:	db ' no', 13, 10, 0

	align 8
gdtr:	dw 15
	dd gdt
	dw 0
gdt:	dq 0, 0x00cf92000000ffff
rsdt:	dd 0
left:	dw 0
pmtimer: dw 0
name:	dw 0
end:
	times 1474560 - ($ - $$) db 0
