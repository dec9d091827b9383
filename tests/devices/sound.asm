; SPDX-License-Identifier: MIT
;
; SOUND.COM, for DOS: finds a Sound Blaster 16 and an AdLib as games do (DSP reset, version, interrupt by asking for one,
; DMA channels by trying them), says what it found, and plays a tone by each of their ways:
;
;   FM 440 Hz; FM 440 Hz left and 880 Hz right (OPL3); direct output 500.5 Hz from the timer's interrupt; 8-bit
;   single-cycle DMA 600 Hz; 8-bit auto-init 700 Hz; high-speed stereo 900 and 300 Hz (Sound Blaster Pro);
;   16-bit auto-init stereo 800 and 1000 Hz
;
; each for about a second, with silence between. With an argument "a" only AdLib's part. Ends with 0, or 1 and a message.
; Uses the 64 KB at 50000h. tests/devices/sound.sh runs it without DOS (soundboot.asm) and listens.

	cpu 386
	bits 16
	org 0x100

%define BASE 0x220
%define FM 0x388
%define BUFFER 0x5000	; segment

%macro print 1
	mov dx, %1
	mov ah, 9
	int 0x21
%endmacro

%macro dsp 1-*
	%rep %0
	mov al, %1
	call dsp_write
	%rotate 1
	%endrep
%endmacro

	cld
	finit
	call adlib
	mov al, [0x82]
	cmp byte [0x80], 2
	jb blaster
	cmp al, 'a'
	je finish
blaster:
	call find_dsp
	call play_direct
	call hook
	call find_irq
	call find_dma
	call play_single
	call play_auto
	call play_high
	call play_wide
	call unhook
finish:
	print all_done
	mov ax, 0x4c00
	int 0x21

fail:	; dx = message
	push dx
	cmp byte [hooked], 0
	je .plain
	call unhook
.plain:	pop dx
	mov ah, 9
	int 0x21
	mov ax, 0x4c01
	int 0x21

; --- time ---------------------------------------------------------------------------------------------

ticks:	; wait for cx ticks of the BIOS clock, 18.2 a second
	push es
	push 0x40
	pop es
.next:	mov ax, [es:0x6c]
.same:	cmp ax, [es:0x6c]
	je .same
	loop .next
	pop es
	ret

rest:	mov cx, 7
	jmp ticks

micro:	; wait for about cx microseconds, by channel 0 of the timer (in whatever mode the BIOS left it)
	push ax
	push bx
	push dx
	movzx eax, cx
	imul eax, eax, 1193
	mov ebx, 1000
	xor edx, edx
	div ebx
	mov bx, ax		; in the timer's counts
	call count
	mov dx, ax
.wait:	call count
	neg ax
	add ax, dx
	cmp ax, bx
	jb .wait
	pop dx
	pop bx
	pop ax
	ret

count:	mov al, 0
	out 0x43, al
	in al, 0x40
	mov ah, al
	in al, 0x40
	xchg al, ah
	ret

; --- AdLib --------------------------------------------------------------------------------------------

%macro fm 2	; register, value; a second bank from 100h
	mov dx, FM + ((%1) >> 8) * 2
	mov ax, ((%2) << 8) | ((%1) & 0xff)
	call fm_write
%endmacro

fm_write:
	out dx, al
	mov cx, 6
.a:	in al, dx
	loop .a
	inc dx
	mov al, ah
	out dx, al
	dec dx
	mov cx, 35
.b:	in al, dx
	loop .b
	ret

adlib:	; the detection that AdLib published: timer 1 must overflow after 80 us
	fm 4, 0x60
	fm 4, 0x80
	in al, dx
	mov bl, al
	fm 2, 0xff
	fm 4, 0x21
	mov cx, 200
	call micro
	mov dx, FM
	in al, dx
	mov bh, al
	fm 4, 0x60
	fm 4, 0x80
	and bx, 0xe0e0
	mov dx, no_adlib
	cmp bx, 0xc000
	jne fail
	mov dx, FM
	in al, dx
	test al, 6
	mov dx, opl2_text
	jnz .tell
	mov dx, opl3_text
	mov byte [opl3], 1
