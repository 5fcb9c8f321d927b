// A process of ours that sums and exchanges arrays in the memory of its device by NCCL, in two generations.
import { createPjrtExecutor } from '@weft/backend-pjrt';
import { Communicators, findNccl, NcclLibrary } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type DeviceSpan, itemAt, type ResidentTensor, tf } from '@weft/tensor';
import { receive, send } from '../candidate-loop.js';
import type { PjrtSpec } from '../candidate-spec.js';

/** The argument of the process, as JSON. */
export interface NcclSpec {
  readonly pjrt: PjrtSpec;
  readonly rank: number;
  readonly worldSize: number;
  readonly elements: number;
}

/** The first message of the process. */
export interface NcclReady {
  /** "NCCL 2.27.7". */
  readonly library: string;
  /** Names of communicators, one for each generation, in base64; the first process's are taken. */
  readonly ids: readonly string[];
}

/** To the process: open a communicator of this name, and use it. */
export interface NcclRequest {
  readonly id: string;
}

/** What became of it. */
export interface NcclReply {
  /** Of the sum: bytes of the array over the seconds that it took. */
  readonly gigabytesPerSecond: number;
  /** One sentence for each thing that is wrong. */
  readonly faults: readonly string[];
}

const { pjrt, rank, worldSize, elements }: NcclSpec = JSON.parse(process.argv[2] ?? '{}');
const GENERATIONS = 2;
const spec = { shape: [elements], dtype: 'float32' } as const;
/** Sums of these are exact. */
const valueAt = (of: number, i: number) => (i % 1000) + of;
const own = Float32Array.from({ length: elements }, (_, i) => valueAt(rank, i));

const files = findNccl({ plugin: pjrt.pluginPath });
if (files === undefined) throw new WeftError('native_library', 'there is no NCCL library here');
const library = new NcclLibrary(files);
const executor = createPjrtExecutor(
  {
    name: 'nccl',
    state: {},
    phases: { copy: { inputs: { x: spec }, run: ({ input }) => ({ y: tf.add(input('x'), 1) }) } },
  },
  { ...pjrt, precision: 'fp32', recompute: 'none' },
);

const ids = Array.from({ length: GENERATIONS }, () => Buffer.from(library.uniqueId()).toString('base64'));
send<NcclReady>({ library: library.name, ids });
for (let request = await receive<NcclRequest>(); request !== undefined; request = await receive<NcclRequest>()) {
  send<NcclReply>(await generation(new Uint8Array(Buffer.from(request.id, 'base64'))));
}
await executor.dispose();
process.exit(0);

async function generation(id: Uint8Array): Promise<NcclReply> {
  const communicators = new Communicators({ library, ids: [id], rank, worldSize, waiting: 'polling' });
  try {
    await communicators.opened();
    const first = await sum(communicators);
    const second = await sum(communicators);
    return { ...second, faults: [...first.faults, ...(await shift(communicators))] };
  } finally {
    await communicators.close(new WeftError('cancelled', 'the generation is over'));
  }
}

async function sum(communicators: Communicators): Promise<NcclReply> {
  const { y } = await executor.runResident('copy', { x: own });
  if (y === undefined) throw new WeftError('internal', 'the phase gave nothing');
  let seconds = 0;
  await y.lend?.(async (spans) => {
    const begunMs = performance.now();
    await communicators.allReduceSum(spans);
    seconds = (performance.now() - begunMs) / 1000;
  });
  const expected = (i: number) =>
    Array.from({ length: worldSize }, (_, of) => valueAt(of, i) + 1).reduce((total, value) => total + value, 0);
  const faults = await compared(y, expected, 'a sum');
  y.dispose();
  return { gigabytesPerSecond: (4 * elements) / seconds / 1e9, faults };
}

/** Half of the array goes to the next process; of what is received into, the other half becomes 0. */
async function shift(communicators: Communicators): Promise<readonly string[]> {
  const { y } = await executor.runResident('copy', { x: own });
  const into = await executor.allocate(spec);
  if (y === undefined) throw new WeftError('internal', 'the phase gave nothing');
  const half = Math.floor(elements / 2);
  const [to, from] = [(rank + 1) % worldSize, (rank + worldSize - 1) % worldSize];
  await y.lend?.(async ([source]) =>
    into.lend?.(async ([target]) => {
      const sends = [{ ...part(source, 0, half), peer: to }];
      const receives = [{ ...part(target, 0, half), peer: from }];
      await communicators.exchange(sends, receives, [part(target, half, elements)]);
    }),
  );
  const faults = await compared(into, (i) => (i < half ? valueAt(from, i) + 1 : 0), 'what was received');
  for (const tensor of [y, into]) tensor.dispose();
  return faults;
}

function part(span: DeviceSpan | undefined, first: number, end: number): DeviceSpan {
  if (span === undefined) throw new WeftError('internal', 'the array lies on no device');
  return { device: span.device, address: span.address + BigInt(4 * first), elements: end - first };
}

async function compared(
  tensor: ResidentTensor,
  expected: (i: number) => number,
  what: string,
): Promise<readonly string[]> {
  const { data } = await itemAt(tensor.parts, 0).read();
  const wrong = data.findIndex((value: number, i: number) => value !== expected(i));
  return wrong < 0 ? [] : [`${what} is ${data[wrong]} at ${wrong} instead of ${expected(wrong)}, in process ${rank}`];
}
