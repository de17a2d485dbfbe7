// Products of a warpgroup on the tensor cores (wgmma, sm_90a): D [64, N] += A [64, 16] B [16, N],
// bf16 with f32 accumulators, asynchronous. B, and A where it is not in registers, lies in shared
// memory as the bulk copies leave it: rows of 64 elements, 128 bytes, swizzled.
//
// Thread t of the warpgroup holds of D the rows 16 (t / 32) + t % 32 / 4 and 8 further, of each eight
// columns the pair 2 (t % 4): d[4 j], d[4 j + 1] at columns 8 j + .. of the first row, d[4 j + 2],
// d[4 j + 3] of the second. A in registers has the same places, packed in pairs (`pack_operand`).
#pragma once

#include "hopper.cuh"

// How B lies in shared memory: rows are columns of the product with K within the row, or rows are K.
constexpr int K_MAJOR = 0, N_MAJOR = 1;

// Rows of 64 elements in groups of eight, one after another. For K_MAJOR operands rows are rows of A
// or columns of B. For N_MAJOR ones rows are K, and `next` is the distance in bytes to the next 64 columns.
INLINE u64 matrix_descriptor(u32 address, u32 next) {
    constexpr u64 SWIZZLE_128 = u64(1) << 62, EIGHT_ROWS = u64(1024 >> 4) << 32;
    return SWIZZLE_128 | EIGHT_ROWS | u64((next >> 4) & 0x3fff) << 16 | ((address >> 4) & 0x3fff);
}

INLINE u64 advance_descriptor(u64 descriptor, u32 bytes) { return descriptor + (bytes >> 4); }

template <int N> struct Wgmma;

#ifdef __CUDACC_RTC__

// Before the first product, and after registers of operands were written otherwise.
INLINE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes the group of the products issued since the last one.
INLINE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most PENDING groups are under way.
template <int PENDING> INLINE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Keeps the compiler from moving across this point (a wait) what gives these registers their values
// or uses them.
template <int COUNT> INLINE void pin(float (&registers)[COUNT]) {
    UNROLL for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

#define R0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define R1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define R2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define R3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define R4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define R5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define R6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define R7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define R8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define R9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define R10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define R11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define R12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define R13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define R14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define R15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define D8(i)                                                                                          \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),        \
        "+f"(d[i + 6]), "+f"(d[i + 7])

#define TEXT_64 R0 ", " R1 ", " R2 ", " R3
#define TEXT_80 TEXT_64 ", " R4
#define TEXT_96 TEXT_80 ", " R5
#define TEXT_112 TEXT_96 ", " R6
#define TEXT_128 TEXT_112 ", " R7
#define TEXT_192 TEXT_128 ", " R8 ", " R9 ", " R10 ", " R11
#define TEXT_256 TEXT_192 ", " R12 ", " R13 ", " R14 ", " R15
#define LIST_64 D8(0), D8(8), D8(16), D8(24)
#define LIST_80 LIST_64, D8(32)
#define LIST_96 LIST_80, D8(40)
#define LIST_112 LIST_96, D8(48)
#define LIST_128 LIST_112, D8(56)
#define LIST_192 LIST_128, D8(64), D8(72), D8(80), D8(88)
#define LIST_256 LIST_192, D8(96), D8(104), D8(112), D8(120)

// P0.. are the numbers of the operands after the N / 2 accumulators.
#define WGMMA(N, P0, P1, P2, P3, P4, P5, P6)                                                             \
    template <> struct Wgmma<N> {                                                                        \
        template <int B_MAJOR>                                                                           \
        static INLINE void shared(float (&d)[N / 2], u64 a, u64 b, int accumulate) {                     \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P2 ", 0;\n"                               \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" TEXT_##N "}, "     \
                         "%" #P0 ", %" #P1 ", p, 1, 1, 0, %" #P3 ";\n}"                                  \
                         : LIST_##N                                                                      \
                         : "l"(a), "l"(b), "r"(accumulate), "n"(B_MAJOR));                               \
        }                                                                                                \
        template <int B_MAJOR>                                                                           \
        static INLINE void registers(float (&d)[N / 2], const u32 *a, u64 b, int accumulate) {           \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P5 ", 0;\n"                               \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" TEXT_##N "}, "     \
                         "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4 ", p, 1, 1, %" #P6 ";\n}"     \
                         : LIST_##N                                                                      \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),          \
                           "n"(B_MAJOR));                                                                \
        }                                                                                                \
    };

WGMMA(64, 32, 33, 34, 35, 36, 37, 38)
WGMMA(80, 40, 41, 42, 43, 44, 45, 46)
WGMMA(96, 48, 49, 50, 51, 52, 53, 54)
WGMMA(112, 56, 57, 58, 59, 60, 61, 62)
WGMMA(128, 64, 65, 66, 67, 68, 69, 70)
WGMMA(192, 96, 97, 98, 99, 100, 101, 102)
WGMMA(256, 128, 129, 130, 131, 132, 133, 134)

#endif

// `rows` of 64 elements are the height of the tiles in shared memory: a tile of more columns is a
// sequence of chunks of 64 columns, each `rows` high.

// D [64, N] = A B^T over K = DEPTH: A is 64 rows from `a` of a tile A_ROWS high, B a tile of N rows.
template <int N, int DEPTH, int A_ROWS> INLINE void multiply_transposed(float (&d)[N / 2], u32 a, u32 b) {
    u64 a_start = matrix_descriptor(a, 16), b_start = matrix_descriptor(b, 16);
    UNROLL for (int k = 0; k < DEPTH / 16; ++k) {
        int chunk = k / 4, within = k % 4 * 32;
        Wgmma<N>::template shared<K_MAJOR>(d, advance_descriptor(a_start, chunk * A_ROWS * 128 + within),
                                           advance_descriptor(b_start, chunk * N * 128 + within), k > 0);
    }
}

// D [64, N] += A B: A [64, DEPTH] in registers, B a tile of DEPTH rows and N columns.
template <int N, int DEPTH> INLINE void multiply_add(float (&d)[N / 2], const u32 (&a)[DEPTH / 4], u32 b) {
    u64 b_start = matrix_descriptor(b, DEPTH * 128);
    UNROLL for (int k = 0; k < DEPTH / 16; ++k)
        Wgmma<N>::template registers<N_MAJOR>(d, &a[4 * k], advance_descriptor(b_start, k * 2048), 1);
}

// Accumulators [64, N] as the A operand of a further product with K = N.
template <int N> INLINE void pack_operand(u32 (&a)[N / 4], const float (&d)[N / 2]) {
    UNROLL for (int i = 0; i < N / 4; ++i) a[i] = pack_bf16(d[2 * i], d[2 * i + 1]);
}
