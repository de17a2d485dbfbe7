// A card in host memory: runs the kernels of ../kernels as they are, one block after another, each
// thread of a block as a fiber. For tests only; it knows the rules of the language, not its speed.
//
// A fiber runs until it has to wait for others (`wait_until`), so between barriers threads run one
// after another. They do so in order, a warp as far as it gets before the next has its turn, or, where
// EMULATE_REVERSED is defined, in reverse order, each thread once in a turn. A missing barrier shows
// as a difference between the two. Shared memory begins as NaN. A block in which all
// threads wait for what never comes is a deadlock: it is told and the process ends.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "stack.h"

#define KERNEL extern "C"
#define INLINE inline
#define UNROLL
#define UNROLL4
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
};
// Vectors are laid over memory of any type.
struct alignas(8) [[gnu::may_alias]] float2 {
    float x, y;
};
struct alignas(16) [[gnu::may_alias]] float4 {
    float x, y, z, w;
};
struct alignas(8) [[gnu::may_alias]] uint2 {
    unsigned x, y;
};
struct alignas(16) [[gnu::may_alias]] uint4 {
    unsigned x, y, z, w;
};

namespace emulator {

struct Fiber {
    dim3 thread;
    int index;     // in the block
    Stack *stack;  // null before it begins
    bool done;
};

// Threads that meet: a barrier, or the lanes of a warp.
struct Meeting {
    int arrived = 0;
    unsigned generation = 0;
};

struct Warp {
    Meeting meeting;
    uint64_t slots[32];
};

// The block that is running.
struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<Meeting> warpgroups;  // of four warps
    Meeting barriers[16];
    std::vector<unsigned char> shared;
    // What the hardware does on its own time (bulk copies); run when every thread waits.
    std::vector<std::function<void()>> pending;
    std::function<void()> body;
    std::vector<std::unique_ptr<Stack>> stacks;
    std::vector<Stack *> idle;  // of `stacks`
    Context scheduler;
    size_t turn;  // counts the fibers in the order in which they run
    int live;
    bool progressed;
};

inline Block block;
inline Fiber *current;
inline dim3 thread_idx, block_idx, block_dim, grid_dim;

inline void yield() {
    go(current->stack->context, block.scheduler);
}

template <class P> void wait_until(P is_met) {
    while (!is_met()) yield();
    block.progressed = true;
}

// Returns once `count` threads have come.
inline void meet(Meeting &meeting, int count) {
    unsigned generation = meeting.generation;
    if (++meeting.arrived == count) {
        meeting.arrived = 0;
        ++meeting.generation;
        block.progressed = true;
        return;
    }
    wait_until([&] { return meeting.generation != generation; });
}

inline int lane() { return current->index % 32; }
inline Warp &warp() { return block.warps[current->index / 32]; }
inline int lanes_of_warp() {
    int first = current->index / 32 * 32;
    int left = int(block.fibers.size()) - first;
    return left < 32 ? left : 32;
}

inline Fiber &fiber_of_turn(size_t turn) {
#ifdef EMULATE_REVERSED
    return block.fibers[block.fibers.size() - 1 - turn];
#else
    return block.fibers[turn];
#endif
}

inline void become(Fiber &fiber) {
    current = &fiber;
    thread_idx = fiber.thread;
}

inline void run_current() {
    block.body();
    current->done = true;
    --block.live;
    block.progressed = true;
}

// Gives the stack of a thread that is done to the next in turn, if that has not begun.
inline bool pass_on_stack() {
    Stack *stack = current->stack;
    if (block.turn + 1 < block.fibers.size()) {
        Fiber &next = fiber_of_turn(block.turn + 1);
        if (!next.stack) {
            ++block.turn;
            become(next);
            next.stack = stack;
            return true;
        }
    }
    block.idle.push_back(stack);
    return false;
}

// What happens on a stack: as long as no thread waits, one after another runs on the same.
inline void run_fibers() {
    for (;;) {
        do run_current();
        while (pass_on_stack());
        yield();
    }
}

inline Stack *idle_stack() {
    if (block.idle.empty()) {
        block.stacks.push_back(std::make_unique<Stack>(run_fibers));
        block.idle.push_back(block.stacks.back().get());
    }
    Stack *stack = block.idle.back();
    block.idle.pop_back();
    return stack;
}

// Lets a thread run until it waits or is done.
inline void resume(Fiber &fiber) {
    if (!fiber.stack) fiber.stack = idle_stack();
    become(fiber);
    go(block.scheduler, fiber.stack->context);
}

// Lets the threads of a warp run until all of them wait for other warps.
inline void run_on(int warp) {
    bool any = block.progressed;
    do {
        block.progressed = false;
        int size = int(block.fibers.size()), end = (warp + 1) * 32 < size ? (warp + 1) * 32 : size;
        for (int i = warp * 32; i < end; ++i)
            if (!block.fibers[i].done) resume(block.fibers[i]);
        any |= block.progressed;
    } while (block.progressed);
    block.progressed = any;
}

