// Winograd's minimal filtering, F(4x4, 3x3): 16 pixels of a 3x3 convolution from 36 products a channel instead of 144.
// A tile is 6x6 pixels of the input, which are transformed; every product of transformed pixels and weights is a 1x1
// convolution; what it gives is transformed back. The matrices are those of Lavin and Gray, arXiv 1509.09308.
#pragma once
#include "kernel.h"

constexpr int kTileSize = 4;                // pixels of the output, down and across
constexpr int kSide = kTileSize + 2;        // of the input
constexpr int kProducts = kSide * kSide;

struct Place {  // of the pixels of a tile
  float* first;
  long pixel, row;
};

// Three weights, or six pixels, of one row or column to six numbers; six of those to four pixels.
template <class Weight>
void transform_line(const Weight* w, long step, double* out) {
  const double a = w[0], b = w[step], c = w[2 * step];
  out[0] = a / 4, out[1] = -(a + b + c) / 6, out[2] = -(a - b + c) / 6;
  out[3] = (a + 2 * b + 4 * c) / 24, out[4] = (a - 2 * b + 4 * c) / 24, out[5] = c;
}
INLINE void transform_line(const Vec* d, Vec* out) {
  const Vec a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  out[0] = 4 * d[0] - 5 * d[2] + d[4], out[1] = a + b, out[2] = a - b;
  out[3] = c + e, out[4] = c - e, out[5] = 4 * d[1] - 5 * d[3] + d[5];
}
INLINE void transform_back(const Vec* m, Vec* out) {
  const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
  out[0] = m[0] + a + c, out[1] = b + 2 * e, out[2] = a + 4 * c, out[3] = b + 8 * e + m[5];
}

// 3x3 weights, `step` floats apart, to all products, `out_step` floats apart.
inline void transform_weight(const float* weight, long step, float* out, long out_step) {
  double rows[3][kSide];
  for (int y = 0; y < 3; y++) transform_line(weight + 3 * y * step, step, rows[y]);
  for (int x = 0; x < kSide; x++) {
    double column[kSide];
    transform_line(&rows[0][x], kSide, column);
    for (int y = 0; y < kSide; y++) out[(y * kSide + x) * out_step] = column[y];
  }
}

// The pixels of a tile, all channels, to what is multiplied, `step` floats from product to product.
inline void transform_input(const Place& in, int channels, float* out, long step) {
  for (int c = 0; c < channels; c += kLanes) {
    Vec columns[kSide][kSide];
#pragma GCC unroll 8
    for (int x = 0; x < kSide; x++) {
      Vec pixels[kSide];
#pragma GCC unroll 8
      for (int y = 0; y < kSide; y++) pixels[y] = load(in.first + y * in.row + x * in.pixel + c, channels - c);
      transform_line(pixels, columns[x]);
    }
#pragma GCC unroll 8
    for (int y = 0; y < kSide; y++) {
      Vec row[kSide], products[kSide];
#pragma GCC unroll 8
      for (int x = 0; x < kSide; x++) row[x] = columns[x][y];
      transform_line(row, products);
#pragma GCC unroll 8
      for (int x = 0; x < kSide; x++) store(out + (y * kSide + x) * step + c, products[x]);
    }
  }
}

// Products to the pixels of a tile, of which those inside the map, height x width, are written; `second` is `out` with
// `addend`, and both may be nowhere.
inline void transform_output(const float* in, long step, int channels, const float* bias, bool relu, long height,
                             long width, const Place& out, const Place& addend, const Place& second) {
  for (int c = 0; c < channels; c += kLanes) {
    const int left = channels - c;
    Vec columns[kSide][kTileSize];
#pragma GCC unroll 8
    for (int x = 0; x < kSide; x++) {
      Vec products[kSide];
#pragma GCC unroll 8
      for (int y = 0; y < kSide; y++) products[y] = load(in + (y * kSide + x) * step + c);
      transform_back(products, columns[x]);
    }
    for (int y = 0; y < kTileSize && y < height; y++) {
      Vec row[kSide], pixels[kTileSize];
#pragma GCC unroll 8
      for (int x = 0; x < kSide; x++) row[x] = columns[x][y];
      transform_back(row, pixels);
      for (int x = 0; x < kTileSize && x < width; x++) {
        Vec value = pixels[x] + load(bias + c);
        if (relu) value = positive(value);
        store(out.first + y * out.row + x * out.pixel + c, value, left);
        if (!second.first) continue;
        if (addend.first) value += load(addend.first + y * addend.row + x * addend.pixel + c, left);
        store(second.first + y * second.row + x * second.pixel + c, value, left);
      }
    }
  }
}
