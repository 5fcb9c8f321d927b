import { expect, test } from 'vitest';
import { modelFlops } from './model-flops.js';
import { benchModel } from './models.js';

test('the FLOPs of a decoder are PaLM’s: 6 per matrix parameter and token, 12·T·D per token and layer', () => {
  const [B, T, V, D, L, F] = [8, 128, 4096, 256, 4, 704];
  const matrices = L * (4 * D * D + 3 * D * F) + D * V;
  expect(modelFlops(benchModel('decoder-5m'))).toBe(B * T * (6 * matrices + 12 * L * T * D));
});

test('the images of the multimodal model count by patches, then by tokens', () => {
  const model = benchModel('mm1-tiny');
  const { decoder, images } = model;
  if (images === null) throw new Error('mm1-tiny has images');
  const { vision, connector } = images;
  const [rows, N] = [8 * 128, 8 * images.imagesPerSequence];
  const [P, K, W, H, D] = [16, connector.tokensPerImage, vision.width, connector.hiddenWidth, decoder.width];
  const decoderMatrices = decoder.depth * (4 * D * D + 3 * D * decoder.feedForwardWidth) + D * decoder.vocabularySize;
  const text = rows * (2 * decoderMatrices + 4 * decoder.depth * 128 * D);
  const visionMatrices = 8 * 8 * 3 * W + vision.depth * (4 * W * W + 2 * W * vision.feedForwardWidth);
  const seen = N * P * (2 * visionMatrices + 4 * vision.depth * P * W);
  // Two 1×1 convolutions and a 3×3 depthwise one on each side of the pooling; the gate once per image.
  const block = 2 * H * H + 9 * H;
  const gates = 2 * N * 2 * (2 * H * (H / 4));
  const connected = 2 * N * (P * block + K * block + K * (H * D + D * D));
  expect(modelFlops(model)).toBe(3 * (text + seen + connected + gates));
});
