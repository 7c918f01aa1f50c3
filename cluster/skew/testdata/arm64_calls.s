// Calls the code in the file blob, beginning at GETTIMEOFDAY for that function, and writes 56 bytes for each call: the clock by system call, the
// falsified one, what was returned, the clock by system call.
        .globl _start
_start:
        adr     x19, ids
        adr     x20, ids_end
        adr     x21, buf
each:
        ldr     w22, [x19], #4
        mov     w0, w22
        mov     x1, x21
        bl      true_clock
        mov     w0, w22
        add     x1, x21, #16
        bl      blob
        str     x0, [x21, #32]
        mov     w0, w22
        add     x1, x21, #40
        bl      true_clock
        bl      tell
        cmp     x19, x20
        b.ne    each

        mov     w0, #0
        mov     x1, x21
        bl      true_clock
        add     x0, x21, #16
        adr     x1, zone
        bl      blob + GETTIMEOFDAY
        str     x0, [x21, #32]
        mov     w0, #0
        add     x1, x21, #40
        bl      true_clock
        bl      tell

        mov     x0, #0                  // neither time nor zone
        mov     x1, #0
        bl      blob + GETTIMEOFDAY
        str     x0, [x21, #32]
        bl      tell

        mov     x0, #0
        mov     x8, #93
        svc     #0
true_clock:
        mov     x8, #113
        svc     #0
        ret
tell:
        mov     x0, #1
        mov     x1, x21
        mov     x2, #56
        mov     x8, #64
        svc     #0
        ret
        .p2align 3
ids:    .word   0, 1, 4, 5, 6, 7, 2, 77, -6
ids_end:
        .p2align 4
buf:    .skip   64
zone:   .skip   16
        .p2align 6
blob:   .incbin "blob"
