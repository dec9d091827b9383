/* SPDX-License-Identifier: MIT */
/*
 * Real mode: the way in and out of it, and 16-bit kernels, which real.c copies to 10000h (segment 1000h). A kernel is
 * called near, with its argument in AX, DS = SS = 1000h, ES = 2000h, and returns AX. Interrupts are off.
 */
        .set    SEGMENT, 0x1000
        .set    LINEAR, 0x10000
        .set    CODE16, 0x30            /* descriptors of the same 64 KB (guest.c) */
        .set    DATA16, 0x38

        /* real_call(offset, argument) */
        .text
        .globl  real_call
real_call:
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        pushfl
        cli
        movl    24(%esp), %ebx
        movl    28(%esp), %eax
        subl    $8, %esp
        sidt    (%esp)
        movl    %esp, LINEAR + saved_esp - real_code
        movl    %cr0, %edx
        movl    %edx, LINEAR + saved_cr0 - real_code
        movl    $back, LINEAR + return_to - real_code
        ljmp    $CODE16, $enter - real_code
back:   movw    $0x10, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movw    %cx, %ss
        movw    %cx, %fs
        movw    %cx, %gs
        movl    LINEAR + saved_esp - real_code, %esp
        lidt    (%esp)
        addl    $8, %esp
        movzwl  %ax, %eax
        popfl
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        ret

        .section .real, "ax"
        .globl  real_code, real_code_end
        .code16
real_code:
enter:  movw    $DATA16, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movw    %cx, %ss
        movw    %cx, %fs
        movw    %cx, %gs
        lidtl   real_idt - real_code
        movl    %cr0, %ecx
        andl    $0x7ffffffe, %ecx
        movl    %ecx, %cr0
        ljmp    $SEGMENT, $1f - real_code
1:      movw    $SEGMENT, %cx
        movw    %cx, %ds
        movw    %cx, %ss
        movl    $0xfff0, %esp
        movw    $0x2000, %cx
        movw    %cx, %es
        xorw    %cx, %cx
        movw    %cx, %fs
        movw    %cx, %gs
        cld
        call    *%bx
        cli
        movw    $SEGMENT, %cx
        movw    %cx, %ds
        movl    saved_cr0 - real_code, %ecx
        movl    %ecx, %cr0
        ljmpl   *%cs:return_to - real_code

        .balign 4
saved_esp:
        .long   0
saved_cr0:
        .long   0
return_to:
        .long   0
        .word   0x08
real_idt:
        .word   0x3ff
        .long   0

        /* The video mode in AX. */
        .globl  real_set_mode, real_byte_writes, real_stosw, real_mode_x, real_planar
real_set_mode:
        int     $0x10
        ret

        /* Mode 13h: 64,000 bytes, one by one. */
real_byte_writes:
        movw    $0xa000, %dx
        movw    %dx, %es
        xorw    %di, %di
        movw    $64000, %cx
1:      movb    %al, %es:(%di)
        addb    $7, %al
        incw    %di
        decw    %cx
        jnz     1b
        ret

real_stosw:
        movw    $0xa000, %dx
        movw    %dx, %es
        xorw    %di, %di
        movw    $32000, %cx
        rep stosw
        ret

        /* Unchained: four planes of 16,000 bytes. */
real_mode_x:
        movw    $0xa000, %dx
        movw    %dx, %es
        movw    %ax, %bx
        movw    $0x3c4, %dx
        movw    $0x0604, %ax
        outw    %ax, %dx
        movw    $0x0102, %ax
2:      outw    %ax, %dx
        xorw    %di, %di
        movw    $16000, %cx
1:      movb    %bl, %es:(%di)
        addb    $7, %bl
        incw    %di
        decw    %cx
        jnz     1b
        shlb    $1, %ah
        cmpb    $16, %ah
        jb      2b
        movw    %bx, %ax
        ret

        /* Mode 12h: each of 38,400 bytes read into the latches and written, under a bit mask. */
real_planar:
        movw    $0xa000, %dx
        movw    %dx, %es
        movw    %ax, %bx
        movw    $0x3ce, %dx
        movw    $0x5508, %ax
        outw    %ax, %dx
        xorw    %di, %di
        movw    $38400, %cx
1:      movb    %es:(%di), %al
        movb    %bl, %es:(%di)
        incb    %bl
        incw    %di
        decw    %cx
        jnz     1b
        movw    $0xff08, %ax
        outw    %ax, %dx
        movw    %bx, %ax
        ret

        /* A sieve of 8,190 odd numbers in ES, with a procedure for each number: how many primes. */
        .globl  real_sieve, real_sieve_mixed
        .balign 4096
real_sieve_mixed:
        movw    %sp, %bp
        movw    $mixed_top - real_code, %sp
        pushw   %bp
        call    real_sieve
        popw    %sp
        ret
real_sieve:
        xorw    %di, %di
        movw    $4095, %cx
        movw    $0x0101, %ax
        rep stosw
        xorw    %ax, %ax
        xorw    %si, %si
1:      pushw   %si
        call    sieve_step
        incw    %si
        cmpw    $8190, %si
        jb      1b
        ret
sieve_step:
        pushw   %bp
        movw    %sp, %bp
        movw    4(%bp), %bx
        cmpb    $0, %es:(%bx)
        je      3f
        incw    %ax
        leaw    3(%ebx,%ebx), %dx
        addw    %dx, %bx
        jmp     2f
1:      movb    $0, %es:(%bx)
        addw    %dx, %bx
2:      cmpw    $8190, %bx
        jb      1b
3:      popw    %bp
        ret     $2
        .balign 16
        .skip   256
mixed_top:
        .balign 4096
real_code_end:
        .section .note.GNU-stack, "", @progbits
