import { executorConformance } from '@weft/testing';
import { describe, test } from 'vitest';
import * as tensor from './index.js';

const cases = executorConformance({ tensor, hasLateInputs: false });

describe('the JavaScript executor', () => {
  test.each(cases)('$name', ({ run }) => run(tensor.javascriptExecutor));
});
