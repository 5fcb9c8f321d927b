import type { ContestantSpec } from './contestant-spec.js';
import type { Profile } from './profile.js';

/** Something that can be measured step by step inside this process. */
export interface Contestant {
  readonly engine: string;
  /** One whole step; resolves with its loss. */
  step(): Promise<number>;
  close(): Promise<void>;
}

/** What our contestants are opened with. */
export interface ContestantParts {
  readonly spec: ContestantSpec;
  readonly profile: Profile | undefined;
  /** Announces this rank's address and resolves with everybody's. */
  meet(address: string | undefined): Promise<readonly (string | undefined)[]>;
}

/** The engine's options of a contestant. */
export function executorOptions({ spec, profile }: ContestantParts) {
  const { precision, threads } = spec;
  const options = { kind: 'graph', precision, threads } as const;
  return profile === undefined ? options : { ...options, onTrace: profile.add.bind(profile) };
}
