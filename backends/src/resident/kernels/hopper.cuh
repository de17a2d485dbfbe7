// What a Hopper card (sm_90a) adds to the language, one function an instruction: barriers in shared
// memory, bulk copies of boxes of a tensor (TMA), named barriers and registers moved between
// warpgroups. The products of warpgroups are in wgmma.cuh. Without NVRTC the functions of the same
// names in ../emulator/hopper.h stand in for them.
#pragma once

#include "common.cuh"

// How a tensor of up to four dimensions lies in memory and which box of it one copy moves. On the
// card it is made by the driver (`cuTensorMapEncodeTiled`) and opaque; for the emulation its bytes
// hold, little-endian and in this order (`emulator::Map`): u32 magic (0x70616d74, "tmap"), u32 bytes
// of an element, u64 host address, u32 dims[4], u64 strides[3] (in bytes, of dims 1, 2 and 3), u32
// box[4]. Here all tensors are bf16, boxes are 64 elements (128 bytes) wide and lie in shared memory
// with the 128-byte swizzle; elements outside of the tensor are read as zero.
struct alignas(64) TensorMap {
    u8 bytes[128];
};

// An mbarrier: a phase ends when `count` threads have arrived and all announced bytes have come.
struct alignas(8) Barrier {
    u64 state;
};

#ifdef __CUDACC_RTC__

INLINE u32 shared_address(const void *pointer) { return u32(__cvta_generic_to_shared(pointer)); }

INLINE void barrier_init(Barrier &barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(count)
                 : "memory");
}

// Makes initialised barriers known to the copy engine; a barrier of the block has to follow.
INLINE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

INLINE void barrier_arrive(Barrier &barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

// Arrives, and announces bytes that copies will bring in this phase.
INLINE void barrier_arrive_expect(Barrier &barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
                 : "memory");
}

INLINE bool barrier_try(Barrier &barrier, int parity) {
    u32 done;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(&barrier)), "r"(parity)
                 : "memory");
    return done != 0;
}

// Waits until the phase of this parity is over; a fresh barrier counts as past parity 1.
INLINE void barrier_wait(Barrier &barrier, int parity) {
    while (!barrier_try(barrier, parity)) {
    }
}

// Copies the box at these coordinates (innermost first) to shared memory; its bytes arrive at `barrier`.
INLINE void copy_box(void *to, const TensorMap &map, Barrier &barrier, int x0, int x1, int x2, int x3) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)), "l"(&map),
        "r"(shared_address(&barrier)), "r"(x0), "r"(x1), "r"(x2), "r"(x3)
        : "memory");
}

INLINE void prefetch_map(const TensorMap &map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }

// One thread of the warp, the same one each time.
INLINE bool elect_one() {
    u32 elected;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(elected));
    return elected != 0;
}

// Waits for `threads` threads in all, those that only arrive included.
INLINE void named_barrier_wait(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

INLINE void named_barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Sixteen bytes at once, which the compiler does not see by itself.
INLINE void store_global(void *to, const u32 (&x)[4]) {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
                 : "memory");
}

// Registers of a thread from here on, for all four warps of a warpgroup.
template <int REGISTERS> INLINE void grow_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS> INLINE void shrink_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

#else
#include "hopper.h"
#endif

template <class... MAPS> INLINE void prefetch_maps(const MAPS &...maps) { (prefetch_map(maps), ...); }

// Warp index, known to the compiler to be one for the whole warp.
INLINE int warp_index() { return __shfl_sync(0xffffffffu, int(threadIdx.x) / 32, 0); }
