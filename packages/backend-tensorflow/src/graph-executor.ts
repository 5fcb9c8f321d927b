import { WeftError } from '@weft/common';
import {
  CompletedPhaseRun,
  checkInputs,
  checkValue,
  HostExecutor,
  type HostTensor,
  itemAt,
  type PhaseInputs,
  type PhaseRun,
  type Program,
  type Recording,
  type RewriteOptions,
  recordPhase,
  required,
  rewrite,
  type StateValues,
  type TensorSpec,
  withProductForms,
} from '@weft/tensor';
import { type CompiledPhase, compilePhase } from './graph/compile-phase.js';
import { GraphShapeInference } from './graph/graph-shape-inference.js';
import { GraphWriter } from './graph/graph-writer.js';
import { LoopFunctions } from './graph/loop-functions.js';
import { addAssign, addRead, addVariable } from './graph/variables.js';
import { GraphPhaseRun } from './graph-phase-run.js';
import type { CApi, OutputPointer, Pointer } from './native/c-api.js';
import { Graph, type NativeTensor, toNativeTensor } from './native/handles.js';
import type { OpTiming } from './native/run-trace.js';
import { Session } from './native/session.js';
import { type FormChooser, tensorflowFormChooser } from './products/form-chooser.js';

/** How the graph is compiled and run; whether it has loops follows from the devices. */
export interface GraphOptions extends Omit<RewriteOptions, 'hasLoops'> {
  /** Threads inside one op; 0 lets TensorFlow choose. */
  readonly threads: number;
  /**
   * The folder that keeps which form of each product is the fastest on this processor. What it lacks is timed when a phase is
   * compiled. Default: every product has its usual form.
   */
  readonly productForms?: string | undefined;
  /** Called with how long every op of a phase took, after each run of it. Tracing slows runs down; default: none. */
  readonly onTrace?: (phase: string, ops: readonly OpTiming[]) => void;
  /** Told of every phase that was compiled, which is when it is first run; default: nothing. */
  readonly onCompile?: ((compiled: CompiledInSeconds) => void) | undefined;
}

/**
 * A phase that is ready to run, or whose products have been timed for a second. Its loops are compiled in its first run, which
 * the seconds do not count.
 */
export interface CompiledInSeconds {
  readonly phase: string;
  readonly seconds: number;
  readonly isDone: boolean;
}

/** Before it is said that a phase is being compiled. */
const QUIET_MS = 1_000;

/** Runs a program as one TensorFlow graph whose variables stay in the session between phases. */
export class GraphExecutor extends HostExecutor {
  readonly description: string;
  readonly compiles = true;
  readonly #api: CApi;
  protected readonly program: Program;
  readonly #rewriting: RewriteOptions;
  readonly #formChooser: FormChooser | undefined;
  readonly #onTrace: GraphOptions['onTrace'];
  readonly #onCompile: GraphOptions['onCompile'];
  readonly #graph: Graph;
  readonly #writer: GraphWriter;
  readonly #loops: LoopFunctions;
  readonly #session: Session;
  readonly #variables = new Map<string, OutputPointer>();
  readonly #phases = new Map<string, Promise<CompiledPhase>>();
  readonly #reads = new Map<string, OutputPointer>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #writes = new Map<string, { readonly value: OutputPointer; readonly assign: Pointer }>();

  constructor(api: CApi, program: Program, options: GraphOptions) {
    super();
    this.#api = api;
    this.program = program;
    this.#onTrace = options.onTrace;
    this.#onCompile = options.onCompile;
    this.#graph = new Graph(api);
    this.#writer = new GraphWriter(api, this.#graph);
    this.#loops = new LoopFunctions(api, this.#graph);
    for (const [name, spec] of Object.entries(program.state)) {
      this.#variables.set(name, addVariable(this.#writer, name, spec));
    }
    // Two ops at a time keep threads busy where one is too small for all of them; with one thread they would need a second.
    const interOpThreads = options.threads === 1 ? 1 : 2;
    this.#session = new Session(api, this.#graph, { intraOpThreads: options.threads, interOpThreads });
    const hasLoops = this.#session.devices().every((name) => name.includes(':CPU:'));
    this.#rewriting = { precision: options.precision, recompute: options.recompute, hasLoops };
    // A GPU would be timed with operands that come from the host each time.
    this.#formChooser =
      options.productForms !== undefined && hasLoops
        ? tensorflowFormChooser(api, options.productForms, options.threads)
        : undefined;
    const threads = options.threads === 0 ? 'all' : options.threads;
    this.description = `TensorFlow ${api.TF_Version()} graph, ${options.precision}, ${threads} threads`;
  }

  prepare(): void {
    // A phase is added to the graph in less time than it takes to run.
  }

