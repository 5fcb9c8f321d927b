import { type HostArray, type PhaseInputs, type Program, type Recording, recordPhase, required } from '@weft/tensor';
import { lowerModule } from '../lowering/module.js';
import { LoweringShapeInference } from '../lowering/shape-inference.js';
import type { Client } from '../native/client.js';

/** Runs a phase without state on a device; outputs as they are there. */
export async function runLowered(client: Client, recording: Recording, inputs: PhaseInputs): Promise<HostArray[]> {
  const names = Object.keys(recording.inputs);
  const text = lowerModule({
    name: recording.phase,
    ops: recording.ops,
    values: recording.values,
    arguments: Object.values(recording.inputs),
    results: Object.values(recording.outputs),
    donations: new Map(),
  });
  return runText(
    client,
    text,
    names.map((name) => ({
      data: inputs[name] as HostArray,
      shape: required(recording.values, recording.inputs[name] ?? -1).shape,
    })),
  );
}

/** Runs a program in StableHLO. */
export async function runText(
  client: Client,
  text: string,
  inputs: readonly { readonly data: HostArray; readonly shape: readonly number[] }[],
): Promise<HostArray[]> {
  const executable = await client.compile(text);
  const buffers = await Promise.all(
    inputs.map(({ data, shape }) => client.upload(data, shape, data instanceof Float32Array ? 'float32' : 'int32')),
  );
  const { outputs, done } = await executable.execute(buffers);
  await done;
  const results = await Promise.all(
    outputs.map((output) => {
      const count = output.shape.reduce((product, size) => product * size, 1);
      return output.readInto(output.elementType === 'float32' ? new Float32Array(count) : new Int32Array(count));
    }),
  );
  for (const handle of [executable, ...buffers, ...outputs]) handle.free();
  return results;
}

/** Records a phase with the shapes that the lowering computes. */
export function record(program: Program, phase: string): Recording {
  return recordPhase(new LoweringShapeInference(), program, phase);
}