.tell:	mov ah, 9
	int 0x21
	fm 0x01, 0x20		; a sine: the carrier of channel 0 alone
	fm 0x20, 0x01
	fm 0x40, 0x3f
	fm 0x60, 0x00
	fm 0x80, 0x0f
	fm 0x23, 0x21
	fm 0x43, 0x00
	fm 0x63, 0xf0
	fm 0x83, 0x0f
	fm 0xe3, 0x00
	fm 0xc0, 0x01
	fm 0xa0, (580 & 0xff)
	fm 0xb0, (0x20 | 4 << 2 | 580 >> 8)
	mov cx, 19
	call ticks
	fm 0xb0, (4 << 2 | 580 >> 8)
	call rest
	cmp byte [opl3], 0
	je .done
	fm 0x105, 0x01
	fm 0xc0, 0x11		; left; and channel 9, right
	fm 0x123, 0x21
	fm 0x143, 0x00
	fm 0x163, 0xf0
	fm 0x183, 0x0f
	fm 0x1e3, 0x00
	fm 0x140, 0x3f
	fm 0x160, 0x00
	fm 0x1c0, 0x21
	fm 0x1a0, (580 & 0xff)
	fm 0xb0, (0x20 | 4 << 2 | 580 >> 8)
	fm 0x1b0, (0x20 | 5 << 2 | 580 >> 8)
	mov cx, 19
	call ticks
	fm 0xb0, (4 << 2 | 580 >> 8)
	fm 0x1b0, (5 << 2 | 580 >> 8)
	call rest
	fm 0x105, 0x00
.done:	ret

; --- the DSP ------------------------------------------------------------------------------------------

dsp_write:	; al
	push cx
	push dx
	mov ah, al
	mov dx, BASE + 0xc
	xor cx, cx
.wait:	in al, dx
	test al, al
	jns .free
	loop .wait
	mov dx, stuck
	jmp fail
.free:	mov al, ah
	out dx, al
	pop dx
	pop cx
	ret

dsp_read:
	push cx
	push dx
	mov dx, BASE + 0xe
	xor cx, cx
.wait:	in al, dx
	test al, al
	js .there
	loop .wait
	mov dx, mute
	jmp fail
.there:	mov dl, (BASE + 0xa) & 0xff
	in al, dx
	pop dx
	pop cx
	ret

dsp_reset:	; carry: nobody answers
	mov dx, BASE + 6
	mov al, 1
	out dx, al
	mov cx, 3
	call micro
	mov al, 0
	out dx, al
	mov bx, 20
	mov dl, (BASE + 0xe) & 0xff
.wait:	mov cx, 10
	call micro
	in al, dx
	test al, al
	js .there
	dec bx
	jnz .wait
.no:	stc
	ret
.there:	mov dl, (BASE + 0xa) & 0xff
	in al, dx
	cmp al, 0xaa
	jne .no
	clc
	ret

find_dsp:
	call dsp_reset
	mov dx, no_dsp
	jc fail
	dsp 0xe0, 0x5a		; the complement
	call dsp_read
	cmp al, 0xa5
	mov dx, no_dsp
	jne fail
	dsp 0xe1
	call dsp_read
	add al, '0'
	mov [version], al
	call dsp_read
	aam
	add ax, 0x3030
	xchg al, ah
	mov [version + 2], ax
	print dsp_text
	ret

; --- interrupts ---------------------------------------------------------------------------------------

; One handler for each line that the card can use tells which it was.
lines:	db 5, 7, 9, 10
vectors: dw (8 + 5) * 4, (8 + 7) * 4, (0x70 + 1) * 4, (0x70 + 2) * 4
handlers: dw on5, on7, on9, on10

%macro handler 1
	push ax
	mov al, %1
	jmp interrupt
%endmacro

on5:	handler 5
on7:	handler 7
on9:	handler 9
on10:	handler 10

interrupt:
	push dx
	push ds
	push cs
	pop ds
	cld
	mov [line], al
	inc word [irqs]
	mov dx, BASE + 4	; which of the card's sources was it?
	mov al, 0x82
	out dx, al
	inc dx
	in al, dx
	or [sources], al
	mov ah, al
	mov dl, (BASE + 0xe) & 0xff
	test ah, 1
	jz .wide
	in al, dx
.wide:	inc dx
	test ah, 2
	jz .end
	in al, dx
.end:	mov al, 0x20
	cmp byte [line], 8
	jb .first
	out 0xa0, al
.first:	out 0x20, al
	cmp word [on_irq], 0
	je .out
	pusha
	call [on_irq]
	popa
.out:	pop ds
	pop dx
	pop ax
	iret

hook:	mov byte [hooked], 1
	cli
	push es
	push 0
	pop es
	xor si, si
.next:	mov di, [vectors + si]
	mov eax, [es:di]
	shl si, 1
	mov [old + si], eax
	shr si, 1
	mov ax, [handlers + si]
	mov [es:di], ax
	mov [es:di + 2], cs
	add si, 2
	cmp si, 8
	jb .next
	in al, 0x21
	mov [masks], al
	and al, ~0xa4
	out 0x21, al
	in al, 0xa1
	mov [masks + 1], al
	and al, ~6
	out 0xa1, al
	pop es
	sti
	ret

unhook:	mov byte [hooked], 1
	cli
	push es
	push 0
	pop es
	xor si, si
.next:	mov di, [vectors + si]
	shl si, 1
	mov eax, [old + si]
	shr si, 1
	mov [es:di], eax
	add si, 2
	cmp si, 8
	jb .next
	mov al, [masks]
	out 0x21, al
	mov al, [masks + 1]
	out 0xa1, al
	pop es
	sti
	ret

; cx = ticks at most -> carry if no interrupt came
await:	push es
	push 0x40
	pop es
.tick:	mov ax, [es:0x6c]
.same:	cmp word [irqs], 0
	jne .came
	cmp ax, [es:0x6c]
	je .same
	loop .tick
	stc
.came:	pop es
	ret

find_irq:	; ask for one of each kind and see what comes
	mov byte [line], 0
	mov word [irqs], 0
	mov byte [sources], 0
	dsp 0xf2
	mov cx, 3
	call await
	mov dx, no_irq
	jc fail
	mov word [irqs], 0
	dsp 0xf3
	mov cx, 3
	call await
	mov dx, no_irq
	jc fail
	mov al, [sources]
	and al, 7
	cmp al, 3
	jne fail
	mov al, [line]
	aam
	add ax, 0x3030
	xchg al, ah
	mov [irq_number], ax
	print irq_text
	ret

; --- DMA ----------------------------------------------------------------------------------------------

; Program [channel] for cx bytes or words from the buffer's start; [mode] 58h auto-init, 48h single.
dma_ports: ; page, address, count, mask, mode, flip-flop
	db 0x87, 0x00, 0x01, 0x0a, 0x0b, 0x0c
	db 0x83, 0x02, 0x03, 0x0a, 0x0b, 0x0c
	db 0x81, 0x04, 0x05, 0x0a, 0x0b, 0x0c
	db 0x82, 0x06, 0x07, 0x0a, 0x0b, 0x0c
	db 0x8f, 0xc0, 0xc2, 0xd4, 0xd6, 0xd8
	db 0x8b, 0xc4, 0xc6, 0xd4, 0xd6, 0xd8
	db 0x89, 0xc8, 0xca, 0xd4, 0xd6, 0xd8
	db 0x8a, 0xcc, 0xce, 0xd4, 0xd6, 0xd8

program:
	movzx bx, byte [channel]
	imul si, bx, 6
	add si, dma_ports
	and bl, 3
	mov dh, 0
	mov dl, [si + 3]
	mov al, bl
	or al, 4
	out dx, al		; masked
	mov dl, [si + 5]
	out dx, al
	mov dl, [si + 4]
	mov al, bl
	or al, [mode]
	out dx, al
	mov dl, [si]
	mov al, BUFFER >> 12	; (in words: bits 16 to 23 but the lowest, which the address holds)
	out dx, al
	mov ax, 0
	cmp byte [channel], 4
	jb .bytes
	mov ah, (BUFFER & 0x1000) >> 5
