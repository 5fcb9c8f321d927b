import { join } from 'node:path';
import { writeShard } from '@weft/checkpoint';
import { Random } from '@weft/common';
import { elementCount } from '@weft/engine';
import type { LayerSize } from './layer-case.js';
import { layerShapes } from './layer-program.js';

/** Deviations of the fixture's normal numbers: those of a layer in training. */
const DEVIATION = { input: 1, direction: 1, router: 0.1, gate: 0.05, up: 0.05, down: 0.05 } as const;

/**
 * Writes what every contestant of a size starts from into one safetensors file of float32 values.
 * @returns the file's path
 */
export async function writeLayerFixture(directory: string, size: LayerSize): Promise<string> {
  const tensors = Object.entries(layerShapes(size)).map(([name, shape]) => {
    const random = Random.of('moe layer', size.name, name);
    const deviation = DEVIATION[name as keyof typeof DEVIATION];
    const data = Float32Array.from({ length: elementCount(shape) }, () => deviation * random.normal());
    return { name, shape, data };
  });
  const file = await writeShard({ directory: join(directory, size.name), rank: 0, worldSize: 1, tensors });
  return join(directory, size.name, file.name);
}
