; SPDX-License-Identifier: MIT
;
; A DOS program: 320x240 in 256 colours, unchained ("mode X"), two pages. Page 0 is filled with one colour and shown;
; page 1 gets pixel (x, y) = x xor y, plane by plane, and is flipped to. Then it waits for a key.
  org 100h
  cpu 386

PAGE1 equ 320 * 240 / 4

start:
  mov ax, 13h
  int 10h
  mov dx, 3c4h
  mov ax, 0604h            ; no chain-4, no odd/even
  out dx, ax
  mov ax, 0100h            ; reset the sequencer while the clock changes
  out dx, ax
  mov dx, 3c2h
  mov al, 0e3h             ; 25 MHz, both sync polarities negative: 480 lines
  out dx, al
  mov dx, 3c4h
  mov ax, 0300h
  out dx, ax
  mov dx, 3d4h
  mov al, 11h              ; unlock CRTC 0 to 7
  out dx, al
  inc dx
  in al, dx
  and al, 7fh
  out dx, al
  dec dx
  mov si, crtc
  mov cx, (crtc_end - crtc) / 2
.crtc:
  lodsw
  out dx, ax
  loop .crtc
  call palette
  mov ax, 0a000h
  mov es, ax
  mov dx, 3c4h
  mov ax, 0f02h            ; all planes
  out dx, ax
  xor di, di
  mov cx, PAGE1
  mov al, 55h
  rep stosb
  mov byte [plane], 0
.plane:
  mov cl, [plane]
  mov ah, 1
  shl ah, cl
  mov al, 2
  mov dx, 3c4h
  out dx, ax
  mov di, PAGE1
  xor bx, bx               ; y
.line:
  mov dl, [plane]          ; x
  mov cx, 80
.pixel:
  mov al, dl
  xor al, bl
  stosb
  add dl, 4
  loop .pixel
  inc bx
  cmp bx, 240
  jne .line
  inc byte [plane]
  cmp byte [plane], 4
  jne .plane
  mov dx, 3d4h             ; flip
  mov ax, (PAGE1 & 0ff00h) | 0ch
  out dx, ax
  mov ax, (PAGE1 & 0ffh) << 8 | 0dh
  out dx, ax
  jmp leave_by_key

; Michael Abrash's timings for 240 doubled lines are common knowledge: total 525, display 480, byte mode.
crtc:
  dw 0d06h, 3e07h, 4109h, 0ea10h, 0ac11h, 0df12h, 0014h, 0e715h, 0616h, 0e317h
crtc_end:
plane: db 0

%include "palette.inc"