.bytes:	mov dl, [si + 1]
	out dx, al
	mov al, ah
	out dx, al
	mov dl, [si + 2]
	mov ax, cx
	dec ax
	out dx, al
	mov al, ah
	out dx, al
	mov dl, [si + 3]
	mov al, bl
	out dx, al
	ret

release: ; mask [channel]
	movzx bx, byte [channel]
	imul si, bx, 6
	mov dh, 0
	mov dl, [dma_ports + si + 3]
	mov al, bl
	and al, 3
	or al, 4
	out dx, al
	ret

find_dma: ; play a little silence by each channel; the one whose block ends is it
	mov byte [mode], 0x48
	mov si, .channels
.next:	lodsb
	push si
	mov [channel], al
	cmp al, 4
	mov al, 0x80
	jb .silence
	mov al, 0
.silence:
	push es
	push BUFFER
	pop es
	xor di, di
	mov cx, 64
	rep stosb
	pop es
	mov cx, 32
	call program
	mov word [irqs], 0
	dsp 0x40, 211
	cmp byte [channel], 4
	ja .wide
	dsp 0x14, 31, 0
	jmp .wait
.wide:	dsp 0x41, 0x56, 0x22	; 22050 Hz
	dsp 0xb0, 0x10, 31, 0
.wait:	mov cx, 2
	call await
	pushf
	call release
	popf
	pop si
	jc .other
	mov al, [channel]
	add al, '0'
	cmp al, '4'
	ja .found
	mov [dma_number], al
	sub al, '0'
	mov [dma8], al
	mov si, .channels16	; now the other kind
	jmp .next
.other:	call dsp_reset
	cmp byte [si], 0xff
	jne .next
	mov dx, no_dma
	jmp fail
.found:	mov [dma16_number], al
	sub al, '0'
	mov [dma16], al
	print dma_text
	ret
.channels: db 1, 3, 0, 0xff
.channels16: db 5, 6, 7, 0xff

; --- sound --------------------------------------------------------------------------------------------

; [cycles] periods of a sine in cx samples at BUFFER:di, bx bytes from one to the next; [wide]: signed words, else bytes.
sine:	push es
	push BUFFER
	pop es
	mov [samples], cx
	mov word [index], 0
.next:	fild word [cycles]
	fimul word [index]
	fidiv word [samples]
	fldpi
	fmul st1
	fadd st0
	fsin
	cmp byte [wide], 0
	jne .word
	fimul word [top8]
	fistp word [sample]
	fstp st0
	mov al, [sample]
	add al, 128
	mov [es:di], al
	jmp .step
.word:	fimul word [top16]
	fistp word [sample]
	fstp st0
	mov ax, [sample]
	mov [es:di], ax
.step:	add di, bx
	inc word [index]
	loop .next
	pop es
	ret

%macro wave 4	; offset, bytes between, samples, cycles
	mov di, %1
	mov bx, %2
	mov word [cycles], %4
	mov cx, %3
	call sine
%endmacro

; Direct output: 8008 samples a second by the timer's interrupt, sixteen a period.
play_direct:
	mov byte [wide], 0
	wave 0, 1, 16, 1
	dsp 0xd1
	cli
	push es
	push 0
	pop es
	mov eax, [es:8 * 4]
	mov [old], eax
	mov word [es:8 * 4], on_timer
	mov [es:8 * 4 + 2], cs
	pop es
	mov word [index], 0
	mov al, 0x34
	out 0x43, al
	mov al, 149
	out 0x40, al
	mov al, 0
	out 0x40, al
	sti
.wait:	cmp word [index], 8008
	jb .wait
	cli
	mov al, 0x34
	out 0x43, al
	mov al, 0
	out 0x40, al
	out 0x40, al
	push es
	push 0
	pop es
	mov eax, [old]
	mov [es:8 * 4], eax
	pop es
	sti
	dsp 0x10, 128
	dsp 0xd3
	jmp rest

on_timer:
	pusha
	push ds
	push es
	push cs
	pop ds
	push BUFFER
	pop es
	dsp 0x10
	mov bx, [index]
	inc word [index]
	and bx, 15
	mov al, [es:bx]
	call dsp_write
	mov al, 0x20
	out 0x20, al
	pop es
	pop ds
	popa
	iret

