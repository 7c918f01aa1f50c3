# The replacement for x86-64. No stack is used but for 16 bytes of the red zone in time: Go calls this on small stacks.
# A system call changes rax, rcx and r11 only.
.intel_syntax noprefix
.text
clock_gettime:                      # edi: clock, rsi: timespec
        movzx   r10d, byte ptr [rip+turn]
        mov     eax, 228
        syscall
        test    rax, rax
        jnz     out                 # the error is the caller's
        cmp     edi, 7              # unsigned: the clocks of processes and devices are negative
        ja      out
        lea     r9, [rip+classes]
        mov     r8d, edi
        movzx   r8d, byte ptr [r9+r8]
        cmp     r8d, 255
        je      zero
        imul    rax, [rsi], 1000000000
        add     rax, [rsi+8]
        xor     r11d, r11d
falsify:                            # rax: true reading in ns, r10: turn before it, r8: line, rsi: where to, r11: 0 timespec, 1 timeval, 2 seconds
        lea     r9, [rip+sets]
        add     r9, r8
        mov     ecx, r10d
        and     ecx, 3
        shl     ecx, 7
        cmp     rax, [r9+rcx]       # until this set holds the one before it does
        jge     chosen
        add     ecx, 384
        and     ecx, 511
chosen:
        sub     rax, [r9+rcx]       # since
        mov     r8, [r9+rcx+8]      # reads
        mov     rdx, [r9+rcx+16]    # rate
        cmp     r10b, byte ptr [rip+turn]
        jne     again               # what was read may be older than both sets
        imul    rdx
        shrd    rax, rdx, 32
        add     rax, r8
        cqo
        mov     ecx, 1000000000
        idiv    rcx
        test    rdx, rdx
        jns     positive
        add     rdx, rcx            # before 1970 too nanoseconds count forward
        dec     rax
positive:
        cmp     r11d, 1
        je      timeval
        ja      seconds
        mov     [rsi], rax
        mov     [rsi+8], rdx
zero:
        xor     eax, eax
out:
        ret
timeval:
        mov     [rsi], rax
        mov     eax, edx
        xor     edx, edx
        mov     ecx, 1000
        div     ecx
        mov     [rsi+8], rax
        xor     eax, eax
        ret
seconds:
        test    rsi, rsi
        jz      out
        mov     [rsi], rax
        ret
again:                              # with what the call was given: edi or rdi, and rsi unless it has been served
        cmp     r11d, 1
        jb      clock_gettime
        ja      time
        xor     esi, esi
gettimeofday:                       # rdi: timeval or 0, rsi: time zone or 0
        movzx   r10d, byte ptr [rip+turn]
        mov     eax, 96
        syscall
        test    rax, rax
        jnz     out
        test    rdi, rdi
        jz      out
        mov     rsi, rdi
        imul    rax, [rsi], 1000000000
        imul    rdx, [rsi+8], 1000
        add     rax, rdx
        xor     r8d, r8d
        mov     r11d, 1
        jmp     falsify
time:                               # rdi: seconds or 0
        movzx   r10d, byte ptr [rip+turn]
        mov     rdx, rdi
        xor     edi, edi
        lea     rsi, [rsp-16]
        mov     eax, 228
        syscall
        test    rax, rax
        jnz     out
        imul    rax, [rsi], 1000000000
        add     rax, [rsi+8]
        mov     rdi, rdx
        mov     rsi, rdx
        xor     r8d, r8d
        mov     r11d, 2
        jmp     falsify
        .p2align 6, 0xcc
magic:  .skip   8
classes: .skip  8
turn:   .skip   16
sets:   .skip   512
