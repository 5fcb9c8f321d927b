// What of TensorFlow is fetched, and where it lies afterwards.

import { readRecord, variantDirectory, writeRecord } from './cache.mjs';
import { isNeeded, TENSORFLOW_VERSION, WHEELS } from './tensorflow-wheels.mjs';

/** @import { Wheel, WheelBuild } from './types.mjs' */

/**
 * @param {'cpu' | 'gpu'} variant
 * @param {NodeJS.ProcessEnv} environment
 * @param {readonly Wheel[]} [wheels] a test may name its own
 * @returns {WheelBuild}
 */
export function tensorflowBuild(variant, environment, wheels = WHEELS[variant]) {
  return {
    title: `TensorFlow ${TENSORFLOW_VERSION} (${variant})`,
    wheels,
    isNeeded,
    destination: variantDirectory(environment, variant),
    isPresent: () => readRecord(environment, variant) !== undefined,
    writeRecord: (folder, origin) => writeRecord(folder, { version: TENSORFLOW_VERSION, variant, origin }),
    alternative: 'set WEFT_TENSORFLOW_DIR to a folder that holds libtensorflow_cc.so.2',
  };
}
