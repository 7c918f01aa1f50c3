// The replacement for arm64. No stack is used. A system call changes x0 only.
        .text
clock_gettime:                          // w0: clock, x1: timespec
        mov     w2, w0
        adr     x16, turn
        ldarb   w17, [x16]
        mov     x8, #113
        svc     #0
        cbnz    x0, out                 // the error is the caller's
        cmp     w2, #7                  // unsigned: the clocks of processes and devices are negative
        b.hi    out
        adr     x10, classes
        ldrb    w9, [x10, x2]
        cmp     w9, #255
        b.eq    out
        ldp     x11, x12, [x1]
        mov     x14, #0                 // timespec
falsify:                                // x11: seconds, x12: ns, w17: turn before them, x9: line, x1: where to, x14: 0 timespec, 1 timeval
        mov     x13, #0xca00
        movk    x13, #0x3b9a, lsl #16
        madd    x11, x11, x13, x12
        adr     x10, sets
        add     x10, x10, x9
        and     x15, x17, #3
        lsl     x15, x15, #7
        ldr     x3, [x10, x15]
        cmp     x11, x3                 // until this set holds the one before it does
        b.ge    chosen
        add     x15, x15, #384
        and     x15, x15, #511
chosen:
        add     x15, x10, x15
        ldp     x3, x4, [x15]           // since, reads
        ldr     x5, [x15, #16]          // rate
        dmb     ishld
        ldrb    w6, [x16]
        cmp     w6, w17
        b.ne    again                   // what was read may be older than both sets
        sub     x3, x11, x3
        smulh   x6, x3, x5
        mul     x3, x3, x5
        extr    x3, x6, x3, #32
        add     x3, x3, x4
        sdiv    x6, x3, x13
        msub    x7, x6, x13, x3
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
again:                                  // with what the call was given, unless it has been served
        mov     x0, x2
        cbz     x14, clock_gettime
        mov     x1, #0
gettimeofday:                           // x0: timeval or 0, x1: time zone or 0
        mov     x2, x0
        adr     x16, turn
        ldarb   w17, [x16]
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
