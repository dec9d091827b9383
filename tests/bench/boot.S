/* SPDX-License-Identifier: MIT */
/*
 * The benchmark guest's entry and everything that C cannot write: interrupt handlers, the way to ring 3 and back, task
 * switching. No handler touches floating point.
 */
        .section .multiboot, "a"
        .balign 4
        .long   0x1badb002, 0, -0x1badb002

        .text
        .globl  start
start:  cld
        movl    $stack_top, %esp
        pushl   $0
        popfl
        subl    $12, %esp               /* SSE code wants the stack aligned to 16 bytes */
        pushl   %ebx
        call    guest_main
1:      hlt
        jmp     1b

        /* The timer: count, reload CR3 as an OS that switches tasks does. */
        .globl  interrupt_timer, interrupt_spurious
interrupt_timer:
        pushl   %eax
        incl    %ss:ticks
        movl    %cr3, %eax
        movl    %eax, %cr3
        movb    $0x20, %al
        outb    %al, $0x20
        popl    %eax
interrupt_spurious:
        iret

        .globl  interrupt_syscall
interrupt_syscall:
        incl    %eax
        iret

        /* enter_user(function, argument): call function in ring 3. */
        .globl  enter_user, interrupt_leave
enter_user:
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    20(%esp), %eax
        movl    24(%esp), %edx
        movl    %esp, saved_esp
        movl    $user_stack_top - 16, %ecx
        movl    $user_return, (%ecx)
        movl    %edx, 4(%ecx)
        movw    $0x23, %bx
        movw    %bx, %ds
        movw    %bx, %es
        pushl   $0x23
        pushl   %ecx
        pushl   $0x202
        pushl   $0x1b
        pushl   %eax
        iret
user_return:
        int     $0x81
interrupt_leave:
        movw    $0x10, %bx
        movw    %bx, %ds
        movw    %bx, %es
        movl    saved_esp, %esp
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        sti
        ret

        /* ECX and EDX hold the user's stack and return address. */
        .globl  sysenter_entry
sysenter_entry:
        incl    %eax
        sti
        sysexit

        /* switch_task(save_esp, load_esp, load_cr3): callee-saved registers, address space, lazy-FPU flag. */
        .globl  switch_task
switch_task:
        movl    4(%esp), %eax
        movl    8(%esp), %edx
        movl    12(%esp), %ecx
        pushfl
        cli
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    %esp, (%eax)
        movl    %edx, %esp
        movl    %ecx, %cr3
        movl    %cr0, %eax
        orl     $8, %eax
        movl    %eax, %cr0
        clts
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        popfl
        ret

        /* Page faults that a kernel asks for: map the page one to one, or make it writable. */
        .globl  fault_map, fault_writable, fault_ud2
fault_map:
        pushl   %eax
        pushl   %edx
        movl    %cr2, %eax
        movl    %eax, %edx
        shrl    $12, %edx
        andl    $0xfffff000, %eax
        orl     $7, %eax
        shll    $2, %edx
        addl    page_tables, %edx
        movl    %eax, (%edx)
        popl    %edx
        popl    %eax
        addl    $4, %esp
        iret
fault_writable:
        pushl   %eax
        pushl   %edx
        movl    %cr2, %eax
        movl    %eax, %edx
        shrl    $12, %edx
        shll    $2, %edx
        addl    page_tables, %edx
        orl     $2, (%edx)
        invlpg  (%eax)
        popl    %edx
        popl    %eax
        addl    $4, %esp
        iret
fault_ud2:
        addl    $2, (%esp)
        iret

        .globl  far_calls, irets
far_calls:
        movl    4(%esp), %ecx
        xorl    %eax, %eax
1:      lcall   $0x08, $far_target
        decl    %ecx
        jnz     1b
        ret
far_target:
        incl    %eax
        lret

irets:  movl    4(%esp), %ecx
        xorl    %eax, %eax
1:      pushfl
        pushl   $0x08
        pushl   $2f
        iret
2:      incl    %eax
        decl    %ecx
        jnz     1b
        ret

        /* The other exceptions are errors: print vector, error code, EIP, CR2. */
        .macro  stub n, code
stub_\n:
        .if     \code == 0
        pushl   $0
        .endif
        pushl   $\n
        jmp     exception
        .endm
        .altmacro
        .set    n, 0
        .rept   32
        .if     n == 8 || (n >= 10 && n <= 14) || n == 17
        stub    %n, 1
        .else
        stub    %n, 0
        .endif
        .set    n, n + 1
        .endr
exception:
        popl    %eax
        popl    %edx
        popl    %ecx
        movl    %cr2, %ebx
        cld
        pushl   %ebx
        pushl   %ecx
        pushl   %edx
        pushl   %eax
        call    exception_report

        .section .rodata
        .balign 4
        .globl  exception_stubs
exception_stubs:
        .macro  entry n
        .long   stub_\n
        .endm
        .set    n, 0
        .rept   32
        entry   %n
        .set    n, n + 1
        .endr

        .bss
        .balign 4096
        .globl  page_directory, other_directory, kernel_stack_top, ticks
page_directory:
        .skip   4096
other_directory:
        .skip   4096
        .skip   16384
stack_top:
        .skip   8192
kernel_stack_top:
        .skip   8192
user_stack_top:
ticks:  .skip   4
saved_esp:
        .skip   4
        .section .note.GNU-stack, "", @progbits
