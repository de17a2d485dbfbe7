// A Hopper card's own instructions (../kernels/hopper.cuh, ../kernels/wgmma.cuh) in host memory.
//
// Copies and products are asynchronous: they may happen at any time between their issue and the wait
// for them. By default they happen at issue; with EMULATE_LATE_COPIES copies happen only when no
// thread can go on without them (the last one first with EMULATE_REVERSED), with
// EMULATE_LATE_PRODUCTS products at the wait, after other threads have had their turns, reading their
// operands, registers too, only then; EMULATE_LATE is both. What is right only for one of these
// times lacks a wait. Shared memory is read through descriptors and swizzle as the hardware does it.
#pragma once

#include <deque>

#include "emulator.h"

#ifdef EMULATE_LATE
#define EMULATE_LATE_COPIES
#define EMULATE_LATE_PRODUCTS
#endif

namespace emulator {

[[noreturn]] inline void misuse(const char *what) {
    fprintf(stderr, "emulator: %s (block %u, %u, %u, thread %d)\n", what, block_idx.x, block_idx.y, block_idx.z,
            current->index);
    abort();
}

// Shared memory begins at 1024, as on the card, where the first KiB is the system's.
constexpr u32 SHARED_START = 1024;

inline u8 *at_shared(u32 address) { return dynamic_shared() + (address - SHARED_START); }

// The 128-byte swizzle: the 16-byte piece of a row is exchanged by the row's number modulo eight.
inline u32 swizzle(u32 address) { return address ^ (address >> 7 & 7) << 4; }

// What an mbarrier holds.
struct BarrierState {
    u32 parity : 1;
    u32 count : 15;
    u32 missing : 16;
    int bytes;

    void settle() {
        if (missing > 0 || bytes != 0) return;
        missing = count;
        parity ^= 1;
        block.progressed = true;
    }
};
static_assert(sizeof(BarrierState) == sizeof(Barrier), "an mbarrier has eight bytes");

inline BarrierState &state(Barrier &barrier) { return reinterpret_cast<BarrierState &>(barrier); }

// What a TensorMap holds.
struct Map {
    u32 magic, element_bytes;
    u64 address;
    u32 dims[4];
    u64 strides[3];
    u32 box[4];
};
constexpr u32 MAP_MAGIC = 0x70616d74;

// One row of a box, the innermost dimension; what lies outside of the tensor is zero.
inline void copy_row(u32 to, const Map &map, const int (&at)[4]) {
    bool inside = true;
    u64 from = map.address;
    for (int i = 1; i < 4; ++i) {
        inside = inside && at[i] >= 0 && u32(at[i]) < map.dims[i];
        from += map.strides[i - 1] * u64(i64(at[i]));
    }
    for (u32 i = 0; i < map.box[0]; ++i) {
        u8 *element = at_shared(swizzle(to + i * map.element_bytes));
        int column = at[0] + int(i);
        if (inside && column >= 0 && u32(column) < map.dims[0])
            memcpy(element, reinterpret_cast<u8 *>(from) + u64(column) * map.element_bytes, map.element_bytes);
        else
            memset(element, 0, map.element_bytes);
    }
}

inline void copy_now(u32 to, const Map &map, BarrierState &barrier, const int (&at)[4]) {
    u32 row_bytes = map.box[0] * map.element_bytes, row = 0;
    int from[4] = {at[0]};
    for (from[3] = at[3]; from[3] < at[3] + int(map.box[3]); ++from[3])
        for (from[2] = at[2]; from[2] < at[2] + int(map.box[2]); ++from[2])
            for (from[1] = at[1]; from[1] < at[1] + int(map.box[1]); ++from[1])
                copy_row(to + row++ * row_bytes, map, from);
    barrier.bytes -= int(row * row_bytes);
    barrier.settle();
}

// A matrix descriptor, as the hardware takes it apart.
struct Descriptor {
    u32 start, leading, stride;

