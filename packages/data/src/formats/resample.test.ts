import { describe, expect, it } from 'vitest';
import { channelValues } from './decode-image.js';
import { resample } from './resample.js';

/** Channel c of the pixel in column x and row y is (37x + 101y + 59c + 13xy) mod 256. */
function picture(width: number, height: number) {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = x * 37 + y * 101 + c * 59 + x * y * 13;
  }
  return { data, width, height };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('resample gives the bytes of Pillow 13', () => {
  // Image.resize((s, s), BICUBIC); for crop, CLIP's resize of the shorter side and the middle of the longer.
  it.each([
    [
      7,
      5,
      4,
      'stretch',
      '2367856e73aa89c161c28d417a7968a15b73824b9949947f5d589e675b9f687691936f6ba68858837477a77d729db165',
    ],
    [
      7,
      5,
      4,
      'crop',
      '1b63885a7092868cac8eda3b8477787b6452c5579b4e49995d52986f5b9d5468b0797f6c9d9d449b5396879a45a67299',
    ],
    [5, 9, 3, 'stretch', '536c7e7e658c8a728c9b6e7e7f5c8384846b89967e848e787e9d73'],
    [5, 9, 3, 'crop', '6b5c827463928359a0a47e7084597e92855ea26b9384737a6caf5d'],
    [40, 31, 2, 'stretch', '83857c82817f847d7d827a7c'],
    [40, 31, 2, 'crop', '83857c82817f847d7d827a7c'],
    [
      3,
      2,
      5,
      'crop',
      '00347107418c1a55a92c72bd3b8dca0a457e1955862c67924074a44f7bb43672a0488c765e9954747762864d7b629fc277c26690cb16a87a1fbd1f4273b0cf89d660a2dd00bc7c06d10d2c',
    ],
  ] as const)('of %d×%d pixels made %d, %s', (width, height, size, fit, expected) => {
    expect(
      hex(resample(picture(width, height), { width: size, height: size }, { fit, interpolation: 'bicubic' })),
    ).toBe(expected);
  });
});

describe('the values of channels', () => {
  it('lie in [−1, 1] where nothing else is said, and are x/127.5 − 1 to the last bit', () => {
    const half = { red: 0.5, green: 0.5, blue: 0.5 };
    const once = Float32Array.from({ length: 256 }, (_, value) => value / 127.5 - 1);
    expect(channelValues({ mean: half, deviation: half })).toEqual(Float32Array.from([...once, ...once, ...once]));
  });

  it('are shifted and scaled for each colour', () => {
    const mean = { red: 0.48, green: 0.46, blue: 0.41 };
    const deviation = { red: 0.27, green: 0.26, blue: 0.28 };
    const values = channelValues({ mean, deviation });
    expect(values[100]).toBeCloseTo((100 / 255 - 0.48) / 0.27, 6);
    expect(values[256 + 7]).toBeCloseTo((7 / 255 - 0.46) / 0.26, 6);
    expect(values[512 + 255]).toBeCloseTo((1 - 0.41) / 0.28, 6);
  });
});
