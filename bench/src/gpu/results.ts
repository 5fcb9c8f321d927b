import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WEFT_VERSION } from '@weft/common';
import type { Precision } from '@weft/config';
import { isMissing } from '@weft/files';
import type { BenchModel } from '../models.js';
import type { ModelCheck } from './check-model.js';
import type { NcclCheck } from './check-nccl.js';
import type { OpsCheck } from './check-ops.js';
import type { Host } from './host.js';
import type { AgreementCandidate, GpuCandidate, Turn } from './turn.js';

/** What the kit writes as `results.json`. */
export interface KitResults {
  readonly format: 1;
  readonly weft: string;
  readonly host: Host;
  /** By name, in the order in which they were done; a part of an earlier call stays. */
  readonly parts: Readonly<Record<string, PartResult>>;
  /** Parts that were asked for and did not fit into the time of the last call. */
  readonly left: readonly string[];
}

/** What became of one part. */
export type PartResult =
  | { readonly kind: 'ops'; readonly check: OpsCheck }
  | { readonly kind: 'model'; readonly check: ModelCheck }
  | {
      /** One candidate of a comparison: of losses alone (`agreement`), or of speed. */
      readonly kind: 'agreement' | 'speed';
      readonly case: string;
      readonly precision: Precision;
      readonly candidate: GpuCandidate | AgreementCandidate;
      /** From 1. */
      readonly turn: number;
      readonly model: BenchModel;
      readonly result: Turn;
    }
  | { readonly kind: 'gemm'; readonly candidate: 'gemm' | 'torch-gemm'; readonly result: Turn }
  | { readonly kind: 'nccl'; readonly check: NcclCheck }
  | { readonly kind: 'failed'; readonly reason: string };

export const JSON_NAME = 'results.json';

/** Results of an earlier call in this folder, of the same version on the same device; others are begun anew. */
export async function resultsIn(folder: string, host: Host): Promise<KitResults> {
  const empty: KitResults = { format: 1, weft: WEFT_VERSION, host, parts: {}, left: [] };
  let known: KitResults;
  try {
    known = JSON.parse(await readFile(join(folder, JSON_NAME), 'utf8'));
  } catch (thrown) {
    if (isMissing(thrown) || thrown instanceof SyntaxError) return empty;
    throw thrown;
  }
  const isSame = known.format === 1 && known.weft === WEFT_VERSION && known.host.gpu?.name === host.gpu?.name;
  return isSame ? { ...known, host, left: [] } : empty;
}

/** Every sentence about something that differs or failed. */
export function faultsOf({ parts }: KitResults): readonly string[] {
  return Object.entries(parts).flatMap(([name, part]) => {
    if (part.kind === 'failed') return [`${name}: ${part.reason}`];
    return 'check' in part ? part.check.faults : [];
  });
}
