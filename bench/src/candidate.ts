import { type CompileProgress, createPjrtExecutor } from '@weft/backend-pjrt';
import { createExecutor } from '@weft/backend-tensorflow';
import type { Executor, Program } from '@weft/tensor';
import type { CandidateSpec, FinalReport, PjrtSpec, Ready } from './candidate-spec.js';
import type { Profile } from './profile.js';

/** Something that can be measured step by step inside this process. */
export interface Candidate {
  readonly engine: Engine;
  /** One whole step; resolves with its loss. */
  step(): Promise<number>;
  close(): Promise<void>;
}

/** What our candidates are opened with. */
export interface CandidateParts {
  readonly spec: CandidateSpec;
  readonly profile: Profile | undefined;
  /** Announces this rank's address and resolves with those of all ranks. */
  exchangeAddresses(address: string | undefined): Promise<readonly (string | undefined)[]>;
}

/** A program in the engine that a candidate runs through. */
export interface Engine {
  readonly executor: Executor;
  /** What is known once every phase ran. */
  ready(): Pick<Ready, 'engine' | 'compileSeconds'>;
  /** What the device's allocator counted. */
  memory(): Promise<Pick<FinalReport, 'peakDeviceBytes'>>;
}

/** TensorFlow on the processor; XLA through a plugin where the spec names one. */
export function openEngine({ spec, profile }: CandidateParts, program: Program): Engine {
  if (spec.pjrt !== undefined) return openPjrt(program, spec, spec.pjrt);
  const { precision, threads, productForms } = spec;
  const options = { kind: 'graph', precision, threads, productForms } as const;
  const executor = createExecutor(
    program,
    profile === undefined ? options : { ...options, onTrace: profile.add.bind(profile) },
  );
  return { executor, ready: () => ({ engine: executor.description }), memory: async () => ({}) };
}

function openPjrt(program: Program, { precision, model }: CandidateSpec, pjrt: PjrtSpec): Engine {
  let compileSeconds = 0;
  let attention: CompileProgress['attention'];
  const executor = createPjrtExecutor(program, {
    ...pjrt,
    precision,
    recompute: model.recompute,
    onCompile: (progress) => {
      if (!progress.isDone) return;
      // The first phases of a step compile one after the other.
      compileSeconds += progress.seconds;
      attention = progress.attention ?? attention;
    },
  });
  const remark = () => (attention === undefined ? '' : `, attention ${attention}`);
  return {
    executor,
    ready: () => ({ engine: `${executor.description}${remark()}`, compileSeconds }),
    memory: async () => {
      const peak = (await executor.deviceMemory())?.peak;
      return peak === undefined ? {} : { peakDeviceBytes: peak };
    },
  };
}
