// The one loop that does nearly all the arithmetic: a few pixels times a few vectors of output channels.
#pragma once
#include "vector.h"

// Pixels of a feature map: the first half of a tile lies at `half[0]`, `stride` floats apart, the rest at `half[1]`, so
// that a tile may be a piece of one row, or two short rows.
struct Pixels {
  float* half[2];
  long stride;
  INLINE float* at(int i, int split) const { return i < split ? half[0] + i * stride : half[1] + (i - split) * stride; }
};

struct Segment {  // of a sum over inputs: floats that follow each other in memory
  long offset;    // from the pixel's first one
  int length;
};

struct Epilogue {  // what happens to a tile on its way out
  const float* bias;
  Pixels out;
  Pixels residual;  // added first; half[0] is null if there is none
  Pixels second;    // a second output, out + addend, or null
  Pixels addend;    // or null
  int channels;     // of `out`, from the tile's first on
  int second_channels;
  bool first;  // whether the sum starts here, with the bias and the residual, or goes on from what is in `out`
  bool last;   // whether it ends here
  bool relu;
  const char* prefetch;  // what will be needed next, from here on; null if nothing
};

// acc[i][j] = sum over segments and k of pixel[i][k] * weight[k][j]. The weights of all segments follow each other.
template <int M, int N>
void tile(const Pixels& in, const Segment* segments, int count, const float* weight, const Epilogue& e) {
  constexpr int kSplit = (M + 1) / 2;
  Vec acc[M][N];
  if (e.first) {
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      const Vec bias = load(e.bias + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < M; i++) acc[i][j] = bias;
    }
    if (e.residual.half[0])
#pragma GCC unroll 16
      for (int i = 0; i < M; i++)
#pragma GCC unroll 16
        for (int j = 0; j < N; j++)
          acc[i][j] += load(e.residual.at(i, kSplit) + j * kLanes, e.channels - j * kLanes);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) acc[i][j] = load(e.out.at(i, kSplit) + j * kLanes, e.channels - j * kLanes);
  }
  const char* prefetch = e.prefetch ? e.prefetch : reinterpret_cast<const char*>(weight);
  const long step = e.prefetch ? 64 : 0;
  for (int s = 0; s < count; s++) {
    const float* p = in.half[0] + segments[s].offset;
    const float* q = in.half[1] + segments[s].offset;
    for (int k = segments[s].length; k > 0; k--, p++, q++, weight += N * kLanes, prefetch += step) {
      __builtin_prefetch(prefetch, 0, 2);
      Vec w[N];
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) {
        w[j] = *reinterpret_cast<const Vec*>(weight + j * kLanes);
        KEEP(w[j]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < M; i++) {
        const Vec x = broadcast(i < kSplit ? p[i * in.stride] : q[(i - kSplit) * in.stride]);
#pragma GCC unroll 16
        for (int j = 0; j < N; j++) acc[i][j] += x * w[j];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      if (e.last && e.relu) acc[i][j] = positive(acc[i][j]);
      store(e.out.at(i, kSplit) + j * kLanes, acc[i][j], e.channels - j * kLanes);
    }
  if (!e.last || !e.second.half[0]) return;
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      const int left = e.second_channels - j * kLanes;
      if (left <= 0) continue;
      const Vec sum = e.addend.half[0] ? acc[i][j] + load(e.addend.at(i, kSplit) + j * kLanes, left) : acc[i][j];
      store(e.second.at(i, kSplit) + j * kLanes, sum, left);
    }
}

// The tiles that fit in registers: 32 of them with AVX-512, 16 otherwise, of which the weights and a pixel take some.
#ifdef __AVX512F__
constexpr int kMostPixels[4] = {0, 14, 14, 0};
constexpr int kMostVectors = 2;
#else
constexpr int kMostPixels[4] = {0, 8, 6, 4};
constexpr int kMostVectors = 3;
#endif
constexpr int kMaxPixels = 14;

typedef void (*Tile)(const Pixels&, const Segment*, int, const float*, const Epilogue&);
#define TILES(m) {nullptr, tile<m, 1>, m <= kMostPixels[2] ? tile<(m <= kMostPixels[2] ? m : 1), 2> : nullptr, \
                  m <= kMostPixels[3] ? tile<(m <= kMostPixels[3] ? m : 1), 3> : nullptr}
static const Tile kTiles[kMaxPixels + 1][4] = {
    {},       TILES(1), TILES(2), TILES(3),  TILES(4),  TILES(5),  TILES(6), TILES(7),
    TILES(8), TILES(9), TILES(10), TILES(11), TILES(12), TILES(13), TILES(14)};
