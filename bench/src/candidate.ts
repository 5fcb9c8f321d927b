import type { CandidateSpec } from './candidate-spec.js';
import type { Profile } from './profile.js';

/** Something that can be measured step by step inside this process. */
export interface Candidate {
  readonly engine: string;
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

/** The engine's options of a candidate. */
export function executorOptions({ spec, profile }: CandidateParts) {
  const { precision, threads } = spec;
  const options = { kind: 'graph', precision, threads } as const;
  return profile === undefined ? options : { ...options, onTrace: profile.add.bind(profile) };
}
