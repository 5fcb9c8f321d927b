// Native libraries that Weft needs: finds them, or fetches the pinned wheels of Python's package index that carry them. Plain
// Node without dependencies: this runs before `npm ci` has. TensorFlow's library is found here; `backend-pjrt` finds XLA's
// plugins with the same parts.

/**
 * @typedef {import('./types.mjs').Host} Host
 * @typedef {import('./types.mjs').SetupProgress} SetupProgress
 * @typedef {import('./types.mjs').Wheel} Wheel
 */

export { cacheDirectory } from './cache.mjs';
export { NativeLibraryError } from './error.mjs';
export { fetchWheels } from './fetch-wheels.mjs';
export { describeHost, hasDriverFiles } from './host.mjs';
export { askPython } from './python.mjs';
export { findTensorFlow, installTensorFlow } from './tensorflow-library.mjs';
