// The GPU proof kit: checks ops and models on the device, then measures training steps beside PyTorch and JAX.
import { appendFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { assertNever, WeftError } from '@weft/common';
import { PRECISIONS, type Precision } from '@weft/config';
import { writeFileAtomically } from '@weft/files';
import { writeFixture } from '../fixture.js';
import { type BenchModel, benchModel } from '../models.js';
import { rotated } from '../plan.js';
import { checkModel } from './check-model.js';
import { checkNccl, hasNccl } from './check-nccl.js';
import { checkOps } from './check-ops.js';
import { type GpuCase, gpuModel } from './gpu-models.js';
import { type Host, lookAtHost } from './host.js';
import { KIT_USAGE, type KitOptions, parseKitArguments, type Section } from './kit-arguments.js';
import { renderMarkdown } from './markdown.js';
import { faultsOf, JSON_NAME, type KitResults, type PartResult, resultsIn } from './results.js';
import {
  AGREEMENT_CANDIDATES,
  type AgreementCandidate,
  type GpuCandidate,
  secondsOf,
  type TurnOptions,
  takeTurn,
} from './turn.js';

/** One thing to do; it is done or left as a whole. */
interface Part {
  readonly name: string;
  /** It is not begun with less time left, seconds. */
  readonly needs: number;
  readonly run: (call: Call, deadlineMs: number, onProgress: (what: string) => void) => Promise<PartResult>;
}

/** What the parts of one call share. */
interface Call {
  readonly host: Host;
  readonly options: KitOptions;
  readonly fixtures: Fixtures;
  readonly cacheDirectory: string;
  /** What all processes print on stderr. */
  readonly log: string;
}

/** What is under way when the time is over may still take so long. */
const GRACE_SECONDS = 30;

/** A part that takes longer hangs, and costs the others no more. */
const LONGEST_PART_SECONDS = 300;

/** A part that is silent for so long is said to be under way. */
const PATIENCE_MS = 30_000;

/**
 * Runs the kit.
 * @returns the exit code: 1 when something differs or failed
 */
export async function runKit(words: readonly string[]): Promise<number> {
  const options = parseKitArguments(words);
  if (options.help) {
    console.log(`./run [options]     ${KIT_USAGE}`);
    return 0;
  }
  const startedMs = Date.now();
  const say = (what: string) =>
    console.error(`${String(Math.round((Date.now() - startedMs) / 1000)).padStart(4)} s  ${what}`);
  const host = lookAtHost(options.device, options.peakTflops);
  say(`${host.gpu?.name ?? 'a processor'}; plugin ${host.plugin?.path ?? 'none'}`);
  for (const sentence of host.missing) say(sentence);
  const out = resolve(options.out);
  await mkdir(out, { recursive: true });
  let results: KitResults = options.fresh ? { ...(await resultsIn(out, host)), parts: {} } : await resultsIn(out, host);
  const budgetEndMs = startedMs + 1000 * options.budgetSeconds;
  const work = await mkdtemp(join(tmpdir(), 'weft-gpu-kit-'));
  // Beside the folder of this call: the next call finds what this one compiled.
  const cacheDirectory = join(tmpdir(), 'weft-gpu-kit-cache');
  if (options.fresh) await rm(cacheDirectory, { recursive: true, force: true });
  const call = { host, options, fixtures: new Fixtures(work), cacheDirectory, log: join(out, 'log.txt') };
  try {
    for (const part of partsOf(options, host)) {
      const known = results.parts[part.name];
      if (known !== undefined && !(options.retry && known.kind === 'failed')) continue;
      const beganMs = Date.now();
      if (beganMs + 1000 * part.needs > budgetEndMs) {
        results = { ...results, left: [...results.left, part.name] };
        continue;
      }
      const onProgress = (what: string) => say(`${part.name}: ${what}`);
      onProgress('starts');
      await appendFile(call.log, `\n== ${part.name}\n`);
      const timer = setInterval(onProgress, PATIENCE_MS, 'goes on');
      const callEndMs = budgetEndMs + 1000 * GRACE_SECONDS;
      const partEndMs = beganMs + 1000 * LONGEST_PART_SECONDS;
      const result = await part.run(call, Math.min(callEndMs, partEndMs), onProgress).catch(failed);
      clearInterval(timer);
      // Not the part's fault: the next call has more time for it.
      if (Date.now() >= callEndMs) {
        results = { ...results, left: [...results.left, part.name] };
        continue;
      }
      results = { ...results, parts: { ...results.parts, [part.name]: result } };
      onProgress(describe(result));
      await writeResults(out, results);
    }
    await writeResults(out, results);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  console.log(renderMarkdown(results));
  if (results.left.length > 0) say(`the time is over; run the same command again for ${results.left.join(', ')}`);
  say(`results are in ${out}`);
  return faultsOf(results).length > 0 ? 1 : 0;
}

/** Both files, after every part: what was measured stays when the call is ended from outside. */
async function writeResults(folder: string, results: KitResults): Promise<void> {
  await writeFileAtomically(join(folder, JSON_NAME), `${JSON.stringify(results, null, 1)}\n`);
  await writeFileAtomically(join(folder, 'results.md'), renderMarkdown(results));
}

const failed = (thrown: unknown): PartResult => ({ kind: 'failed', reason: WeftError.from(thrown).message });

/** One line about what a part found. */
function describe(part: PartResult): string {
  switch (part.kind) {
    case 'failed':
      return `FAILED: ${part.reason}`;
    case 'ops':
      return part.check.faults.length === 0
        ? `${part.check.outputs} outputs of ${part.check.cases} cases agree`
        : `DIFFERS: ${part.check.faults.length} faults, the first: ${part.check.faults[0]}`;
    case 'model':
      return part.check.faults.length === 0 ? 'agrees' : `DIFFERS: ${part.check.faults.join('; ')}`;
    case 'nccl':
      return part.check.faults.length === 0
        ? `${part.check.processes} processes agree, ${part.check.gigabytesPerSecond.toFixed(1)} GB/s`
        : `DIFFERS: ${part.check.faults.join('; ')}`;
    case 'agreement':
      return `first loss ${part.result.losses[0]?.toFixed(5)}`;
    case 'gemm':
      return `${(part.result.flopsPerStep / secondsOf(part.result) / 1e12).toFixed(1)} TFLOP/s`;
    case 'speed':
      return `${(part.result.tokensPerStep / secondsOf(part.result)).toFixed(0)} tokens/s`;
    default:
      return assertNever(part);
  }
}

function partsOf(options: KitOptions, host: Host): readonly Part[] {
  return options.only.flatMap((section) => partsOfSection(section, options, host));
}

/** Seconds that parts need to begin: on CPUs, where nothing is measured in earnest, hardly any. */
const seconds = (host: Host, count: number) => (host.device === 'cpu' ? 1 : count);

function partsOfSection(section: Section, options: KitOptions, host: Host): readonly Part[] {
  switch (section) {
    case 'ops':
      return PRECISIONS.map((precision) => opsPart(precision, host));
    case 'models': {
      const recipes = options.isSmall ? ['debugNano'] : ['debugTiny', 'mm1Tiny', 'moeTiny'];
      return recipes.map((recipe) => modelPart(recipe, host));
    }
    case 'agreement': {
      const models = options.isSmall
        ? [gpuModel('decoder-1b', 0, options)]
        : [benchModel('decoder-5m'), benchModel('mm1-tiny')];
      return models.flatMap((model) =>
        PRECISIONS.flatMap((precision) =>
          agreeing(host).map((candidate) => agreementPart(model, precision, candidate, host)),
        ),
      );
    }
    case 'nccl':
      return hasNccl(host) ? [ncclPart(host)] : [];
    case 'gemm':
      return [gemmPart('gemm', host), ...(host.python?.torch ? [gemmPart('torch-gemm', host)] : [])];
    case 'decoder-1b':
    case 'mm1-1b':
    case 'mm1-3b':
      return speedParts(section, options, host);
    default:
      return assertNever(section);
  }
}

/**
 * Those that were wished and can run here. flex_attention is for packed sequences, which decoders alone have none of, and
 * trains on GPUs alone.
 */
function candidatesOf(
  options: KitOptions,
  { python, plugin, device }: Host,
  model: BenchModel,
): readonly GpuCandidate[] {
  return options.candidates.filter((candidate) => {
    if (candidate === 'weft' || candidate === 'weft-step') return plugin !== undefined;
    if (candidate === 'jax') return python?.jax != null;
    const isFit = candidate !== 'torch-flex' || (model.images !== null && device === 'gpu');
    return isFit && python?.torch != null;
  });
}

const agreeing = ({ python, plugin }: Host) =>
  AGREEMENT_CANDIDATES.filter((candidate) => {
    if (candidate === 'weft') return plugin !== undefined;
    return (candidate === 'jax' ? python?.jax : python?.torch) != null;
  });

const opsPart = (precision: Precision, host: Host): Part => ({
  name: `ops ${precision}`,
  needs: seconds(host, 60),
  run: async ({ host, options: { variants, isSmall }, cacheDirectory, log }, deadlineMs, onProgress) => ({
    kind: 'ops',
    check: await checkOps({ host, precision, variants, isSmall, cacheDirectory, log, deadlineMs, onProgress }),
  }),
});

const modelPart = (recipe: string, host: Host): Part => ({
  name: `model ${recipe}`,
  needs: seconds(host, 120),
  run: async ({ host, cacheDirectory, log }, deadlineMs, onProgress) => {
    // Rounding to bf16 sends some tokens to other experts, which is no fault.
    const precisions = PRECISIONS.filter((precision) => precision === 'fp32' || !recipe.startsWith('moe'));
    const check = await checkModel({ host, recipe, precisions, cacheDirectory, log, deadlineMs, onProgress });
    return { kind: 'model', check };
  },
});

/** Few steps of a small model: its losses show that all candidates compute the same. */
const agreementPart = (model: BenchModel, precision: Precision, candidate: AgreementCandidate, host: Host): Part => ({
  name: `agreement ${model.name} ${precision}, ${candidate}`,
  needs: seconds(host, 60),
  run: async (call, deadlineMs) => {
    const result = await turnOf(call, { candidate, precision, model, steps: 5, deadlineMs });
    return { kind: 'agreement', case: model.name, precision, candidate, turn: 1, model, result };
  },
});

const ncclPart = (host: Host): Part => ({
  name: 'nccl',
  needs: seconds(host, 60),
  run: async ({ host, options: { isSmall }, cacheDirectory, log }, deadlineMs) => ({
    kind: 'nccl',
    check: await checkNccl({ host, isSmall, cacheDirectory, log, deadlineMs }),
  }),
});

const gemmPart = (candidate: 'gemm' | 'torch-gemm', host: Host): Part => ({
  name: candidate,
  needs: seconds(host, 30),
  run: async (call, deadlineMs) => {
    // The measured process reads no model; its spec has one.
    const model = benchModel('decoder-5m');
    const { steps, isSmall } = call.options;
    const precision = isSmall ? 'fp32' : 'bf16';
    const result = await turnOf(call, { candidate, precision, model, steps, deadlineMs });
    return { kind: 'gemm', candidate, result };
  },
});

/** Every candidate once, then every candidate again, the order changed: a slow minute of the card shows. */
function speedParts(name: GpuCase, options: KitOptions, host: Host): readonly Part[] {
  const model = gpuModel(name, host.gpu?.memoryGib ?? 0, options);
  const precision: Precision = options.isSmall ? 'fp32' : 'bf16';
  return Array.from({ length: options.turns }, (_, i) => i + 1).flatMap((turn) =>
    rotated(candidatesOf(options, host, model), turn - 1).map((candidate) => ({
      name: `${name}, ${candidate}, turn ${turn}`,
      // A second turn finds what the first one compiled.
      needs: seconds(host, turn === 1 ? 100 : 60),
      run: async (call: Call, deadlineMs: number) => {
        const result = await turnOf(call, { candidate, precision, model, steps: options.steps, deadlineMs });
        return { kind: 'speed', case: name, precision, candidate, turn, model, result } as const;
      },
    })),
  );
}

async function turnOf(
  { host, fixtures, cacheDirectory, log }: Call,
  options: Pick<TurnOptions, 'candidate' | 'precision' | 'model' | 'steps' | 'deadlineMs'>,
) {
  const fixture = await fixtures.of(options.model);
  return takeTurn({ ...options, host, fixture, cacheDirectory, log, warmup: 3 });
}

/** Weights and batches of the models, each written when it is first needed. */
class Fixtures {
  readonly #directory: string;
  readonly #written = new Map<string, Promise<string>>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  of(model: BenchModel): Promise<string> {
    const known = this.#written.get(model.name);
    if (known !== undefined) return known;
    const written = writeFixture(join(this.#directory, model.name), model, 1, 'patterned');
    this.#written.set(model.name, written);
    return written;
  }
}
