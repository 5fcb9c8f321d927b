import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

describe('the pure JavaScript engine', () => {
  it('trains the smallest recipe to the losses of TensorFlow, within 1e-4', async () => {
    const train = async (backend: string) =>
      home.metrics(await home.train('debugNano', 2, { steps: 6, 'engine.backend': backend }));
    expect(lossDifference(await train('javascript'), await train('tensorflow'))).toBeLessThan(1e-4);
  });
});
