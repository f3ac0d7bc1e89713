/* A guest of a few hundred bytes that does what kernels do early: long mode, cmpxchg16b, xsave and xrstor, and work.
 * It tells by the debug exit port: 0x2A when all went well. A fault ends in a reset, for there is no handler. */
    .section .note.Xen, "a", @note
    .long 4, 8, 18                     /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad start32

    .text
    .code32
    .globl start32
start32:
    mov $stack_top, %esp
    mov $pages, %edi                   /* identity map of the first GiB: one PML4, one PDPT with a 1 GiB page's worth */
    mov $(page_directory + 3), %eax
    mov %eax, pointers
    mov $(pointers + 3), %eax
    mov %eax, pages
    mov $page_directory, %edi
    mov $0x83, %eax
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    cmp $(page_directory + 4096), %edi
    jb 1b

    mov %cr4, %eax
    or $0x620, %eax                    /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $pages, %eax
    mov %eax, %cr3
    mov $0xC0000080, %ecx              /* EFER.LME */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    and $~4, %eax                      /* not EM */
    or $0x80000002, %eax               /* PG, MP */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $start64

    .code64
start64:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss

    mov $1, %eax
    cpuid
    bt $13, %ecx                       /* CMPXCHG16B */
    jnc failed
    push %rcx
    xor %eax, %eax
    xor %edx, %edx
    mov $1, %ebx
    mov $2, %ecx
    lock cmpxchg16b area(%rip)
    jnz failed
    cmpq $2, area + 8(%rip)
    jne failed
    pop %rcx

    bt $26, %ecx                       /* XSAVE */
    jnc 2f
    mov %cr4, %rax
    or $0x40000, %rax
    mov %rax, %cr4
    xor %ecx, %ecx
    mov $3, %eax                       /* x87 and SSE */
    xor %edx, %edx
    xsetbv
    mov $3, %eax
    xsave area(%rip)
    mov $3, %eax
    xrstor area(%rip)
    jmp 3f
2:  fxsave area(%rip)
    fxrstor area(%rip)

3:  mov $20000000, %ecx                /* some ms here; some minutes where every instruction is emulated by hand */
    xor %eax, %eax
4:  add %ecx, %eax
    rol $3, %eax
    dec %ecx
    jnz 4b

    mov $0x2A, %al
    jmp tell
failed:
    mov $0x11, %al
tell:
    mov $0xF4, %dx
    out %al, %dx
    cli
5:  hlt
    jmp 5b

    .balign 8
gdt:
    .quad 0
    .quad 0x00209A0000000000           /* 64-bit code */
    .quad 0x0000920000000000           /* data */
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    .bss
    .balign 4096
pages:          .skip 4096
pointers:       .skip 4096
page_directory: .skip 4096
area:           .skip 4096
stack:          .skip 4096
stack_top:
