// A vector of floats, in the widest form that the CPU has; arithmetic on it is GCC's and Clang's own (`a * b + c`).
#pragma once
#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifdef LANES  // a test compiles the engine for vectors that this CPU has not
#define PORTABLE 1
constexpr int kLanes = LANES;
#elif defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

#define INLINE inline __attribute__((always_inline))

// Holds a value in a register. GCC would load it anew for every product, and the loads would take longer than those.
#if defined(__AVX__) && !defined(PORTABLE)
#define KEEP(v) asm("" : "+v"(v))
#else
#define KEEP(v)
#endif

INLINE Vec load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
INLINE void store(float* p, Vec v) { *reinterpret_cast<Unaligned*>(p) = v; }
INLINE Vec broadcast(float x) { return x - Vec{}; }
INLINE Vec positive(Vec v) { return v < 0 ? Vec{} : v; }  // a ReLU that lets NaN through
INLINE Vec larger(Vec a, Vec b) { return b > a || b != b ? b : a; }  // and a maximum that does

// The first n floats, and zeros behind them. What lies behind them in memory is neither read nor written.
#if defined(__AVX512F__) && !defined(PORTABLE)
INLINE __mmask16 lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
INLINE Vec load(const float* p, int n) { return n >= kLanes ? load(p) : (Vec)_mm512_maskz_loadu_ps(lanes(n), p); }
INLINE void store(float* p, Vec v, int n) {
  if (n >= kLanes) store(p, v);
  else _mm512_mask_storeu_ps(p, lanes(n), (__m512)v);
}
#elif defined(__AVX__) && !defined(PORTABLE)
INLINE __m256i lanes(int n) {
  static const int ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ones + 8 - n));
}
INLINE Vec load(const float* p, int n) { return n >= kLanes ? load(p) : (Vec)_mm256_maskload_ps(p, lanes(n)); }
INLINE void store(float* p, Vec v, int n) {
  if (n >= kLanes) store(p, v);
  else _mm256_maskstore_ps(p, lanes(n), (__m256)v);
}
#else
INLINE Vec load(const float* p, int n) {
  Vec v{};
  for (int i = 0; i < kLanes && i < n; i++) v[i] = p[i];
  return v;
}
INLINE void store(float* p, Vec v, int n) {
  for (int i = 0; i < kLanes && i < n; i++) p[i] = v[i];
}
#endif
