export type { LibraryHandle } from 'koffi';
export { koffi, requireDeepStack } from './koffi.js';