  async run(phase: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>> {
    const where = `program ${this.program.name}, phase ${phase}`;
    const compiled = await this.#compiled(phase);
    const fed = checkInputs(where, this.program.phases[phase]?.inputs ?? {}, inputs);
    const owned: NativeTensor[] = [];
    try {
      const feeds = fed.map(({ name, spec, value }) => ({
        output: required(compiled.inputs, name),
        tensor: toNativeTensor(this.#api, spec, value, owned),
      }));
      const report = this.#onTrace;
      const onTrace = report && ((ops: readonly OpTiming[]) => report(phase, ops));
      const tensors = await this.#runSession(feeds, compiled.outputs, compiled.targets, where, onTrace);
      return Object.fromEntries(compiled.outputNames.map((name, i) => [name, itemAt(tensors, i)]));
    } finally {
      for (const tensor of owned) tensor.dispose();
    }
  }

  async begin(phase: string, inputs: PhaseInputs): Promise<PhaseRun> {
    // A partial run cannot be traced, so a traced phase runs in one go.
    if (this.#onTrace !== undefined) return new CompletedPhaseRun(await this.run(phase, inputs));
    const compiled = await this.#compiled(phase);
    const { outputs, targets } = compiled;
    const where = `program ${this.program.name}, phase ${phase}`;
    const run = new GraphPhaseRun({
      api: this.#api,
      where,
      specs: this.program.phases[phase]?.inputs ?? {},
      compiled,
      run: this.#session.beginRun([...compiled.inputs.values()], outputs, targets, where),
    });
    this.#running.add(run.over);
    void run.over.then(() => this.#running.delete(run.over));
    await run.advance(inputs, []);
    return run;
  }

  async readState(names: readonly string[] = Object.keys(this.program.state)): Promise<Record<string, HostTensor>> {
    const outputs = names.map((name) => this.#read(name));
    const tensors = await this.#runSession([], outputs, [], `reading the state of program ${this.program.name}`);
    return Object.fromEntries(names.map((name, i) => [name, itemAt(tensors, i)]));
  }

  /** A session prepares the run of every new set of outputs once, for as long as the graph is large: a second for small ones. */
  override async prepareCopy(names: readonly string[]): Promise<void> {
    for (const tensor of Object.values(await this.readState(names))) tensor.dispose();
  }

  async writeState(values: StateValues): Promise<void> {
    const owned: NativeTensor[] = [];
    try {
      const writes = Object.entries(values).map(([name, value]) => {
        const { value: output, assign } = this.#write(name);
        const spec = this.#spec(name);
        checkValue(`state ${name} of program ${this.program.name}`, spec, value);
        return { output, assign, tensor: toNativeTensor(this.#api, spec, value, owned) };
      });
      const targets = writes.map(({ assign }) => assign);
      await this.#runSession(writes, [], targets, `writing the state of program ${this.program.name}`);
    } finally {
      for (const tensor of owned) tensor.dispose();
    }
  }

  async dispose(): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#session.dispose();
    this.#writer.dispose();
    this.#graph.dispose();
  }

  /** Sessions must not be closed under a run. */
  async #runSession(...call: Parameters<Session['run']>): Promise<NativeTensor[]> {
    const run = this.#session.run(...call);
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  #compiled(phase: string): Promise<CompiledPhase> {
    const known = this.#phases.get(phase);
    if (known !== undefined) return known;
    const compiled = this.#compile(phase);
    this.#phases.set(phase, compiled);
    this.#running.add(compiled);
    compiled.catch(() => this.#phases.delete(phase)).finally(() => this.#running.delete(compiled));
    return compiled;
  }

  async #compile(phase: string): Promise<CompiledPhase> {
    const startedMs = performance.now();
    const report = (isDone: boolean) =>
      this.#onCompile?.({ phase, seconds: (performance.now() - startedMs) / 1000, isDone });
    let recording = rewrite(this.#record(phase), this.#rewriting);
    if (this.#formChooser !== undefined) {
      const timer = setTimeout(() => report(false), QUIET_MS);
      const forms = await this.#formChooser.formsOf(recording).finally(() => clearTimeout(timer));
      recording = withProductForms(recording, forms);
    }
    const compiled = compilePhase(this.#writer, recording, this.#variables, this.#loops);
    report(true);
    return compiled;
  }

  #record(phase: string): Recording {
    const inference = new GraphShapeInference(this.#api);
    try {
      return recordPhase(inference, this.program, phase);
    } finally {
      inference.dispose();
    }
  }

  #read(name: string): OutputPointer {
    let read = this.#reads.get(name);
    if (read === undefined) {
      const handle = required(this.#variables, name);
      const dtype = this.#spec(name).dtype;
      read = addRead(this.#writer, `state/${name}/read`, handle, { dtype });
      this.#reads.set(name, read);
    }
    return read;
  }

  #write(name: string): { readonly value: OutputPointer; readonly assign: Pointer } {
    let write = this.#writes.get(name);
    if (write === undefined) {
      const spec = this.#spec(name);
      const dtype = spec.dtype;
      const value = this.#writer.placeholder(`state/${name}/new`, { shape: spec.shape, dtype });
      const handle = required(this.#variables, name);
      write = { value, assign: addAssign(this.#writer, `state/${name}/write`, handle, value, { dtype }) };
      this.#writes.set(name, write);
    }
    return write;
  }

  #spec(name: string): TensorSpec {
    const spec = this.program.state[name];
    if (spec === undefined) {
      throw new WeftError('invalid_argument', `program ${this.program.name} has no state ${name}`);
    }
    return spec;
  }
}
