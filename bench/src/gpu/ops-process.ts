// A process of ours that runs the phases of the op program on the device, as lines on stdin ask for them.
import { createPjrtExecutor } from '@weft/backend-pjrt';
import { itemAt, type Precision } from '@weft/tensor';
import { receive, send } from '../candidate-loop.js';
import type { PjrtSpec } from '../candidate-spec.js';
import { encodeArray } from './arrays.js';
import { inputsOf, opCases, opProgram } from './op-cases.js';

/** The argument of the process, as JSON. */
export interface OpsSpec {
  readonly pjrt: PjrtSpec;
  readonly precision: Precision;
  readonly variants: number;
  readonly isSmall: boolean;
}

/** To the process: run this case. */
export interface OpRequest {
  readonly index: number;
}

/** From a process, ours or JAX's: float32 values in base64, by output; or why there are none. */
export interface OpReply {
  readonly outputs?: Readonly<Record<string, string>>;
  /** How attention was computed, where the case has any. */
  readonly attention?: string | undefined;
  readonly error?: string;
}

const { pjrt, precision, variants, isSmall }: OpsSpec = JSON.parse(process.argv[2] ?? '{}');
const cases = opCases(precision, variants, isSmall);
let attention: string | undefined;
const executor = createPjrtExecutor(opProgram(cases), {
  ...pjrt,
  precision,
  recompute: 'full',
  onCompile: (progress) => {
    attention = progress.attention;
  },
});

for (let request = await receive<OpRequest>(); request?.index !== undefined; request = await receive<OpRequest>()) {
  send<OpReply>(await answer(request.index));
}
await executor.dispose();
process.stdin.destroy();

async function answer(index: number): Promise<OpReply> {
  try {
    const each = itemAt(cases, index);
    const results = await executor.run(each.name, inputsOf(each));
    const outputs = Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, encodeArray(data)]));
    for (const tensor of Object.values(results)) tensor.dispose();
    return { outputs, attention };
  } catch (thrown) {
    return { error: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}
