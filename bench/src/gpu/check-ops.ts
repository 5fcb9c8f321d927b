import type { Precision } from '@weft/config';
import { javascriptExecutor } from '@weft/tensor';
import { CandidateProcesses, type Command } from '../candidate-processes.js';
import { peerScript, processScript, pythonOf } from '../programs.js';
import { decodeArray, differenceOf, encodeArray } from './arrays.js';
import { environmentOn, type Host, pjrtOn } from './host.js';
import { inputsOf, type OpCase, opCases, opProgram } from './op-cases.js';
import type { OpReply, OpRequest, OpsSpec } from './ops-process.js';

/** What a comparison of ops found. */
export interface OpsCheck {
  readonly precision: Precision;
  readonly tolerance: number;
  readonly cases: number;
  readonly outputs: number;
  /** The greatest differences of each family. */
  readonly families: readonly FamilyCheck[];
  /** How attention was computed: `fused`, `blockwise`. */
  readonly attention: readonly string[];
  /** One sentence for each output that differs, and for each case that did not run. */
  readonly faults: readonly string[];
}

interface FamilyCheck {
  readonly family: string;
  /** From the eager engine in JavaScript, float32 whatever the precision. */
  readonly fromJavascript: number;
  /** Undefined where there is no JAX. */
  readonly fromJax: number | undefined;
}

/** Differences over the greatest number. The exponential function alone is some 1e-6 off on GPUs. */
const TOLERANCE: Readonly<Record<Precision, number>> = { fp32: 1e-5, bf16: 3e-2 };

export interface OpsCheckOptions {
  readonly host: Host;
  readonly precision: Precision;
  readonly variants: number;
  readonly isSmall: boolean;
  readonly cacheDirectory: string;
  /** Where stderr goes. */
  readonly log: string;
  readonly deadlineMs: number;
  readonly onProgress: (what: string) => void;
}

/** Runs every case on the device through our lowering, in JavaScript, and on the device through JAX. */
export async function checkOps(options: OpsCheckOptions): Promise<OpsCheck> {
  const { precision, variants, isSmall, host, deadlineMs, onProgress } = options;
  const cases = opCases(precision, variants, isSmall);
  const eager = javascriptExecutor(opProgram(cases));
  const ours = new Answerer(() => oursCommand(options), deadlineMs);
  const jax = host.python?.jax ? new Answerer(() => jaxCommand(options), deadlineMs) : undefined;
  const families = new Map<string, FamilyCheck>();
  const [faults, attention] = [[] as string[], new Set<string>()];
  let outputs = 0;
  try {
    for (const [index, each] of cases.entries()) {
      onProgress(`${index + 1} of ${cases.length}: ${each.name}`);
      const [actual, theirs] = await Promise.all([
        ours.ask<OpRequest>({ index }),
        jax?.ask(jaxRequest(each)) ?? undefined,
      ]);
      if (actual.error !== undefined) faults.push(`${each.name}: Weft: ${actual.error}`);
      if (theirs?.error !== undefined) faults.push(`${each.name}: JAX: ${theirs.error}`);
      if (actual.outputs === undefined) continue;
      if (actual.attention !== undefined) attention.add(actual.attention);
      const expected = await eager.run(each.name, inputsOf(each));
      for (const [name, { data }] of Object.entries(expected)) {
        outputs++;
        const got = decodeArray(actual.outputs[name] ?? '');
        const fromJavascript = differenceOf(got, data);
        const jaxs = theirs?.outputs?.[name];
        const fromJax = jaxs === undefined ? undefined : differenceOf(got, decodeArray(jaxs));
        families.set(each.family, worse({ family: each.family, fromJavascript, fromJax }, families.get(each.family)));
        for (const [peer, difference] of [
          ['JavaScript', fromJavascript],
          ['JAX', fromJax],
        ] as const) {
          if (difference === undefined || difference <= TOLERANCE[precision]) continue;
          faults.push(`${each.name}: ${name} differs from that of ${peer} by ${difference.toExponential(1)}`);
        }
      }
      for (const tensor of Object.values(expected)) tensor.dispose();
    }
  } finally {
    ours.close();
    jax?.close();
    await eager.dispose();
  }
  const tolerance = TOLERANCE[precision];
  return {
    precision,
    tolerance,
    cases: cases.length,
    outputs,
    families: [...families.values()],
    attention: [...attention],
    faults,
  };
}

function worse(one: FamilyCheck, other: FamilyCheck | undefined): FamilyCheck {
  if (other === undefined) return one;
  const jax = [one.fromJax, other.fromJax].filter((each) => each !== undefined);
  return {
    family: one.family,
    fromJavascript: Math.max(one.fromJavascript, other.fromJavascript),
    fromJax: jax.length === 0 ? undefined : Math.max(...jax),
  };
}

/** A device that is broken costs only so many starts. */
const MOST_DEATHS = 3;

/** A process that answers requests one by one. One that dies costs the request, and the next has a new one. */
class Answerer {
  readonly #start: () => Command;
  readonly #deadlineMs: number;
  #process: CandidateProcesses | undefined;
  /** In a row. */
  #deaths = 0;

  constructor(start: () => Command, deadlineMs: number) {
    this.#start = start;
    this.#deadlineMs = deadlineMs;
  }

  async ask<Request>(request: Request): Promise<OpReply> {
    if (Date.now() >= this.#deadlineMs) return { error: 'there was no time left' };
    if (this.#deaths >= MOST_DEATHS) return { error: 'its process died too often' };
    this.#process ??= new CandidateProcesses([this.#start()]);
    const running = this.#process;
    const timer = setTimeout(() => running.kill(), this.#deadlineMs - Date.now());
    try {
      running.send(request);
      const [reply] = await running.receive<OpReply>();
      this.#deaths = 0;
      return reply ?? { error: 'it did not answer' };
    } catch (thrown) {
      this.close();
      this.#deaths++;
      return { error: thrown instanceof Error ? thrown.message : String(thrown) };
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#process?.kill();
    this.#process = undefined;
  }
}

function oursCommand({ host, precision, variants, isSmall, cacheDirectory, log }: OpsCheckOptions): Command {
  const pjrt = pjrtOn(host, `${cacheDirectory}/executables`, false);
  const spec: OpsSpec = { pjrt, precision, variants, isSmall };
  const args = [...process.execArgv, processScript('gpu/ops-process.js'), JSON.stringify(spec)];
  return { program: process.execPath, args, environment: environmentOn(host), log };
}

function jaxCommand({ host, precision, log }: OpsCheckOptions): Command {
  const args = [peerScript('jax_ops.py'), JSON.stringify({ device: host.device, precision })];
  // Ours computes on the same card at the same time.
  const environment = { ...environmentOn(host), XLA_PYTHON_CLIENT_PREALLOCATE: 'false', PYTHONDONTWRITEBYTECODE: '1' };
  return { program: pythonOf('jax'), args, environment, log };
}

function jaxRequest({ family, settings, inputs }: OpCase) {
  const encoded = Object.entries(inputs).map(([name, { spec, data }]) => {
    const text = data instanceof Int32Array ? Buffer.from(data.buffer).toString('base64') : encodeArray(data);
    return [name, { ...spec, data: text }] as const;
  });
  return { family, settings, inputs: Object.fromEntries(encoded) };
}
