// What every kernel of this folder starts from. Nothing of the CUDA headers is included: NVRTC
// compiles these files as they are, with no toolkit on the machine. Without NVRTC the same files
// are C++ for the host, run by ../emulator/emulator.h, which is how they are tested without a card.
//
// The size of a problem comes as kernel arguments, what changes the code (ELEMENT, HEAD_DIM) as
// macros given on the compiler's command line.
#pragma once

#ifdef __CUDACC_RTC__
#define KERNEL extern "C" __global__
#define EXPORT(name)
#define INLINE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define UNROLL4 _Pragma("unroll 4")
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#else
#include "emulator.h"
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifdef __CUDACC_RTC__
// Dynamic shared memory, from a multiple of 1024.
INLINE u8 *dynamic_shared() {
    extern __shared__ __align__(1024) u8 memory[];
    return memory;
}
#endif

// bfloat16 by its bits.
struct bf16 {
    u16 bits;
};

INLINE float to_float(float x) { return x; }

INLINE float to_float(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }

// Rounds to nearest, ties to even; a NaN stays one.
INLINE bf16 to_bf16(float x) {
#ifdef __CUDACC_RTC__
    u16 rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
    return bf16{rounded};
#else
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16{u16((bits >> 16) | 0x40u)};
    return bf16{u16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
}

template <class T> INLINE T from_float(float x);
template <> INLINE float from_float<float>(float x) { return x; }
template <> INLINE bf16 from_float<bf16>(float x) { return to_bf16(x); }

// What is left of `x` when it is put into a T.
template <class T> INLINE float rounded(float x) { return to_float(from_float<T>(x)); }

// Two of them in one register, the first in the low half.
INLINE u32 pack_bf16(float low, float high) {
#ifdef __CUDACC_RTC__
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return u32(to_bf16(low).bits) | u32(to_bf16(high).bits) << 16;
#endif
}

// 2^x; -inf gives 0.
INLINE float exp2_fast(float x) {
#ifdef __CUDACC_RTC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

INLINE float exp_fast(float x) { return exp2_fast(x * 1.4426950408889634f); }
