// The threads that work on a network: OpenMP's, which are PyTorch's.
//
// Those of PyTorch stay awake for milliseconds after its work; threads of our own would have to share the cores with them.
#pragma once
#include "vector.h"
#include <omp.h>
#include <pthread.h>

#include <atomic>
#include <mutex>

constexpr int kSpins = 4000;  // some 50 microseconds, longer than most layers differ by between threads

INLINE void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Where threads wait for each other: briefly awake, then asleep. Those of OpenMP's barrier stay awake, which takes the
// time of the one they wait for where other processes want the cores.
class Barrier {
 public:
  void wait(int threads) {
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_acq_rel);
      round_.notify_all();
      return;
    }
    for (int i = 0; i < kSpins; i++) {
      if (round_.load(std::memory_order_acquire) != round) return;
      pause_briefly();
    }
    while (round_.load(std::memory_order_acquire) == round) round_.wait(round, std::memory_order_acquire);
  }

 private:
  std::atomic<int> arrived_{0}, round_{0};
};

class Team {
 public:
  std::mutex busy;  // whoever runs a network holds it
  Barrier barrier;

  // Call work(thread, threads) on so many threads, or on as many as OpenMP has left, and wait for them.
  template <class Work>
  void run(int threads, const Work& work) {
#pragma omp parallel num_threads(forked_ ? 1 : threads)
    work(omp_get_thread_num(), omp_get_num_threads());
  }

  // The team of this process; that of a forked one has one thread, for OpenMP would wait there for those of the parent.
  static Team& of_process() {
    static const int once = pthread_atfork(nullptr, nullptr, [] { (team = new Team)->forked_ = true; });
    (void)once;
    return *team;
  }

 private:
  static Team* team;
  bool forked_ = false;
};
inline Team* Team::team = new Team;
