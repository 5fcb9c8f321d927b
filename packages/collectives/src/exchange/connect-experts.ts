import { WeftError } from '@weft/common';
import { parseAddress } from '../address.js';
import type { Wire } from '../link.js';
import { PatientCall } from '../patient-call.js';
import { type RingPlace, ringName } from '../ring-place.js';
import { withPatience } from '../with-patience.js';
import type { RankGate, RankGateOptions } from './rank-gate.js';

const CURE = 'check that every worker of the run is alive and its data plane address can be reached from the others';

export interface CallExpertsOptions {
  readonly place: RingPlace;
  readonly token: string;
  /** By expert worker. */
  readonly addresses: readonly string[];
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a rank's connections to all expert workers, by expert worker.
 *
 * @throws `deadline_exceeded` naming the expert workers that are missing, `cancelled`, or what one of them refuses with.
 */
export async function callExperts(options: CallExpertsOptions): Promise<readonly Wire[]> {
  const { place, token, addresses, timeoutMs, signal } = options;
  const calls = addresses.map(parseAddress).map((address, index) => {
    return new PatientCall({ address, token, peer: `expert worker ${index}`, connections: 1 });
  });
  const late = () => {
    const missing = calls.filter(({ hasAnswered }) => !hasAnswered).map(({ complaint }) => complaint);
    const message = `the experts of ${ringName(place)} are not there after ${timeoutMs} ms: ${missing.join('; ')}`;
    return new WeftError('deadline_exceeded', message, { cure: CURE });
  };
  const doing = `calling the experts of ${ringName(place)}`;
  const link = 'experts';
  try {
    const connected = calls.map((call, expertWorker) => call.connect({ ...place, link, expertWorker }));
    return await withPatience(Promise.all(connected), { timeoutMs, signal, late, doing });
  } catch (thrown) {
    for (const call of calls) call.hangUp();
    throw thrown;
  }
}

/**
 * Waits until every rank has called this expert worker; their connections, by rank.
 *
 * @throws `deadline_exceeded` naming the ranks that did not call, `cancelled`.
 */
export async function awaitRanks(
  gate: RankGate,
  { runId, generation }: RankGateOptions,
  { timeoutMs, signal }: Pick<CallExpertsOptions, 'timeoutMs' | 'signal'>,
): Promise<readonly Wire[]> {
  const name = ringName({ runId, generation });
  const late = () => {
    const message = `the ranks of ${name} have not all called after ${timeoutMs} ms: rank ${gate.missing.join(', rank ')} did not`;
    return new WeftError('deadline_exceeded', message, { cure: CURE });
  };
  try {
    return await withPatience(gate.wires, { timeoutMs, signal, late, doing: `waiting for the ranks of ${name}` });
  } finally {
    gate.close();
  }
}