    explicit Descriptor(u64 bits) {
        if (bits >> 62 != 1 || (bits >> 49 & 7) != 0) misuse("only the 128-byte swizzle without offset is known");
        start = u32(bits & 0x3fff) << 4;
        leading = u32(bits >> 16 & 0x3fff) << 4;
        stride = u32(bits >> 32 & 0x3fff) << 4;
    }
    // Rows with K inside of them.
    float k_major(int row, int k) const { return at(row / 8 * stride + row % 8 * 128 + k * 2); }
    // Rows that are K, with columns inside of them.
    float n_major(int k, int column) const {
        return at(column / 64 * leading + column % 64 * 2 + k / 8 * stride + k % 8 * 128);
    }

  private:
    float at(u32 offset) const { return to_float(*reinterpret_cast<bf16 *>(at_shared(swizzle(start + offset)))); }
};

// A warp's quarter of a warpgroup's product: D [16, columns] += A [16, 16] B [16, columns].
struct Product {
    int columns, arrived = 0;
    bool n_major, accumulate;
    u64 a_descriptor, b_descriptor;
    float *d[32];
    const u32 *a[32];  // null where A is in shared memory
};

inline float operand(const Product &product, int first_row, int row, int k) {
    if (!product.a[0]) return Descriptor(product.a_descriptor).k_major(first_row + row, k);
    u32 packed = product.a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
    return to_float(bf16{u16(k % 2 ? packed >> 16 : packed)});
}

inline void multiply(const Product &product, int first_row) {
    static float a[16][16], b[16][256], sum[16][256];
    Descriptor b_at(product.b_descriptor);
    int columns = product.columns;
    for (int k = 0; k < 16; ++k)
        for (int j = 0; j < columns; ++j) b[k][j] = product.n_major ? b_at.n_major(k, j) : b_at.k_major(j, k);
    for (int i = 0; i < 16; ++i)
        for (int k = 0; k < 16; ++k) a[i][k] = operand(product, first_row, i, k);
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < columns; ++j) sum[i][j] = 0;
        for (int k = 0; k < 16; ++k)
            for (int j = 0; j < columns; ++j) sum[i][j] += a[i][k] * b[k][j];
        for (int j = 0; j < columns; ++j) {
            float &d = product.d[i % 8 * 4 + j % 8 / 2][j / 8 * 4 + i / 8 * 2 + j % 2];
            d = product.accumulate ? d + sum[i][j] : sum[i][j];
        }
    }
}

inline void let_others_run() {
    block.progressed = true;
    yield();
}

// The products of a warp that are under way, and how far each lane is in issuing them.
struct Products {
    std::deque<Product> queue;
    u64 first = 0;  // the number of the first one in the queue
    u64 issued[32] = {};
    std::deque<u64> groups[32];  // for each lane and group not waited for, the number past its last product
    bool fenced[32] = {};
};

inline Products &products() {
    static Products of_warps[32];
    return of_warps[current->index / 32];
}

inline void run_product(Products &products) {
    multiply(products.queue.front(), current->index / 32 % 4 * 16);
    products.queue.pop_front();
    ++products.first;
    block.progressed = true;
}

inline void issue_product(int columns, bool n_major, float *d, const u32 *a, u64 a_descriptor, u64 b_descriptor,
                          bool accumulate) {
    Products &all = products();
    int lane = emulator::lane();
    if (!all.fenced[lane]) misuse("wgmma without wgmma_fence");
    u64 number = all.issued[lane]++;
    if (number - all.first == all.queue.size()) all.queue.emplace_back();
    Product &product = all.queue[number - all.first];
    if (product.arrived > 0 && (product.a_descriptor != a_descriptor || product.b_descriptor != b_descriptor))
        misuse("lanes of a warp differ in their products");
    product.columns = columns;
    product.n_major = n_major;
    product.accumulate = accumulate;
    product.a_descriptor = a_descriptor;
    product.b_descriptor = b_descriptor;
    product.d[lane] = d;
    product.a[lane] = a;
    ++product.arrived;
#ifndef EMULATE_LATE_PRODUCTS
    while (!all.queue.empty() && all.queue.front().arrived == 32) run_product(all);
#endif
}

inline void commit_products() {
    Products &all = products();
    int lane = emulator::lane();
    all.groups[lane].push_back(all.issued[lane]);
    all.fenced[lane] = false;
}

