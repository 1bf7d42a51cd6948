// A team of threads that work on one network at a time, and sleep in between.
//
// OpenMP is not used: its threads spin after their work and take the time of PyTorch's, and a process that was forked
// after it had been used hangs.
#pragma once
#include "vector.h"
#include <pthread.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

constexpr int kMostThreads = 255;
constexpr int kSpins = 4000;  // some 50 microseconds, longer than most layers differ by between threads

INLINE void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Wait until a number is no longer what it was: briefly awake, then asleep.
inline void wait_for_change(const std::atomic<int>& number, int old) {
  for (int i = 0; i < kSpins; i++) {
    if (number.load(std::memory_order_acquire) != old) return;
    pause_briefly();
  }
  while (number.load(std::memory_order_acquire) == old) number.wait(old, std::memory_order_acquire);
}

class Barrier {  // where the threads of a run wait for each other
 public:
  void wait(int threads) {
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_acq_rel);
      round_.notify_all();
    } else {
      wait_for_change(round_, round);
    }
  }

 private:
  std::atomic<int> arrived_{0}, round_{0};
};

class Team {
 public:
  std::mutex busy;  // whoever runs a network holds it
  Barrier barrier;

  // Call work(0), ..., work(threads - 1), all at once, and wait for them. The caller holds `busy`.
  void run(int threads, const std::function<void(int)>& work) {
    const int old = call_.load(std::memory_order_relaxed);
    for (; size_ < threads - 1; size_++) std::thread(&Team::serve, this, size_ + 1, old).detach();
    work_ = &work;
    left_.store(threads - 1, std::memory_order_relaxed);
    call_.store(((old >> 8) + 1) % (1 << 22) << 8 | threads, std::memory_order_release);
    call_.notify_all();
    work(0);
    for (int left; (left = left_.load(std::memory_order_acquire)) != 0;) wait_for_change(left_, left);
  }

  // The team of this process; a child of a fork has a new one, for it has none of the threads.
  static Team& of_process() {
    static const int once = pthread_atfork(nullptr, nullptr, [] { team = new Team; });
    (void)once;
    return *team;
  }

 private:
  static Team* team;
  int size_ = 0;  // threads beside the caller's
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<int> left_{0};
  std::atomic<int> call_{0};  // which call it is, and in the last 8 bits how many threads it is for

  void serve(int me, int seen) {
    for (;;) {
      call_.wait(seen, std::memory_order_acquire);
      seen = call_.load(std::memory_order_acquire);
      if (me >= seen % 256) continue;
      (*work_)(me);
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
    }
  }
};
inline Team* Team::team = new Team;
