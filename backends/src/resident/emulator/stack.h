// Stacks that threads of a block run on, and the change from one to another: a few instructions on
// x86-64, `swapcontext` (two system calls) elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {

#ifdef __x86_64__
// Where a stack was left: its top, on which the registers lie that a call preserves.
using Context = void *;

__attribute__((naked, noinline, noipa)) inline void change(Context *, Context) {
    asm("push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret");
}

// Goes on at `to`; returns when somebody goes on at `from`.
inline void go(Context &from, Context &to) { change(&from, to); }

inline void prepare(Context &context, char *memory, size_t bytes, void (*entry)()) {
    uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / 16 * 16;
    auto words = reinterpret_cast<uintptr_t *>(end) - 8;
    for (int i = 0; i < 8; ++i) words[i] = 0;  // six registers, the entry, where nobody returns to
    words[6] = reinterpret_cast<uintptr_t>(entry);
    context = words;
}
#else
using Context = ucontext_t;

inline void go(Context &from, Context &to) { swapcontext(&from, &to); }

inline void prepare(Context &context, char *memory, size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = memory;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
#endif

// One stack; it begins with `entry`, which never returns.
struct Stack {
    // Not a power of two, or the tops of all stacks would share the same few lines of the cache.
    static constexpr size_t BYTES = (64 << 10) + 5 * 64;

    Context context;
    std::unique_ptr<char[]> memory{new char[BYTES]};

    explicit Stack(void (*entry)()) { prepare(context, memory.get(), BYTES, entry); }
};

}  // namespace emulator
