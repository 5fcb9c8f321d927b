import type { ExchangeSubject, ExpertExchange } from '@weft/collectives';
import { type Deferred, deferred } from '@weft/common';
import { exchangeNames } from '@weft/tasks';
import { type HostTensor, type PhaseInputs, type PhaseRun, residentOnHost } from '@weft/tensor';
import { expect, test } from 'vitest';
import type { MicrobatchPass, TrainExecutor, TrainProgram } from '../train-program.js';
import { beginRemoteGradients, evaluateRemotely, openRemoteExperts } from './remote-moe-pipeline.js';

const LAYERS = [1, 3];
const program = {
  buckets: [{ name: 'bucket/0' }],
  phaseOf: (pass: MicrobatchPass) => pass,
} as unknown as TrainProgram;

/** An engine and experts that record what they are asked; the test answers for the experts. */
class PipelineHarness {
  readonly events: string[] = [];
  readonly asked: { readonly subject: ExchangeSubject; readonly answer: Deferred<void> }[] = [];
  readonly fed: PhaseInputs[] = [];
  /** Host tensors that nobody has freed yet. */
  open = 0;
  abandoned = 0;

  readonly executor: TrainExecutor = {
    run: () => expect.fail('no phase is run in one go'),
    runResident: () => expect.fail('no phase is run in one go'),
    boxesOf: () => expect.fail('nothing is reduced here'),
    begin: async (phase, inputs) => {
      const run = this.fed.push({ ...inputs }) - 1;
      this.events.push(`begin ${phase}`);
      return this.#run(run);
    },
  };

  readonly exchange: ExpertExchange = {
    exchange: (subject, { answer_ECD }) => {
      const answer = deferred();
      this.asked.push({ subject, answer });
      this.events.push(`${subject.direction} ${subject.microbatch}/${subject.layer}`);
      return answer.promise.then(() => void answer_ECD.fill(1));
    },
    openDevices: async () => ({ reason: 'the engine has no GPU' }),
    exchangeOnDevices: () => expect.fail('rows lie on the host'),
    squaredNorms: async () => [],
    close: async () => {},
    stats: { bytesSent: 0, bytesReceived: 0 },
  };

  readonly remote = openRemoteExperts(this.exchange, LAYERS, 2);
  readonly parts = { executor: this.executor, program, remote: this.remote, step: 1 };

  /** Answers requests as they come until there were `count` of them. */
  async answer(count: number): Promise<void> {
    for (let next = 0; next < count; next++) {
      await expect.poll(() => this.asked.length, { interval: 1 }).toBeGreaterThan(next);
      this.asked[next]!.answer.resolve();
    }
  }

  #run(number: number): PhaseRun {
    return {
      advance: async (inputs, outputs) => {
        Object.assign(this.fed[number]!, inputs);
        return Object.fromEntries(outputs.map((name) => [name, this.#tensor(name)]));
      },
      keep: async (inputs, outputs) => {
        Object.assign(this.fed[number]!, inputs);
        return residentOnHost(Object.fromEntries(outputs.map((name) => [name, this.#tensor(name)])));
      },
      abandon: async () => {
        this.abandoned++;
      },
    };
  }

  #tensor(name: string): HostTensor {
    this.open++;
    const data = name.endsWith('/tokensPerExpert') ? Int32Array.of(1) : Float32Array.of(5);
    return { spec: { shape: [1], dtype: 'float32' }, data, dispose: () => void this.open-- };
  }
}

const microbatches = [0, 1, 2].map((number) => ({ x: Float32Array.of(number) }));

test('while a microbatch waits for its experts the next one computes, as many as may be in flight', async () => {
  const harness = new PipelineHarness();
  const run = beginRemoteGradients(harness.parts, microbatches);
  await expect.poll(() => harness.asked.length, { interval: 1 }).toBe(2);
  expect(harness.events).toEqual(['begin gradients', 'forward 0/1', 'begin accumulate', 'forward 1/1']);
  await harness.answer(12);
  await run;
  const third = harness.events.indexOf('begin accumulate', 3);
  expect(harness.events.indexOf('backward 0/1')).toBeLessThan(third);
  expect(harness.events.filter((event) => event.includes(' 0/'))).toEqual([
    'forward 0/1',
    'forward 0/3',
    'backward 0/3',
    'backward 0/1',
  ]);
});

test('every run gets the answers of its layers and the sums of the microbatch before', async () => {
  const harness = new PipelineHarness();
  const run = beginRemoteGradients(harness.parts, microbatches);
  await harness.answer(12);
  await run;
  const answers = LAYERS.flatMap((layer) => [exchangeNames(layer).outputs, exchangeNames(layer).rowGradients]);
  expect(harness.fed.map((inputs) => Object.keys(inputs).sort())).toEqual([
    [...answers, 'x'].sort(),
    [...answers, 'bucket/0', 'x'].sort(),
    [...answers, 'bucket/0', 'x'].sort(),
  ]);
  // The last run keeps its buckets for the caller; everything that was fetched before is freed.
  expect(harness.open).toBe(0);
});

test('a failed exchange abandons every run and frees what was fetched', async () => {
  const harness = new PipelineHarness();
  const run = beginRemoteGradients(harness.parts, microbatches);
  await expect.poll(() => harness.asked.length, { interval: 1 }).toBe(2);
  for (const { answer } of harness.asked) answer.reject(new Error('expert worker 0 is gone'));
  await expect(run).rejects.toThrow('expert worker 0 is gone');
  expect(harness.abandoned).toBe(2);
  expect(harness.open).toBe(0);
});

test('an evaluation goes forwards only', async () => {
  const harness = new PipelineHarness();
  const outputs = evaluateRemotely(harness.parts, microbatches[0]!, 7);
  await harness.answer(2);
  expect(Object.keys(await outputs)).toEqual(['lossSum', 'lossTokens']);
  expect(harness.asked.map(({ subject }) => subject)).toEqual(
    LAYERS.map((layer) => ({ direction: 'evaluate', step: 1, microbatch: 7, layer })),
  );
});
