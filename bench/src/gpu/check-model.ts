import type { Precision } from '@weft/config';
import { CandidateProcesses } from '../candidate-processes.js';
import { processScript } from '../programs.js';
import { environmentOn, type Host, pjrtOn } from './host.js';
import type { ModelDifferences, ModelProgress, ModelSpec } from './model-process.js';

/** A recipe's step on the device beside the same step of the eager engine in JavaScript, which computes in float32. */
export interface ModelCheck {
  readonly recipe: string;
  readonly results: readonly ModelDifferences[];
  /** One sentence for each quantity beyond its tolerance. */
  readonly faults: readonly string[];
}

type Tolerance = Readonly<Record<'loss' | 'gradients' | 'moments', number>>;

const TOLERANCE: Readonly<Record<Precision, Tolerance>> = {
  fp32: { loss: 1e-5, gradients: 1e-4, moments: 1e-4 },
  bf16: { loss: 1e-2, gradients: 5e-2, moments: 5e-2 },
};

export interface ModelCheckOptions {
  readonly host: Host;
  readonly recipe: string;
  readonly precisions: readonly Precision[];
  readonly cacheDirectory: string;
  /** Where stderr goes. */
  readonly log: string;
  readonly deadlineMs: number;
  readonly onProgress: (what: string) => void;
}

/** @throws Error when the process breaks down, or that its time was over */
export async function checkModel(options: ModelCheckOptions): Promise<ModelCheck> {
  const { host, recipe, precisions, cacheDirectory, deadlineMs, onProgress, log } = options;
  const spec: ModelSpec = { pjrt: pjrtOn(host, `${cacheDirectory}/executables`, true), recipe, precisions };
  const args = [...process.execArgv, processScript('gpu/model-process.js'), JSON.stringify(spec)];
  const running = new CandidateProcesses([{ program: process.execPath, args, environment: environmentOn(host), log }]);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    running.kill();
  }, deadlineMs - Date.now());
  try {
    const results: ModelDifferences[] = [];
    while (results.length < precisions.length) {
      const [message] = await running.receive<ModelProgress | ModelDifferences>();
      if (message === undefined) throw new Error('it gave no result');
      if ('progress' in message) onProgress(message.progress);
      else results.push(message);
    }
    return { recipe, results, faults: results.flatMap((found) => faultsOf(found, recipe)) };
  } catch (thrown) {
    throw isLate ? new Error('its time was over before it was done', { cause: thrown }) : thrown;
  } finally {
    clearTimeout(timer);
    running.kill();
  }
}

function faultsOf(found: ModelDifferences, recipe: string): readonly string[] {
  const { precision } = found;
  const tolerance = TOLERANCE[precision];
  return (['loss', 'gradients', 'moments'] as const)
    .filter((quantity) => !(found[quantity] <= tolerance[quantity]))
    .map((quantity) => {
      const worst = quantity === 'gradients' ? `, most of all ${found.worstParameter.name}` : '';
      return `${recipe} ${precision}: ${quantity} differ from JavaScript's by ${found[quantity].toExponential(1)}${worst}`;
    });
}
