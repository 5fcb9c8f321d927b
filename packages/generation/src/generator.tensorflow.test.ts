import { createExecutor } from '@weft/backend-tensorflow';
import { describeGenerator } from './testing/generator-conformance.js';

describeGenerator(
  'TensorFlow',
  async () => (program) => createExecutor(program, { kind: 'graph', precision: 'fp32', threads: 1 }),
);
