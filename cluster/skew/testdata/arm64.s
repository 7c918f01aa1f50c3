// The replacement for arm64. No stack is used. A system call changes x0 only.
        .text
clock_gettime:                          // w0: clock, x1: timespec
        mov     w9, w0
        mov     x8, #113
        svc     #0
        cbnz    x0, out                 // the error is the caller's
        cmp     w9, #7                  // unsigned: the clocks of processes and devices are negative
        b.hi    out
        adr     x10, classes
        ldrb    w9, [x10, x9]
        cmp     w9, #255
        b.eq    out
        ldp     x11, x12, [x1]
        mov     x14, #0                 // timespec
falsify:                                // x11: seconds, x12: ns, x9: line, x1: where to, x14: 0 timespec, 1 timeval
        mov     x13, #0xca00
        movk    x13, #0x3b9a, lsl #16
        madd    x11, x11, x13, x12
        adr     x10, sets
        add     x10, x10, x9
        adr     x16, turn
again:
        ldarb   w17, [x16]
        and     x15, x17, #3
        lsl     x15, x15, #7
        ldr     x2, [x10, x15]
        cmp     x11, x2                 // until this set holds the one before it does
        b.ge    chosen
        add     x15, x15, #384
        and     x15, x15, #511
chosen:
        add     x15, x10, x15
        ldp     x2, x3, [x15]           // since, reads
        ldr     x4, [x15, #16]          // rate
        dmb     ishld
        ldrb    w5, [x16]
        cmp     w5, w17
        b.ne    again                   // the set may have been rewritten meanwhile
        sub     x5, x11, x2
        smulh   x6, x5, x4
        mul     x5, x5, x4
        extr    x5, x6, x5, #32
        add     x5, x5, x3
        sdiv    x6, x5, x13
        msub    x7, x6, x13, x5
        tbz     x7, #63, positive
        add     x7, x7, x13             // before 1970 too nanoseconds count forward
        sub     x6, x6, #1
positive:
        cbz     x14, store
        mov     x8, #1000
        udiv    x7, x7, x8
store:
        stp     x6, x7, [x1]
        mov     x0, #0
out:
        ret
gettimeofday:                           // x0: timeval or 0, x1: time zone or 0
        mov     x2, x0
        mov     x8, #169
        svc     #0
        cbnz    x0, out
        cbz     x2, out
        mov     x1, x2
        ldp     x11, x12, [x1]
        mov     x8, #1000
        mul     x12, x12, x8
        mov     x9, #0
        mov     x14, #1
        b       falsify
        .p2align 6
magic:  .skip   8
classes: .skip  8
turn:   .skip   16
sets:   .skip   512