; Wait until so many interrupts have come.
until:	; bx
	mov cx, 60		; ticks
	push es
	push 0x40
	pop es
.tick:	mov ax, [es:0x6c]
.same:	cmp [irqs], bx
	jae .came
	cmp ax, [es:0x6c]
	je .same
	loop .tick
	mov dx, silent
	jmp fail
.came:	pop es
	ret

%macro blocks 1
	mov bx, %1
	call until
%endmacro

; Six blocks of 0.18 s, each started by the interrupt of the one before.
play_single:
	mov byte [wide], 0
	wave 0, 1, 2000, 108
	mov al, [dma8]
	mov [channel], al
	mov byte [mode], 0x48
	mov word [irqs], 0
	dsp 0xd1, 0x40, 256 - 90
	mov word [on_irq], single_block
	call single_block.start
	blocks 6
	mov word [on_irq], 0
	dsp 0xd3
	jmp rest

single_block:
	cmp word [irqs], 6
	jae .done
.start:	mov cx, 2000
	call program
	dsp 0x14, 2000 - 1 & 0xff, 2000 - 1 >> 8
.done:	ret

; A buffer of 0.18 s in two halves, until eleven of them were played.
play_auto:
	wave 0, 1, 4000, 126
	mov byte [mode], 0x58
	mov cx, 4000
	call program
	mov word [irqs], 0
	dsp 0x40, 256 - 45, 0x48, 2000 - 1 & 0xff, 2000 - 1 >> 8, 0x1c
	blocks 11
	dsp 0xda
	blocks 12
	call release
	jmp rest

; The Sound Blaster Pro's way to stereo: 20 kHz a side, high speed, ended by a reset.
play_high:
	wave 0, 2, 4000, 180
	wave 1, 2, 4000, 60
	mov cx, 8000
	call program
	mov word [irqs], 0
	mov dx, BASE + 4
	mov ax, 0x220e
	out dx, ax
	dsp 0x40, 256 - 25, 0x48, 8000 - 1 & 0xff, 8000 - 1 >> 8, 0x90
	blocks 5
	call dsp_reset
	call release
	mov dx, BASE + 4
	mov ax, 0x000e
	out dx, ax
	jmp rest

; 44.1 kHz, 16 bits: 0.2 s in two halves.
play_wide:
	mov byte [wide], 1
	wave 0, 4, 8820, 160
	wave 2, 4, 8820, 200
	mov al, [dma16]
	mov [channel], al
	mov cx, 17640
	call program
	mov word [irqs], 0
	dsp 0x41, 44100 >> 8, 44100 & 0xff, 0xb6, 0x30, 8820 - 1 & 0xff, 8820 - 1 >> 8
	blocks 10
	dsp 0xd9
	blocks 11
	call release
	jmp rest

no_adlib: db "no AdLib", 13, 10, "$"
opl2_text: db "AdLib: OPL2", 13, 10, "$"
opl3_text: db "AdLib: OPL3", 13, 10, "$"
no_dsp:	db "no Sound Blaster at 220h", 13, 10, "$"
dsp_text: db "DSP "
version: db "0.00 at 220h", 13, 10, "$"
stuck:	db "the DSP takes no bytes", 13, 10, "$"
mute:	db "the DSP does not answer", 13, 10, "$"
no_irq:	db "no interrupt", 13, 10, "$"
irq_text: db "IRQ "
irq_number: db "00", 13, 10, "$"
no_dma:	db "no DMA", 13, 10, "$"
dma_text: db "DMA "
dma_number: db "0 and "
dma16_number: db "0", 13, 10, "$"
silent:	db "a block did not end", 13, 10, "$"
all_done: db "done", 13, 10, "$"

top8:	dw 100
top16:	dw 20000
opl3:	db 0
hooked:	db 0
line:	db 0
sources: db 0
channel: db 0
mode:	db 0
dma8:	db 0
dma16:	db 0
wide:	db 0
masks:	db 0, 0
irqs:	dw 0
on_irq:	dw 0
cycles:	dw 0
samples: dw 0
index:	dw 0
sample:	dw 0
old:	dd 0, 0, 0, 0