[[noreturn]] inline void deadlock() {
    fprintf(stderr, "emulator: deadlock in block (%u, %u, %u); threads that still wait:", block_idx.x,
            block_idx.y, block_idx.z);
    for (Fiber &fiber : block.fibers)
        if (!fiber.done) fprintf(stderr, " %d", fiber.index);
    fprintf(stderr, "\n");
    abort();
}

inline void run_block() {
    for (Fiber &fiber : block.fibers) {
        fiber.stack = nullptr;
        fiber.done = false;
    }
    for (Warp &warp : block.warps) warp.meeting = {};
    for (Meeting &meeting : block.warpgroups) meeting = {};
    for (Meeting &meeting : block.barriers) meeting = {};
    memset(block.shared.data(), 0xff, block.shared.size());
    block.pending.clear();
    block.live = int(block.fibers.size());
    while (block.live > 0) {
        block.progressed = false;
        for (block.turn = 0; block.turn < block.fibers.size(); ++block.turn) {
            Fiber &fiber = fiber_of_turn(block.turn);
            if (!fiber.done) resume(fiber);
#ifndef EMULATE_REVERSED
            if (fiber.index % 32 == 31) run_on(fiber.index / 32);
#endif
        }
        if (!block.progressed) {
            if (block.pending.empty()) deadlock();
            auto first = std::move(block.pending.front());
            block.pending.erase(block.pending.begin());
            first();
        }
    }
}

// Runs all blocks; `shared` bytes are the dynamic shared memory.
inline void run(dim3 grid, dim3 threads, size_t shared, std::function<void()> body) {
    grid_dim = grid;
    block_dim = threads;
    size_t count = size_t(threads.x) * threads.y * threads.z;
    block.fibers.resize(count);
    for (size_t i = 0; i < count; ++i) {
        Fiber &fiber = block.fibers[i];
        fiber.index = int(i);
        fiber.thread = {unsigned(i % threads.x), unsigned(i / threads.x % threads.y),
                        unsigned(i / threads.x / threads.y)};
    }
    block.warps.resize((count + 31) / 32);
    block.warpgroups.resize((count + 127) / 128);
    block.shared.resize(shared + 1024);
    block.body = std::move(body);
    for (block_idx.z = 0; block_idx.z < grid.z; ++block_idx.z)
        for (block_idx.y = 0; block_idx.y < grid.y; ++block_idx.y)
            for (block_idx.x = 0; block_idx.x < grid.x; ++block_idx.x) run_block();
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<P> *>(args[I])...);
}

template <class... P>
void launch(dim3 grid, dim3 threads, size_t shared, void (*kernel)(P...), void **args) {
    run(grid, threads, shared, [=] { call(kernel, args, std::index_sequence_for<P...>()); });
}

}  // namespace emulator

#define threadIdx emulator::thread_idx
#define blockIdx emulator::block_idx
#define blockDim emulator::block_dim
#define gridDim emulator::grid_dim

// Makes a kernel callable from outside, with pointers to its arguments as `cuLaunchKernel` takes them.
#define EXPORT(name)                                                                                \
    extern "C" void launch_##name(dim3 grid, dim3 threads, size_t shared, void **args) {            \
        emulator::launch(grid, threads, shared, name, args);                                        \
    }

// Dynamic shared memory, from a multiple of 1024.
inline unsigned char *dynamic_shared() {
    uintptr_t start = reinterpret_cast<uintptr_t>(emulator::block.shared.data());
    return reinterpret_cast<unsigned char *>((start + 1023) / 1024 * 1024);
}

inline void __syncthreads() { emulator::meet(emulator::block.barriers[0], int(emulator::block.fibers.size())); }
inline void __syncwarp(unsigned = ~0u) { emulator::meet(emulator::warp().meeting, emulator::lanes_of_warp()); }

template <class T> T shuffle(T value, int from) {
    emulator::Warp &warp = emulator::warp();
    int lanes = emulator::lanes_of_warp(), lane = emulator::lane();
    memcpy(&warp.slots[lane], &value, sizeof(T));
    emulator::meet(warp.meeting, lanes);
    T result = value;
    if (from >= 0 && from < lanes) memcpy(&result, &warp.slots[from], sizeof(T));
    emulator::meet(warp.meeting, lanes);
    return result;
}
template <class T> T __shfl_sync(unsigned, T value, int from) { return shuffle(value, from); }
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) { return shuffle(value, emulator::lane() ^ mask); }
template <class T> T __shfl_down_sync(unsigned, T value, int by) { return shuffle(value, emulator::lane() + by); }

inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { return int(__float_as_uint(x)); }
inline float __int_as_float(int bits) { return __uint_as_float(unsigned(bits)); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
template <class T> T __ldg(const T *at) { return *at; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
