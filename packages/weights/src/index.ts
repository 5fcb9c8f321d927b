export { type ExportedPart, exportWeights } from './export-weights.js';
export { importWeights } from './import-weights.js';