inline void wait_products(u64 pending) {
    Products &all = products();
    std::deque<u64> &groups = all.groups[emulator::lane()];
    u64 end = 0;
    for (; groups.size() > pending; groups.pop_front()) end = groups.front();
#ifdef EMULATE_LATE_PRODUCTS
    for (int turn = 0; turn < 3 && all.first < end; ++turn) let_others_run();
#endif
    while (all.first < end) {
        wait_until([&] { return all.first >= end || (!all.queue.empty() && all.queue.front().arrived == 32); });
        if (all.first < end) run_product(all);
    }
}

}  // namespace emulator

inline u32 shared_address(const void *pointer) {
    return u32(static_cast<const u8 *>(pointer) - dynamic_shared()) + emulator::SHARED_START;
}

inline void barrier_init(Barrier &barrier, int count) {
    emulator::state(barrier) = {0, u32(count), u32(count), 0};
}
inline void barrier_init_fence() {}
inline void barrier_arrive(Barrier &barrier) {
    emulator::BarrierState &state = emulator::state(barrier);
    if (state.missing == 0) emulator::misuse("more arrivals at a barrier than it counts");
    --state.missing;
    state.settle();
}
inline void barrier_arrive_expect(Barrier &barrier, int bytes) {
    emulator::state(barrier).bytes += bytes;
    barrier_arrive(barrier);
}
inline void barrier_wait(Barrier &barrier, int parity) {
    emulator::wait_until([&] { return int(emulator::state(barrier).parity) != parity; });
}

inline void copy_box(void *to, const TensorMap &map, Barrier &barrier, int x0, int x1, int x2, int x3) {
    emulator::Map tensor;
    memcpy(&tensor, &map, sizeof tensor);
    u32 address = shared_address(to);
    if (tensor.magic != emulator::MAP_MAGIC) emulator::misuse("not a tensor map");
    if (tensor.box[0] * tensor.element_bytes != 128 || address % 1024 != 0)
        emulator::misuse("a swizzled box has rows of 128 bytes and begins at a multiple of 1024");
    auto copy = [=, state = &emulator::state(barrier)] {
        int at[4] = {x0, x1, x2, x3};
        emulator::copy_now(address, tensor, *state, at);
    };
#ifndef EMULATE_LATE_COPIES
    copy();
#elif defined(EMULATE_REVERSED)
    emulator::block.pending.insert(emulator::block.pending.begin(), copy);
#else
    emulator::block.pending.push_back(copy);
#endif
}
inline void prefetch_map(const TensorMap &) {}

inline bool elect_one() { return emulator::lane() == 0; }

inline void named_barrier_wait(int id, int threads) { emulator::meet(emulator::block.barriers[id], threads); }
inline void named_barrier_arrive(int id, int threads) {
    emulator::Meeting &barrier = emulator::block.barriers[id];
    emulator::block.progressed = true;
    if (++barrier.arrived < threads) return;
    barrier.arrived = 0;
    ++barrier.generation;
}

inline void store_global(void *to, const u32 (&x)[4]) {
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0) emulator::misuse("sixteen bytes not at a multiple of sixteen");
    memcpy(to, x, 16);
}

template <int REGISTERS> void grow_registers() {}
template <int REGISTERS> void shrink_registers() {}

inline void wgmma_fence() { emulator::products().fenced[emulator::lane()] = true; }
inline void wgmma_commit() { emulator::commit_products(); }
template <int PENDING> void wgmma_wait() { emulator::wait_products(PENDING); }
template <int COUNT> void pin(float (&)[COUNT]) {}

template <int N> struct Wgmma {
    template <int B_MAJOR> static void shared(float (&d)[N / 2], u64 a, u64 b, int accumulate) {
        emulator::issue_product(N, B_MAJOR, d, nullptr, a, b, accumulate);
    }
    template <int B_MAJOR> static void registers(float (&d)[N / 2], const u32 *a, u64 b, int accumulate) {
        emulator::issue_product(N, B_MAJOR, d, a, 0, b, accumulate);
    }
};
